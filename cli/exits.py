"""Exit statuses of the command; scripts rely on them."""

OK = 0  # everything is DONE or SKIPPED
FAILED = 1  # something failed
USAGE = 2  # wrong usage or settings
INTERRUPTED = 130  # stopped by Ctrl-C or SIGTERM; the number that shells use
