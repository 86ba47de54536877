"""Turn an unexpected exception into one paragraph (what, where, what to do) and an exit code."""

import traceback
from pathlib import Path

from nightune.flows.runtime.exit_codes import BAD_STORE, FAULT
from nightune.flows.runtime.fault_log import write_fault
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.retry import masked, transient_fault
from nightune.tasks.trial.failure import is_ours

OF_STORE = ("mlflow", "sqlalchemy", "sqlite3", "alembic", "requests", "urllib3", "filelock", "psycopg2", "pymysql")
OF_PREFECT = ("prefect", "httpx", "httpcore", "http", "websockets", "griffe")
KEPT = "Finished trials are kept."
AGAIN = f"{KEPT} Free the disk or fix the named cause; then run the same command again."
SHOWN_CHARACTERS = 300


def explain(error: Exception) -> tuple[str, int]:
    """Return a paragraph about an exception and the exit code; its full text is written to a file.

    Exceptions of the store, of Prefect's server and of the machine have a remedy; all others are faults of Nightune.
    """
    text = _machine_fault(error)
    if text is not None:
        return text, BAD_STORE
    file = write_fault(error)
    full = "" if file is None else f" Full text: {file}"
    cause = _library_fault(error)
    if cause is not None:
        return f"{cause}{full}", BAD_STORE
    report = "" if file is None else f" Please report it with the file {file}"
    return f"This is a fault of Nightune: {_what(error)} ({_where(error)}). {KEPT}{report}", FAULT


def _library_fault(error: Exception) -> str | None:
    """Describe an exception of the store, of Prefect, of a file or of memory, with a remedy; None for others."""
    library = type(error).__module__.partition(".")[0]
    if library in OF_STORE:
        return f"The store failed: {_what(error)}. {KEPT} `nightune doctor` examines the store."
    if library in OF_PREFECT:
        return f"Prefect failed: {_what(error)}. {AGAIN}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{_what(error)}. {AGAIN}"
    if isinstance(error, MemoryError):
        return f"Out of memory ({_where(error)}). {KEPT} Free memory, or use smaller models, batches or data."
    return None


def _machine_fault(error: Exception) -> str | None:
    """Return the remedy for a full disk or a failing Prefect server; None for other exceptions.

    A full disk also stops Prefect's server, which then cannot record why the sweep ended: report that reason instead.
    """
    is_prefects = type(error).__name__ == "PrefectHTTPStatusError" or type(error).__module__.startswith("http")
    if not is_prefects and not isinstance(error, OSError):
        return None
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StoreError):
            return str(cause)
        cause = cause.__context__
    fault = transient_fault(error) if isinstance(error, OSError) else None
    if fault is None and is_prefects:
        fault = f"Prefect's server failed ({masked(str(error).splitlines()[0])})"
    return fault and f"{fault}. {AGAIN}"


def _what(error: Exception) -> str:
    """The type and the first line of an exception, without passwords."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    text = masked(f"{type(error).__name__}: {first}" if first else type(error).__name__).rstrip(".")
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def _where(error: Exception) -> str:
    """The last line of Nightune's own code in the traceback, or the last of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if is_ours(frame.filename)]
    last = [*frames, *own][-1:]
    return f"line {last[0].lineno} of {Path(last[0].filename).name}" if last else "without a place"
