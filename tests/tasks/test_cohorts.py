"""Cohorts: as few as there are graph keys, each of one program, in an order that depends on the trials alone."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from nightune.flows.commands.check_tables import _programs
from nightune.tasks.check_study import check_study
from nightune.tasks.cohorts import COHORT_TRIALS, REFUSED, cohorts, first_of_layouts, training_order, trials_text
from nightune.tasks.load_study import load_study
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.propose_trials import propose_trials
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Bracket, Rung, Trial

STUDY = """
question = "How many programs?"
[data]
source = "iris"
[space]
optimizer = ["gd", "sgd", "adam", "adamw"]
learning_rate.peak = { low = 1e-3, high = 1e-1, scale = "log" }
one_minus_momentum = { low = 0.05, high = 1.0, when = { optimizer = "sgd" } }
batch_size.size = { options = [8, 16, 32, 64], when = { optimizer = ["sgd", "adam", "adamw"] } }
model.dropout = [0.0, 0.1, 0.3]
[search]
method = "random"
trials = 24
epochs = 1
"""


@pytest.fixture
def mixed(tmp_path: Path) -> Study:
    path = tmp_path / "mixed.toml"
    path.write_text(STUDY, encoding="utf-8")
    return load_study(path)


@pytest.fixture
def trials(mixed: Study, data: PreparedData) -> list[Trial]:
    return propose_trials.fn(mixed, 0, data, Bracket((Rung(mixed.trial_count, 1),)), [])


def cut(trials: Sequence[Trial], folder: Path = Path()) -> list[list[int]]:
    return [[trial.number for trial in cohort] for cohort in cohorts(trials, folder)]


def test_a_mixed_study_is_split_into_as_many_cohorts_as_it_has_graph_keys(mixed: Study, trials: list[Trial]) -> None:
    """Two optimizers' families, with dropout and without: four, for any batch sizes."""
    assert len({trial.params.get("batch_size.size") for trial in trials}) == 5
    check = check_study(mixed)
    assert len(cut(trials)) == len(check.graph_keys) == 4
    assert check.programs == (2, 2)  # as are trained, below
    assert sorted(number for cohort in cut(trials) for number in cohort) == list(range(24))


@pytest.mark.slow
def test_each_cohort_is_trained_in_one_program_that_optimizers_share(
    mixed: Study, trials: list[Trial], tmp_path: Path
) -> None:
    import keras

    from nightune.models.data.storage import open_dataset
    from nightune.models.engines.make import make_engine
    from nightune.models.recipe.params import read_recipe
    from nightune.models.training.engine import COMPILED_ENGINES
    from nightune.models.training.seeds import Seeds
    from nightune.tasks.prepare_data import prepare_data

    dataset = open_dataset(prepare_data.fn(mixed, tmp_path).folder)
    engine = make_engine(COMPILED_ENGINES[keras.backend.backend()], dataset, tmp_path)
    programs = [
        {id(engine.start(read_recipe(trial.params), Seeds(1, 2, 3)).executable) for trial in cohort}
        for cohort in cohorts(trials, mixed.path.parent)
    ]
    assert [len(each) for each in programs] == [1] * len(programs)
    # One without dropout and one with it, for both families of optimizers.
    assert engine.programs == len(set.union(*programs)) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("body", "place"), [("Dropout(amount)", 0), ("Dense(int(40 * amount))", 1)])
