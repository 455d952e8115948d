"""What the command's exit status means; scripts rely on it."""

OK = 0  # everything asked for is DONE or SKIPPED
FAILED = 1  # something is not
USAGE = 2  # a wrong command line or a wrong environment
INTERRUPTED = 130  # stopped by Ctrl-C or a request to end, as a shell counts it
