"""The exit codes of the command line."""

NO_RESULT = 1
FAULT = 1  # of Nightune itself
BAD_INPUT = 2
BAD_STORE = 3
INTERRUPTED = 130
