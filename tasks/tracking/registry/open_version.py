"""Find a version by number or alias, and open it by its own code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightune.models.error_causes import cause_of
from nightune.models.serving.predictor import model_of
from nightune.tasks.tracking.registry.model_folder import parts_of
from nightune.tasks.tracking.registry.registry import Version, fetch_version, known_versions
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.store import Store
from nightune.vocabulary import listing


@dataclass(frozen=True, eq=False)
class Opened:
    """What a version's own code opened: its model with `description`, `inputs` and so on, and what it answers with.

    Versions of an earlier Nightune have no parameters: they answer labels only.
    """

    python_model: Any
    parameters: tuple[str, ...]

    @property
    def description(self) -> dict[str, Any]:
        """The description of its inputs and outputs."""
        description: dict[str, Any] = self.python_model.predictor.description
        return description


def find_version(store: Store, model: str, number: int | None, alias: str) -> Version:
    """Return the version of a number, or else of an alias; StoreError, which lists the known ones, if there is none."""
    found = known_versions(store, model)
    if number is not None:
        version = next((each for each in found if each.number == number), None)
        known = listing([each.number for each in found])
        if version is None:
            raise StoreError(f"{model}: no version {number} ({known})")
        return version
    version = next((each for each in found if alias in each.aliases), None)
    if version is None:
        numbers = listing([f"{each.number}{''.join(f' @{name}' for name in each.aliases)}" for each in found])
        raise StoreError(f"{model}: no version is {alias}; name one by --version ({numbers})")
    return version


def open_version(store: Store, version: Version, folder: Path) -> Opened:
    """Fetch a version's files into a folder, and open them by the version's own code; StoreError if that fails."""
    fetched = fetch_version(store, version, folder)
    if not model_of(parts_of(fetched)).exists():
        raise StoreError(f"{_name(version)}: Nightune did not make it; load it with MLflow")
    try:
        return load(fetched)
    except MemoryError:
        raise
    except Exception as error:  # what a damaged file, or code of the version, raises is up to them
        raise StoreError(f"{_name(version)} cannot be opened ({cause_of(error)})") from error


def load(folder: Path) -> Opened:
    """Load a version's folder by MLflow."""
    from mlflow import pyfunc  # noqa: PLC0415 - seconds

    loaded = pyfunc.load_model(str(folder))
    schema = loaded.metadata.get_params_schema()
    return Opened(loaded.unwrap_python_model(), tuple(each.name for each in schema.params) if schema else ())


def _name(version: Version) -> str:
    return f"{version.model} version {version.number}"
