"""Check the address of a database that a user names, before MLflow fails with a traceback of it."""

import errno
import os
from pathlib import Path

from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.retry import masked


def require_database(tracking_uri: str) -> None:
    """Raise StoreError if the address of a database is malformed, or its driver or its folder is missing.

    A missing folder of an SQLite file is created, as MLflow does. Addresses of servers are not checked.
    """
    if tracking_uri.startswith(("http://", "https://")):
        return
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - takes a moment, and most commands use our own database
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError  # noqa: PLC0415

    named = f"MLFLOW_TRACKING_URI: {masked(tracking_uri).partition('?')[0]!r}"
    try:
        address = make_url(tracking_uri)
        address.get_dialect().import_dbapi()
        if tracking_uri.startswith("sqlite:") and address.database:
            _require_file(Path(address.database))
    except ModuleNotFoundError as error:
        said = f"{named} needs the Python package {error.name!r}, which is not installed"
        how = "pip install 'nightune[postgresql]'" if error.name == "psycopg2" else "Install it"
        raise StoreError(f"{said}. {how}, or unset the variable.") from error
    except NoSuchModuleError as error:
        said = f"{named} names a driver that SQLAlchemy does not know. Leave out '+DRIVER' for the usual one."
        raise StoreError(said) from error
    except (ArgumentError, ValueError) as error:
        allowed = "DATABASE://USER:PASSWORD@HOST:PORT/NAME, or sqlite:///FILE"
        raise StoreError(f"{named} is not the address of a database ({allowed}).") from error
    except OSError as error:
        said = f"{named}: the file cannot be written ({error.strerror or error})"
        raise StoreError(f"{said}. Name a file in a folder that you can write to.") from error


def _require_file(file: Path) -> None:
    """Create the folder of an SQLite file; OSError if the file cannot be written. Only SQLite may open it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
