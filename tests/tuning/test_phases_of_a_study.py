"""Keys of two phases in a study file: one list of names is a value, and the second phase fits into the epochs."""

from pathlib import Path

import pytest

from nightune.tasks.load_study import load_study
from nightune.tuning.errors import StudyError
from nightune.tuning.study.study import Study

STUDY = """
question = "Which epoch?"
data = {{ source = "iris" }}
search = {{ trials = 4, epochs = 6 }}
[training]
{training}
"""


def loaded(folder: Path, training: str, epochs: int | None = None) -> Study:
    path = folder / "study.toml"
    path.write_text(STUDY.format(training=training))
    return load_study(path, epochs=epochs)


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ('"base"', [["base"]]),
        ('["base"]', [["base"]]),
        ('["stem", "block*"]', [["stem", "block*"]]),
        ('["none", ["base"]]', ["none", ["base"]]),
        ('[["base"], ["base", "neck"]]', [["base"], ["base", "neck"]]),
    ],
)
def test_a_list_of_names_is_one_value_and_a_list_of_lists_options(
    written: str, options: list[object], tmp_path: Path
) -> None:
    assert loaded(tmp_path, f"freeze = {written}").space.options("training.freeze") == options


def test_the_second_phase_is_searched_where_layers_are_frozen(tmp_path: Path) -> None:
    keys = "unfreeze_at = { low = 2, high = 5 }\nfine_tuning_fraction = { low = 0.01, high = 1.0, scale = 'log' }"
    study = loaded(tmp_path, f'freeze = ["none", ["base"]]\n{keys}')
    points = study.draw(study.space, 20, [], (0, 0))
    frozen = [point["training.freeze"] != "none" for point in points]
    assert set(frozen) == {True, False}
    assert ["training.unfreeze_at" in point for point in points] == frozen
    assert {point["training.unfreeze_at"] for point in points if "training.unfreeze_at" in point} <= {2, 3, 4, 5}


@pytest.mark.parametrize(
    ("training", "key", "words"),
    [
        ('freeze = ["base", "none"]', "training.freeze", "stands alone"),
        ("freeze = [1, 2]", "training.freeze", "list of names"),
        ("freeze = { low = 1, high = 2 }", "training.freeze", "only for numbers"),
        ("unfreeze_at = 3", "training.unfreeze_at", "training.freeze is given"),
        ('freeze = "none"\nunfreeze_at = 3', "training.unfreeze_at", "training.freeze is given"),
        ('freeze = "base"\nunfreeze_at = -1', "training.unfreeze_at", "out of range"),
        ('freeze = "base"\nunfreeze_at = [2, 7]', "training.unfreeze_at", "7 is above search.epochs, 6"),
        ('freeze = "base"\nunfreeze_at = { low = 2, high = 9 }', "training.unfreeze_at", "9 is above"),
        ('freeze = "base"\nfine_tuning_fraction = 0.5', "training.fine_tuning_fraction", "no effect"),
        ('freeze = "base"\nunfreeze_at = 2\nfine_tuning_fraction = 0', "training.fine_tuning_fraction", "range"),
    ],
)
def test_phases_without_sense_are_refused(training: str, key: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        loaded(tmp_path, training)
    assert any(each.key == key and words in each.message for each in caught.value.problems), caught.value.problems


def test_fewer_epochs_of_the_command_line_refuse_a_later_second_phase(tmp_path: Path) -> None:
    keys = 'freeze = "base"\nunfreeze_at = 4'
    assert loaded(tmp_path, keys).trial_count == 4
    with pytest.raises(StudyError, match=r"search\.epochs, 3"):
        loaded(tmp_path, keys, epochs=3)
