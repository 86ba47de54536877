"""The keys of [objective]: named metrics, and those that are only reported."""

import pytest

from tests.tuning.conftest import Read, Refuse, study_text


def test_reported_metrics_change_no_study_and_no_direction(read: Read) -> None:
    plain = read(f'{study_text()}[objective]\nmetric = "val_mcc"\n')
    reporting = read(f'{study_text()}[objective]\nmetric = "val_mcc"\nreport = ["val_brier", "val_top_3"]\n')
    assert (reporting.objective.direction, reporting.objective.report) == ("maximize", ("val_brier", "val_top_3"))
    assert (plain.objective.report, plain.digest) == ((), reporting.digest)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('report = ["val_mmc"]', "did you mean 'val_mcc'?"),
        ('report = "val_mcc"', "not a list of texts"),
        ("report = [1]", "not a list of texts"),
        ('metric = "own.py:profit"', "objective.direction: missing"),
        ('metric = "own.py:profit"\ndirection = "up"', "minimize, maximize"),
        ('metric = "own.py:mcc"\ndirection = "maximize"', "rename it"),
        ('metric = "own.py"\ndirection = "maximize"', "path/to/file.py:function"),
        ('metric = "own.py:2"\ndirection = "maximize"', "path/to/file.py:function"),
        ('report = ["own.py:profit"]', "not a metric"),
        ('metric = "val_brier"\ndirection = "maximize"', "val_brier is minimized; remove it"),
    ],
)
def test_unknown_reported_metrics_are_refused(refuse: Refuse, keys: str, said: str) -> None:
    (line,) = refuse(f"{study_text()}[objective]\n{keys}\n")
    assert line.startswith("objective.")
    assert said in line


def test_a_function_of_the_user_has_a_curve_of_its_name(read: Read) -> None:
    study = read(f'{study_text()}[objective]\nmetric = "lib/own.py:profit"\ndirection = "maximize"\n')
    assert (study.objective.name, study.objective.is_own) == ("val_profit", True)
    assert study.content["objective"] == {"metric": "lib/own.py:profit", "direction": "maximize"}
    assert (read(study_text()).objective.name, read(study_text()).objective.is_own) == ("val_loss", False)
