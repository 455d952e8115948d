"""One module for each subcommand, under its own name."""
