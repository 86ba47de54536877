"""Prepare the environment of the libraries before they are imported. The user's own values take precedence."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from nightune.settings import SettingsError, read_settings, usable_settings
from nightune.tasks.reporting.notify import Hooks


def store_root() -> Path:
    """Return the folder of all state: NIGHTUNE_STORE, or `mlruns` in the current folder."""
    return read_settings().store.resolve()


def tracking_uri() -> str | None:
    """Return the MLflow store that the user names, or None.

    User name and password of an http(s) address move to the variables that MLflow reads them from: addresses are
    printed and logged.
    """
    address = read_settings().tracking_uri
    if address is None or not address.startswith(("http://", "https://")):
        return address
    parts = urlsplit(address)
    secrets, at, place = parts.netloc.rpartition("@")
    if at:
        user, _, password = secrets.partition(":")
        address = urlunsplit(parts._replace(netloc=place))
        os.environ |= {
            "MLFLOW_TRACKING_URI": address,
            "MLFLOW_TRACKING_USERNAME": unquote(user),
            "MLFLOW_TRACKING_PASSWORD": unquote(password),
        }
    return address


def hooks() -> Hooks:
    """Return what to notify of verdicts and failures: NIGHTUNE_WEBHOOK and NIGHTUNE_HOOK, as far as they can be used.

    They come from the environment to keep addresses with secrets out of studies and databases. Commands and flows
    refuse wrong values at the start; here, at the end of a night, such a value is skipped.
    """
    settings = usable_settings()
    return Hooks(settings.webhook or "", settings.hook)


def prepare_environment(creates_store: bool = True) -> None:
    """Keep Prefect's state in the store, give its server time to start, and keep all libraries quiet and offline.

    Call it before importing Prefect. It creates the store's folder, since Prefect creates no folder inside a missing
    one; commands that only read create nothing.
    SettingsError if an environment variable has a value that cannot be used.
    """
    root = store_root()
    try:
        if creates_store:
            root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"NIGHTUNE_STORE: the folder {str(root)!r} cannot be created ({error.strerror})"
        raise SettingsError([problem]) from error
    defaults = {
        "PREFECT_HOME": str(root / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",  # 20 s is too short on a busy machine
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the command line reports errors, once
        "PREFECT_LOGGING_EXTRA_LOGGERS": "nightune",  # show the trials' log lines on Prefect's page of the flow run
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # `serve` logs outside of flow runs
        "DO_NOT_TRACK": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
