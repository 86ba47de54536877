"""Changes of values within a training, as a study file has them."""

from pathlib import Path

import pytest

from nightune.tasks.load_study import load_study
from nightune.tuning.errors import StudyError

STUDY = """
question = "Does a lower rate help at the end?"
seed = 1
[data]
source = "iris"
[training]
changes = CHANGES
[space]
optimizer = "adam"
[search]
method = "random"
trials = 2
epochs = 6
[objective]
metric = "val_loss"
"""


def read(folder: Path, changes: str) -> object:
    path = folder / "study.toml"
    text = STUDY.replace('"adam"', '"adam"\nmodel.dropout = 0.3')
    path.write_text(text.replace("CHANGES", changes))
    return load_study(path).space.by_name["training.changes"].domain


def test_a_table_of_epochs_is_one_value_and_a_list_of_tables_is_searched(tmp_path: Path) -> None:
    one = "{ 10 = { learning_rate.peak = 1 }, 5 = { learning_rate.peak = 2, model.dropout = 0.1 } }".replace("10", "6")
    five = {"learning_rate.peak": 2.0, "model.dropout": 0.1}
    domain = read(tmp_path, one)
    assert vars(domain)["options"] == ({"5": five, "6": {"learning_rate.peak": 1.0}},)
    domain = read(tmp_path, '[{ 5 = { "learning_rate.peak" = 2 } }, "none"]')
    assert vars(domain)["options"] == ({"5": {"learning_rate.peak": 2.0}}, "none")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ("{ 7 = { learning_rate.peak = 0.1 } }", "search.epochs"),
        ("{ 1 = { learning_rate.peak = 0.1 } }", "from 2"),
        ("{ 3 = { model.units = 4 } }", "cannot change"),
        ("{ 3 = { model.dropout = 0.5 }, 5 = { model.dropout = 1.5 } }", "5: model.dropout: 1.5"),
        ("{ 3 = { model.dropout = -0.5 } }", "from 0 below 1"),
        ("{ 3 = { model.dropout = 1 } }", "out of range"),
        ('{ 3 = { learning_rate.peak = 0.05, "learning_rate.peak" = 0.1 } }', "twice"),
        ('{ 3 = "adam" }', "table"),
        ("4", "table"),
        ("{ 5 = { learning_rate = {}, weight_decay.strength = 0.1 } }", "learning_rate: an empty table"),
        ("{ 5 = { learning_rate.peak = {} } }", "learning_rate.peak: an empty table"),
    ],
)
def test_changes_that_do_not_fit_are_refused_with_their_key(tmp_path: Path, changes: str, word: str) -> None:
    with pytest.raises(StudyError) as refusal:
        read(tmp_path, changes)
    (problem,) = refusal.value.problems
    assert problem.key == "training.changes"
    assert word in problem.message


def test_all_problems_of_a_table_are_named_at_once(tmp_path: Path) -> None:
    table = (
        "{ 1 = { learning_rate.peak = 0.1 }, 3 = { model.units = 4, model.dropout = 2 }, 4 = { model.dropout = 9 } }"
    )
    with pytest.raises(StudyError) as refusal:
        read(tmp_path, table)
    (problem,) = refusal.value.problems
    for part in ("1: not an epoch", "model.units", "3: ", "4: model.dropout"):
        assert part in problem.message
    with pytest.raises(StudyError) as refusal:
        read(tmp_path, "{ 7 = { learning_rate.peak = 0.1 }, 9 = { learning_rate.peak = 0.2 } }")
    assert "7, 9 are above search.epochs, 6" in refusal.value.problems[0].message


@pytest.mark.parametrize(
    ("changes", "space", "key", "word"),
    [
        ("{ 3 = { learning_rate.peak = 0 } }", 'optimizer = ["adam", "sgd"]', "training.changes.3", "above 0"),
        ("{ 3 = { weight_decay.strength = 0.1 } }", 'optimizer = "adam"', "training.changes.3", "active"),
        ("{ 4 = { learning_rate.peak = 0.1 } }", 'optimizer = ["prodigy", "dog"]', "training.changes", "its own rate"),
        ('["none", { 3 = { learning_rate.peak = 0 } }]', 'optimizer = "adam"', "training.changes.3", "above 0"),
        ("{ 3 = { model.dropout = 0.1 } }", 'model.architecture = "own.py:build"', "training.changes.3", "parameter"),
    ],
)
def test_changes_that_no_point_can_have_are_refused(
    tmp_path: Path, changes: str, space: str, key: str, word: str
) -> None:
    (tmp_path / "own.py").write_text("def build(input_shape, output_size, units: int = 8): ...\n")
    path = tmp_path / "study.toml"
    path.write_text(STUDY.replace("CHANGES", changes).replace('optimizer = "adam"', space))
    with pytest.raises(StudyError) as refusal:
        load_study(path)
    (problem,) = refusal.value.problems
    assert problem.key == key
    assert word in problem.message


def test_changes_that_some_points_can_have_are_searched(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    text = STUDY.replace("CHANGES", "{ 3 = { learning_rate.peak = 0.1 } }")
    path.write_text(text.replace('"adam"', '["adam", "prodigy"]'))
    assert load_study(path).space.options("optimizer") == ["adam", "prodigy"]


@pytest.mark.parametrize(
    ("space", "key", "word"),
    [
        (
            'optimizer = ["adam", "prodigy"]\nlearning_rate.peak = { low = 0.01, high = 0.1 }',
            "learning_rate.peak",
            "its own rate",
        ),
        (
            'penalty.kind = "l2"\npenalty.adaptation = ["none", "gap_control"]\npenalty.held_out_fraction = 0.1\n'
            "penalty.strength = { low = 0.01, high = 0.1 }",
            "penalty.strength",
            "adaptation",
        ),
    ],
)
def test_a_population_is_refused_where_something_else_sets_its_values(
    tmp_path: Path, space: str, key: str, word: str
) -> None:
    path = tmp_path / "study.toml"
    text = STUDY.replace("[training]\nchanges = CHANGES\n", "").replace('optimizer = "adam"', space)
    path.write_text(text.replace('method = "random"\ntrials = 2', 'method = "pbt"\npopulation = 4'))
    with pytest.raises(StudyError) as refusal:
        load_study(path)
    (problem,) = refusal.value.problems
    assert problem.key == key
    assert word in problem.message
