"""A store with one open sweep, and trials to put in it."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.store.store import Store, open_store
from nightune.tasks.tracking.sweeps.sweeps import Sweep, open_sweep
from nightune.tuning.trial import Status, Trial, TrialResult
from tests.conftest import kept_environment
from tests.copied_stores import copy_store

if TYPE_CHECKING:
    from nightune.tasks.setting import Setting


@dataclass
class Section:
    """A section of a study with just what tracking requires."""

    name: str = "val_loss"
    direction: str = "minimize"
    further: tuple[Any, ...] = ()
    values: dict[str, Any] = field(default_factory=lambda: {"method": "random", "trials": 3, "epochs": 2})

    def model_dump(self, mode: str) -> dict[str, Any]:
        return self.values


@dataclass
class SmallStudy:
    """The part of a study that tracking requires."""

    path: Path
    digest: str = "0123456789abcdef"
    name: str = "flowers"
    question: str = "Which rate is best?"
    seed: int = 7
    objective: Section = field(default_factory=Section)
    search: Section = field(default_factory=Section)
    content: dict[str, Any] = field(
        default_factory=lambda: {
            "seed": 7,
            "search": {"method": "random", "trials": 3, "epochs": 2},
            "objective": {"metric": "val_loss"},
        }
    )

    def model_copy(self, update: dict[str, Any]) -> Self:
        return replace(self, **update)


@pytest.fixture
def store(store_root: Path) -> Store:
    return open_store(store_root)


@pytest.fixture
def study(tmp_path: Path) -> SmallStudy:
    path = tmp_path / "flowers.toml"
    path.write_text("question = 'Which rate is best?'\n")
    return SmallStudy(path)


@pytest.fixture
def sweep(store: Store, study: SmallStudy) -> Sweep:
    return open_sweep(store, study, "data-1", fresh=False, planned_trials=3)  # type: ignore[arg-type]


@pytest.fixture
def data(tmp_path: Path) -> PreparedData:
    return PreparedData(
        folder=tmp_path / "data" / "data-1",
        version="data-1",
        task="multiclass",
        classes=(0, 1),
        input_shape=(4,),
        output_size=2,
        sizes={"train": 6, "validation": 2, "test": 2},
        findings=(),
    )


@pytest.fixture
def trial() -> Trial:
    params = {"optimizer": "adam", "learning_rate.peak": 0.1, "nesterov": False, "model.units": [8, 4], "size": 3}
    return Trial(number=0, params=params, seed=5, key="aaaaaaaaaaaaaaaa")


def result_of(trial: Trial, **changes: Any) -> TrialResult:
    values: dict[str, Any] = {
        "status": Status.COMPLETED,
        "objective": 0.25,
        "best_epoch": 2,
        "epochs": 2,
        "updates": 4,
        "examples": 12,
        "seconds": 1.5,
    }
    return TrialResult(trial=trial, **(values | changes))


@pytest.fixture(scope="session")
def swept(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that holds the sweep of `setting`, trained once."""
    from tests.tasks.promotions import STUDY, trained

    folder = tmp_path_factory.mktemp("swept")
    shutil.copytree(empty_store, folder / "mlruns")
    with kept_environment():
        trained(open_store(folder / "mlruns"), folder, STUDY)
    return folder


@pytest.fixture
def setting(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Setting":
    """A complete sweep with its replicates, opened again in a store of the test's own."""
    from tests.tasks.promotions import STUDY, started

    copy_store(swept, tmp_path)
    monkeypatch.setenv("NIGHTUNE_STORE", str(tmp_path / "mlruns"))
    setting = started(open_store(tmp_path / "mlruns"), tmp_path, STUDY)
    assert setting.sweep.is_complete
    return setting


@pytest.fixture
def models_closed() -> Iterator[None]:
    """Release the models that a test opened: Keras keeps them all."""
    yield
    import keras

    keras.backend.clear_session()
