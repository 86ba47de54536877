"""Prepare the environment of the libraries before they are imported. The user's own values take precedence."""

import getpass
import os
import warnings
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from nightune.flows.runtime.prefect_profiles import profile_problems
from nightune.flows.runtime.temporary_folder import temporary_folder_problems
from nightune.models.quiet_imports import import_backends_quietly
from nightune.proxies import ask_loopback_directly, proxy_problems
from nightune.settings import SettingsError, read_settings, usable_settings
from nightune.tasks.reporting.notify import Hooks
from nightune.tasks.tracking.store.autologging import ignore_autologging
from nightune.tasks.tracking.store.database_address import require_database
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.first_contact import require_answer


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
    """Return the webhook and the command to notify of verdicts and failures: NIGHTUNE_WEBHOOK and NIGHTUNE_HOOK.

    They come from the environment to keep addresses with secrets out of studies and databases. Commands and flows
    refuse wrong values at the start; here, at the end of a night, a wrong value is ignored.
    """
    settings = usable_settings()
    return Hooks(settings.webhook or "", settings.hook)


def prepare_environment(creates_store: bool = True, asks_store: bool = True) -> None:
    """Keep Prefect's state in the store, give its server time to start, and keep all libraries quiet and offline.

    Call it before importing Prefect. It creates the store's folder, since Prefect creates no folder inside a missing
    one; commands that only read create nothing, and those that need no store do not ask whether a named one answers.
    Loopback is excepted from proxies. SettingsError if an environment variable has a value that cannot be used;
    StoreError if the store's folder cannot be created, or the named store cannot be used or does not answer.
    """
    root = store_root()
    problems = [*proxy_problems(), *temporary_folder_problems(), *profile_problems(root)]
    if problems:
        raise SettingsError(problems)
    address = tracking_uri()
    if address:
        require_database(address)
    ask_loopback_directly()
    if address and asks_store:
        require_answer(address)
    try:
        if creates_store:
            (root / "prefect").mkdir(parents=True, exist_ok=True)
        else:
            warnings.filterwarnings("ignore", "Failed to create the Prefect home directory")  # it needs none to read
    except OSError as error:
        said = f"NIGHTUNE_STORE: the folder {str(root)!r} cannot be created or written ({error.strerror or error})"
        raise StoreError(f"{said}. Set it to a folder that you can write to.") from error
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
    _name_user(root)
    import_backends_quietly()
    ignore_autologging()


def _name_user(root: Path) -> None:
    """Name a user and a home for the libraries that ask, where the system knows neither, as in containers."""
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):  # KeyError until Python 3.12, OSError since
        os.environ["LOGNAME"] = f"user-{os.getuid()}" if hasattr(os, "getuid") else "user"
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(root / "home")
