"""What each command's exit codes mean, for its help; docs/exit-codes.md says more."""

from nightune.flows.runtime.exit_codes import BAD_INPUT, BAD_STORE, INTERRUPTED, NO_RESULT, REFUSED

_INPUT, _STORE = "the study, an option or a variable is invalid", "the store cannot be used"
_NONE = "no such sweep, or the store cannot be used"
_STOPPED = "interrupted: run it again to resume"

CODES: dict[str, dict[int, str]] = {
    "tune": {
        0: "some trial has a finite objective",
        NO_RESULT: "no trial has one",
        BAD_INPUT: _INPUT,
        BAD_STORE: _STORE,
        INTERRUPTED: _STOPPED,
    },
    "check": {0: "the study is valid", BAD_INPUT: "it is not", BAD_STORE: _STORE},
    "probe": {
        0: "a range is suggested",
        NO_RESULT: "no range can be suggested",
        BAD_INPUT: _INPUT,
        BAD_STORE: _STORE,
        INTERRUPTED: "interrupted",
    },
    "show": {0: "printed", BAD_INPUT: f"{_INPUT}, or --write cannot be written", BAD_STORE: _NONE},
    "list": {0: "printed", BAD_INPUT: "an option or a variable is invalid", BAD_STORE: _STORE},
    "init": {0: "written", BAD_INPUT: "a file exists, or the data cannot be read as it is", BAD_STORE: _STORE},
    "report": {0: "written", BAD_INPUT: f"{_INPUT}, or a file cannot be written", BAD_STORE: _NONE},
    "ui": {0: "stopped", BAD_INPUT: "an option is invalid", BAD_STORE: "no store, or the address cannot be used"},
    "promote": {
        0: "promoted, or champion already",
        BAD_INPUT: _INPUT,
        BAD_STORE: "nothing to promote, or the store cannot be used",
        REFUSED: "refused",
        INTERRUPTED: _STOPPED,
    },
    "rollback": {0: "restored", BAD_INPUT: "no reason", BAD_STORE: "no such model, or no previous champion"},
    "models": {0: "listed", BAD_INPUT: "an option or a variable is invalid", BAD_STORE: "no store, or no such model"},
    "predict": {
        0: "all rows are predicted",
        BAD_INPUT: "the file, an option or a variable is invalid",
        BAD_STORE: "no such version, or one that cannot be opened, or the store cannot be used",
    },
    "serve": {
        0: "stopped",
        BAD_INPUT: "a study or the schedule is invalid",
        BAD_STORE: "a server cannot be started",
        INTERRUPTED: "stopped while starting",
    },
    "pause": {0: "paused", BAD_INPUT: _INPUT, BAD_STORE: "the study is not served"},
    "resume": {0: "resumed", BAD_INPUT: _INPUT, BAD_STORE: "the study is not served"},
    "compare": {0: "printed", BAD_INPUT: _INPUT, BAD_STORE: "fewer than two sweeps, or the store cannot be used"},
    "simulate": {
        0: "printed",
        BAD_INPUT: "a study, an option or a variable is invalid, or too few trials are recorded",
        BAD_STORE: "no such complete sweep, or the store cannot be used",
    },
    "prune": {0: "deleted, or listed", BAD_INPUT: _INPUT, BAD_STORE: "no sweep of the study, or one is running"},
    "doctor": {0: "no problem is left", NO_RESULT: "problems remain", BAD_INPUT: _INPUT, BAD_STORE: _STORE},
}


def exit_codes(command: str) -> str:
    """Return the line below a command's help: `Exit codes: 0 printed; 2 …`."""
    said = "; ".join(f"{code} {meaning}" for code, meaning in CODES[command].items())
    return f"Exit codes: {said}."
