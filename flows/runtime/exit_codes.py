"""The exit codes of the command line."""

NO_RESULT = 1  # no trial, range or repair as asked for
FAULT = 1  # of Nightune itself
BAD_INPUT = 2
BAD_STORE = 3
REFUSED = 4  # by the promotion gate
INTERRUPTED = 130
