"""Running FFmpeg processes and reading their output."""
