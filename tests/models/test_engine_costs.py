"""Costs: `auto` leaves a sweep to `fit` where compiling takes longer than it saves, and says so."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from tests.models.conftest import BACKEND, MakeDataset

HERE = Path(__file__).parent
WIDTHS = [read_recipe({"model.units": [width]}) for width in range(8, 24)]
RATES = [read_recipe({"model.units": [8], "learning_rate.peak": 10.0**-power}) for power in range(1, 5)]


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global costs, verification, choose_engine, make_engine
    from nightune.models.engines import costs, verification
    from nightune.models.engines.choice import choose_engine
    from nightune.models.engines.make import make_engine


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset()


Why = Callable[..., str | None]


@pytest.fixture
def why(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Why:
    """Ask by seconds of trainings, and of epochs in the compiled engine and in `fit`."""

    def ask(
        recipes: list[Recipe],
        work: tuple[Any, ...],
        seconds: tuple[float, float, float],
        epochs: tuple[float, float] = (0.0, 0.0),
        folds: int = 0,
        folder: Path = HERE,
    ) -> str | None:
        by_name = {BACKEND: epochs[0], "fit": epochs[1]}
        monkeypatch.setattr(costs, "_epoch_seconds", lambda engine, *_: by_name[engine.name])
        data = replace(dataset, folds=(dataset,) * folds)
        engine = make_engine(BACKEND, data, folder)
        return costs.cheaper_in_fit(engine, recipes, data, folder, costs.PlannedWork(*work), costs.Seconds(*seconds))

    return ask


def test_programs_that_trials_share_are_worth_compiling(why: Why) -> None:
    assert why(RATES, (200, 1_000), (5.0, 0.1, 0.4)) is None


def test_a_program_for_each_trial_is_left_to_fit(why: Why) -> None:
    reason = why(WIDTHS, (40, 200), (2.1, 0.1, 0.4))
    assert reason is not None
    # 39 further programs of 2 s, and 0.1 s for each of 40 trials; `fit` takes 0.4 s for each.
    assert all(number in reason for number in ("40 programs", "78 s", "82 s", "16 s"))


def test_proposed_trials_share_programs_as_few_are_preferred(why: Why) -> None:
    """Ten trials are drawn, and a third of thirty others need a program: 19 further ones of 2 s, and 4 s to train."""
    reason = why(WIDTHS, (40, 200, 30), (2.1, 0.1, 0.4))
    assert reason is not None
    assert all(number in reason for number in ("20 programs", "38 s", "42 s"))
    assert why(WIDTHS, (40, 200, 30), (2.1, 0.1, 1.1)) is None
    assert why(WIDTHS, (40, 200), (2.1, 0.1, 1.1)) is not None


def test_no_preference_saves_programs_that_structures_do_not_tell_apart(why: Why, tmp_path: Path) -> None:
    """A width that is a float looks like a rate: proposals cannot prefer those of earlier trials."""
    (tmp_path / "own.py").write_text(
        "def build(input_shape, output_size, factor: float = 1.0):\n"
        "    from keras import Input, Sequential, layers\n\n"
        "    return Sequential([Input(input_shape), layers.Dense(int(8 * factor)), layers.Dense(output_size)])\n"
    )
    own = [read_recipe({"model.architecture": "own.py:build", "model.factor": eighths / 8}) for eighths in range(8, 24)]
    reason = why(own, (40, 200, 30), (2.1, 0.1, 1.1), folder=tmp_path)
    assert reason is not None
    assert "40 programs" in reason


def test_long_trainings_pay_for_programs_of_their_own(why: Why) -> None:
    """Compiling costs 66 s more for each 40 trials, and an epoch saves 50 ms: from 1,320 epochs on."""
    seconds, epochs = (2.1, 0.1, 0.4), (0.01, 0.06)
    assert why(WIDTHS, (40, 1_000), seconds, epochs) is not None
    assert why(WIDTHS, (40, 2_000), seconds, epochs) is None


def test_all_folds_of_a_trial_share_its_program(why: Why) -> None:
    """Five folds compile as often, and an epoch saves 250 ms, less than 1.2 s more for each trial."""
    seconds, epochs = (2.1, 0.1, 0.4), (0.01, 0.06)
    assert why(WIDTHS, (40, 400), seconds, epochs) is not None
    assert why(WIDTHS, (40, 400), seconds, epochs, folds=5) is None


def test_hours_admit_the_trials_that_fit_would_train_in_them(why: Why) -> None:
    """Of 1,000 trials 30 in 12 s of 0.4 s each, of which 14 are proposed: 21 programs, of 2 s each."""
    reason = why(WIDTHS, (1_000, 5_000, 984, 12.0), (2.1, 0.1, 0.4))
    assert reason is not None
    assert all(said in reason for said in ("21 programs", "30 trials", "40 s", "43 s", "12 s in fit"))
    few, seconds = WIDTHS[:8] * 2, (2.1, 0.1, 0.12)  # 8 programs of 2 s each, which 1,000 trials repay
    assert why(few, (1_000, 5_000), seconds) is None
    assert why(few, (1_000, 5_000, 0, 12.0), seconds) is not None
    assert why(few, (1_000, 5_000, 0, 12.0), seconds, (0.01, 0.2)) is None  # fit trains 11, the other takes 16 s


def test_a_few_trials_have_no_more_programs_than_they_are(why: Why) -> None:
    reason = why(WIDTHS[:8] * 2, (3, 15), (3.1, 0.1, 0.4))
    assert reason is not None
    assert "3 programs" in reason


@pytest.mark.parametrize("seconds", [(0.3, 0.1, 0.16), (2.1, 2.0, 1.95)])
def test_what_measurements_cannot_tell_stays_compiled(seconds: tuple[float, float, float], why: Why) -> None:
    assert why(WIDTHS[:4], (4, 8), seconds) is None


def test_models_that_cannot_be_built_count_as_no_program(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def build(input_shape, output_size):\n    raise ValueError('too narrow')\n")
    broken = read_recipe({"model.architecture": "own.py:build"})
    engine: Any = make_engine(BACKEND, dataset, tmp_path)
    assert engine.program_count([broken, *RATES, *WIDTHS]) == len(WIDTHS)  # one of them has the width of all rates


@pytest.mark.parametrize(("request_", "expected"), [("auto", "fit"), ("compiled", BACKEND)])
def test_only_auto_weighs_costs(
    request_: str, expected: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def cheaper(*arguments: Any) -> str:
        asked.extend(arguments[-2:])
        return "because"

    monkeypatch.setattr(verification, "cheaper_in_fit", cheaper)
    work = costs.PlannedWork(24, 48)
    choice = choose_engine(request_, RATES, dataset, HERE, work=work)
    assert (choice.name, choice.reason == "because") == (expected, expected == "fit")
    assert choice.reason.startswith("as asked") == (request_ == "compiled")
    if expected == "fit":
        assert asked[0] is work
        assert asked[1].first > asked[1].compiled > 0.0
        assert asked[1].fit > 0.0


def test_epochs_of_many_examples_are_extrapolated(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []

    def measured(_engine: Any, _recipe: Recipe, data: Dataset, **_: Any) -> Any:
        trained.append(len(data.train))
        return type("Outcome", (), {"curves": {"seconds": [9.0, 0.25]}})

    monkeypatch.setattr(costs, "train", measured)
    engine = make_engine("fit", dataset, HERE)
    assert costs._epoch_seconds(engine, RATES[0], dataset, HERE) == pytest.approx(0.25)
    examples = len(dataset.train) + len(dataset.validation)
    monkeypatch.setattr(costs, "MEASURED_EXAMPLES", examples // 2)
    assert costs._epoch_seconds(engine, RATES[0], dataset, HERE) == pytest.approx(0.25 * examples / (examples // 2))
    assert trained == [len(dataset.train), len(dataset.train) * (examples // 2) // examples]


def test_the_epoch_of_a_typical_batch_size_that_trains_is_measured(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text("def build(input_shape, output_size):\n    raise ValueError('too narrow')\n")
    broken = read_recipe({"model.architecture": "own.py:build", "batch_size.size": 8})
    diverging = read_recipe({"optimizer": "sgd", "learning_rate.peak": 1e30, "batch_size.size": 8})
    large, typical = (read_recipe({"model.units": [4], "batch_size.size": size}) for size in (512, 6))
    trained: list[tuple[Recipe, int]] = []
    train = costs.train

    def counted(engine: Any, recipe: Recipe, *others: Any, **more: Any) -> Any:
        outcome = train(engine, recipe, *others, **more)
        trained.append((recipe, outcome.epochs))
        return outcome

    monkeypatch.setattr(costs, "train", counted)
    engine = make_engine("fit", dataset, tmp_path)
    measured = costs._measured_epochs([engine], [large, broken, diverging, typical], dataset, tmp_path)
    assert measured is not None
    assert [(recipe.batch_size.size, epochs) for recipe, epochs in trained] == [(8, 1), (6, 2)]
    assert costs._measured_epochs([engine], [broken, diverging], dataset, tmp_path) is None


def test_a_compiled_epoch_is_measured_without_its_compilation(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call of a short epoch computes both: each counts half of the compilation."""
    outcomes = iter([[9.0, 9.0], [0.3, 0.25]])
    monkeypatch.setattr(costs, "train", lambda *_, **__: type("Outcome", (), {"curves": {"seconds": next(outcomes)}}))
    assert costs._epoch_seconds(make_engine(BACKEND, dataset, HERE), WIDTHS[0], dataset, HERE) == 0.25


def test_a_part_is_measured_in_programs_like_those_of_the_sweep(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def measured(engine: Any, *_: Any, **_more: Any) -> Any:
        made.append(engine)
        return type("Outcome", (), {"curves": {"seconds": [9.0, 0.25]}})

    monkeypatch.setattr(costs, "train", measured)
    monkeypatch.setattr(costs, "MEASURED_EXAMPLES", 10)
    engine = make_engine(BACKEND, dataset, HERE, rules=frozenset())
    costs._epoch_seconds(engine, RATES[0], dataset, HERE)
    assert made[-1] is not engine
    assert made[-1].rules == frozenset()
