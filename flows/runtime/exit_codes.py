"""The exit codes of the command line."""

BAD_INPUT = 2
BAD_STORE = 3
INTERRUPTED = 130