def test_a_check_says_how_many_programs_a_function_has_with_floats_that_are_dropout_rates_and_that_are_not(
    body: str, place: int, tmp_path: Path
) -> None:
    import keras

    from nightune.models.engines.make import make_engine
    from nightune.models.training.engine import COMPILED_ENGINES
    from nightune.tasks.prepare_data import read_dataset
    from nightune.tasks.propose_trials import sample_recipes

    (tmp_path / "own.py").write_text(
        "def build(input_shape, output_size, amount: float = 0.1):\n"
        "    from keras import Input, Sequential, layers\n\n"
        f"    return Sequential([Input(input_shape), layers.{body}, layers.Dense(output_size)])\n"
    )
    path = tmp_path / "own.toml"
    own = '[model]\narchitecture = "own.py:build"\namount = { low = 0.1, high = 0.5 }\n[space]'
    text = STUDY.replace("[space]", own).replace("model.dropout = [0.0, 0.1, 0.3]\n", "")
    path.write_text(text.replace("trials = 24", "trials = 6"), encoding="utf-8")
    study = load_study(path)
    check = check_study(study)
    assert check.programs == (1, 6)
    assert len(check.graph_keys) == 6
    assert _programs(*check.programs).startswith("1 to 6 programs")
    assert _programs(2, 2) == "2 programs"
    engine = make_engine(COMPILED_ENGINES[keras.backend.backend()], read_dataset(study), tmp_path)
    assert engine.program_count(sample_recipes(study)) == check.programs[place]


def trial(number: int, **params: object) -> Trial:
    named = {name.replace("__", "."): value for name, value in params.items()}
    return Trial(number=number, params=named, seed=number, key=f"{number:016}")  # type: ignore[arg-type]


def test_trials_of_one_batch_size_are_adjacent_and_ordered_by_number() -> None:
    sizes = [64, 8, 64, 8, 128, 8]
    given = [trial(number, batch_size__size=size) for number, size in enumerate(sizes)]
    assert cut(given[::-1]) == [[1, 3, 5, 0, 2, 4]]


def test_a_large_group_is_split_into_cohorts_of_limited_size() -> None:
    given = [trial(number) for number in range(2 * COHORT_TRIALS + 1)]
    assert [len(cohort) for cohort in cut(given)] == [COHORT_TRIALS, COHORT_TRIALS, 1]


def test_trials_without_a_valid_recipe_form_a_separate_cohort(tmp_path: Path) -> None:
    given = [
        trial(0),
        trial(1, optimizer="adamv"),
        trial(2, optimizer="gd", batch_size__size=8),
        trial(3, model__architecture="missing.py:build"),
        trial(4),
    ]
    assert sorted(cut(given, tmp_path)) == [[0, 4], [1, 2, 3]]
    assert training_order(tmp_path)(given[2]).graph_key == REFUSED


def test_models_of_a_user_are_distinguished_by_their_code(tmp_path: Path) -> None:
    for name, code in {"one": "1", "other": "2"}.items():
        (tmp_path / f"{name}.py").write_text(f"def build(): return {code}\n", encoding="utf-8")
    architectures = ("one.py:build", "other.py:build", "one.py:build")
    given = [trial(number, model__architecture=name) for number, name in enumerate(architectures)]
    assert sorted(cut(given, tmp_path)) == [[0, 2], [1]]


@pytest.mark.parametrize(
    ("numbers", "replicates", "optimizers", "said"),
    [
        ([3], [0], ["sgd"], "trial 3 (sgd)"),
        ([3], [2], [None], "trial 3 replicate 2"),
        ([0, 4], [0, 0], ["sgd", "adam"], "trials 0, 4"),
        ([3, 3, 5], [1, 2, 1], ["adam", "adam", "adam"], "3 replicates of trials 3, 5 (adam)"),
        ([*range(8)], [0] * 8, ["sgd"] * 8, "trials 0, 1, 2, 3, 4, 5 and 2 more (sgd)"),
    ],
)
def test_trials_are_named_in_words(
    numbers: list[int], replicates: list[int], optimizers: list[str | None], said: str
) -> None:
    held = [
        Trial(number, {} if name is None else {"optimizer": name}, 1, f"key-{number}", replicate=replicate)
        for number, replicate, name in zip(numbers, replicates, optimizers, strict=True)
    ]
    assert trials_text(held) == said


def test_the_first_of_layouts_is_one_trial_for_each_setting_of_the_batches(trials: list[Trial]) -> None:
    first = first_of_layouts(trials)
    layouts = [trial.params.get("batch_size.size") for trial in first]
    assert len(layouts) == len(set(layouts)) > 2
    for trial, layout in zip(first, layouts, strict=True):
        assert trial.number == min(each.number for each in trials if each.params.get("batch_size.size") == layout)
