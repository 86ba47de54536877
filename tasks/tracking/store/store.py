"""Open the MLflow store that holds all results; create it once."""

import logging
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from nightune.tasks.tracking.store.client_process import plain_client
from nightune.tasks.tracking.store.database_address import require_database
from nightune.tasks.tracking.store.errors import RefusedRequestError, StoreError
from nightune.tasks.tracking.store.first_contact import require_answer
from nightune.tasks.tracking.store.prepared_databases import place_prepared
from nightune.tasks.tracking.store.relocate import relocate
from nightune.tasks.tracking.store.retry import RetryingClient, masked

logger = logging.getLogger("nightune")
STORE_LOCK_SECONDS = 300.0
DATABASE = "mlflow.db"
MAXIMUM_LOCATION = 157  # characters: MLflow's column for the address of a run's artifacts has 200, with the run's part
MAKING = ".making-"  # prefix of the folder in which a database is created
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
# We retry and log it (retry.py). MLflow would retry silently for minutes; and where only the answer was lost, its
# second request would create a second run of one trial.
ONE_REQUEST = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of all state and MLflow's address: the SQLite file in that folder, or a server."""

    root: Path
    tracking_uri: str

    def __post_init__(self) -> None:
        if not self.tracking_uri:  # MLflow would silently use a database in the current folder
            raise ValueError("tracking_uri: empty; a store needs an address")

    @property
    def compiled(self) -> Path:
        """The folder that caches compiled programs for the next process."""
        return self.root / "compiled"

    @property
    def is_local(self) -> bool:
        """True if this process writes the database directly."""
        return self.tracking_uri.startswith("sqlite:")

    @property
    def is_served(self) -> bool:
        """True if a tracking server writes the database, and keeps the artifacts."""
        return self.tracking_uri.startswith(("http://", "https://"))


def open_store(root: Path, tracking_uri: str | None = None, creates_folder: bool = True) -> Store:
    """Open the store in a folder, creating it if needed; StoreError says why it cannot be used."""
    root = root.resolve()
    if "?" in str(root):  # an address's options start with it
        raise StoreError(f"{root}: a store's path must not contain '?'. Set NIGHTUNE_STORE to another folder.")
    if tracking_uri:
        require_database(tracking_uri)
        require_answer(tracking_uri)
    prepare_client()
    try:
        if creates_folder:
            root.mkdir(parents=True, exist_ok=True)
        store = Store(root, tracking_uri or store_address(root))
        if store.is_local and not tracking_uri:
            _create_once(store)
    except OSError as error:
        raise StoreError(
            f"{root}: the store cannot be written ({error}). Set NIGHTUNE_STORE to a writable folder."
        ) from error
    return store


def open_existing_store(root: Path, tracking_uri: str | None = None) -> Store:
    """Open the store in a folder for reading; StoreError, and nothing is created, if there is none."""
    root = root.resolve()
    require_store(root, tracking_uri)
    return open_store(root, tracking_uri, creates_folder=False)


def require_store(root: Path, tracking_uri: str | None = None) -> None:
    """Raise StoreError if there is no store in the folder, and none is named."""
    if not tracking_uri and not (root / DATABASE).exists():
        raise StoreError(
            f"{root}: no store in this folder. Run the command in the folder of the sweeps, or set NIGHTUNE_STORE to "
            "their store; `nightune tune STUDY` creates one."
        )


def store_address(root: Path, tracking_uri: str | None = None) -> str:
    """Return the address of the MLflow store: the named one, without a password, or the database in the folder."""
    return masked(tracking_uri) if tracking_uri else f"sqlite:///{(root.resolve() / DATABASE).as_posix()}"


def prepare_client() -> None:
    """Set the variables of MLflow's client. A process that opens no store, as a worker, calls it first."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ |= ONE_REQUEST


def client(store: Store) -> Any:
    """Return the MLflow client of a store; one per process."""
    return _client(store.tracking_uri)


def study_experiment(store: Store, name: str) -> str:
    """Return the id of the study's experiment; create it if needed.

    Its artifacts lie in the store's folder, or where the server of the store keeps them. StoreError if the address of
    that folder is too long for a database other than SQLite.
    """
    mlflow_client = client(store)
    experiment = mlflow_client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(mlflow_client.create_experiment(name, artifact_location=_location(store, name)))
        except RefusedRequestError as error:
            if error.code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment = mlflow_client.get_experiment_by_name(name)  # another machine has created it meanwhile
    if experiment.lifecycle_stage == "deleted":
        mlflow_client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def _location(store: Store, name: str) -> str | None:
    """Return the address of the folder of a study's artifacts; None if a server chooses it."""
    if store.is_served:
        return None
    location = (store.root / "artifacts" / name).as_uri()
    if not store.is_local and len(location) > MAXIMUM_LOCATION:
        raise StoreError(
            f"{store.root}: {masked(store.tracking_uri)} keeps addresses of artifacts of {MAXIMUM_LOCATION} characters "
            f"at most, and {location} has {len(location)}. Set NIGHTUNE_STORE to a folder with a shorter path, or run "
            "`mlflow server` on that database (docs/stores.md)."
        )
    return location


def _create_once(store: Store) -> None:
    """Create the tables under a lock: first starts of MLflow in several processes leave incomplete tables."""
    database = store.root / DATABASE
    with FileLock(store.root / ".store.lock", timeout=STORE_LOCK_SECONDS):
        if database.exists() and not _is_database(database):
            raise StoreError(
                f"{database}: not an SQLite database. Move the file away, or set NIGHTUNE_STORE to another folder."
            )
        try:
            if not database.exists():
                _create_atomically(database)
            with closing(sqlite3.connect(database)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")  # kept in the file: readers do not wait for the writer
            client(store).search_experiments(max_results=1)
            old = relocate(store.root)
        except (StoreError, OSError):
            raise
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise StoreError(
                f"{database}: MLflow cannot open it ({reason}). It may have been written by another version of MLflow. "
                f"`mlflow db upgrade {masked(store.tracking_uri)}` upgrades an older one; "
                "or set NIGHTUNE_STORE to another folder."
            ) from error
    if old:
        logger.info("the store has moved from %s; its artifact addresses are updated", old)


def _create_atomically(database: Path) -> None:
    """Create the tables in a temporary folder and move them atomically: MLflow cannot open tables that a kill left."""
    for left in database.parent.glob(f"{MAKING}*"):
        shutil.rmtree(left, ignore_errors=True)
    if place_prepared("mlflow", database):
        return
    with tempfile.TemporaryDirectory(prefix=MAKING, dir=database.parent, ignore_cleanup_errors=True) as folder:
        made, whole = Path(folder) / "made.db", Path(folder) / "whole.db"
        client(Store(database.parent, f"sqlite:///{made.as_posix()}")).search_experiments(max_results=1)
        with closing(sqlite3.connect(made)) as source, closing(sqlite3.connect(whole)) as copy:
            source.backup(copy)
        whole.replace(database)


def _is_database(path: Path) -> bool:
    """True unless SQLite says that the file is something else.

    Only SQLite may open the file: to open and close it in any other way drops the locks of this process's connections,
    and the next process that exits would then delete the write-ahead log that they use.
    """
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:
        return True  # busy or unreadable: MLflow reports which
    except sqlite3.DatabaseError:
        return False
    return True


@lru_cache(maxsize=8)
def _client(tracking_uri: str) -> Any:
    return RetryingClient(plain_client(tracking_uri), tracking_uri)
