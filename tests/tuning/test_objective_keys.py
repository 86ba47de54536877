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
        ('metric = "val_brier"\ndirection = "maximize"', "val_brier is minimized; remove it"),
    ],
)
def test_unknown_reported_metrics_are_refused(refuse: Refuse, keys: str, said: str) -> None:
    (line,) = refuse(f"{study_text()}[objective]\n{keys}\n")
    assert line.startswith("objective.")
    assert said in line
