"""The keys of [objective]: named metrics, and those that are only reported."""

import json

import pytest

from nightune.tuning.study.objective import Objective
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
        ('metric = "val_own.py:f_accuracy"', "objective.direction: missing"),
        ('metric = "own.py:mcc"\ndirection = "maximize"', "rename it"),
        ('metric = "own.py:balanced_accuracy"\ndirection = "maximize"\nhead = "kind"', "rename it"),
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
    of_head = read(f'{study_text()}[objective]\nmetric = "own.py:my_accuracy"\ndirection = "maximize"\nhead = "kind"\n')
    assert of_head.objective.name == "val_kind_my_accuracy"
    assert (read(study_text()).objective.name, read(study_text()).objective.is_own) == ("val_loss", False)


SEVERAL = 'metrics = ["val_accuracy", "latency_ms"]'


def test_several_objectives_have_their_own_directions_and_identity(read: Read) -> None:
    one = read(f'{study_text()}[objective]\nmetric = "val_accuracy"\n')
    several = read(f"{study_text()}[objective]\n{SEVERAL}\n")
    assert (several.objective.name, several.objective.direction) == ("val_accuracy", "maximize")
    assert [(each.name, each.direction) for each in several.objective.further] == [("latency_ms", "minimize")]
    assert several.objective.costs == ("latency_ms",)
    assert one.objective.further == ()
    assert several.digest != one.digest
    again = Objective.model_validate_json(json.dumps(several.content["objective"]))
    assert again == several.objective
    own = 'metrics = ["own.py:cost", "val_auc"]\ndirections = ["minimize", "maximize"]'
    held = read(f"{study_text()}[objective]\n{own}\n").objective
    assert (held.name, held.direction, held.further[0].name) == ("val_cost", "minimize", "val_auc")


@pytest.mark.parametrize(
    ("keys", "key", "said"),
    [
        ('metrics = ["latency_ms", "val_auc"]', "metrics", "begin with a metric"),
        ('metrics = ["val_auc"]', "metrics", "write metric"),
        ('metrics = ["val_auc", "val_auc"]', "metrics", "twice"),
        ('metrics = ["val_auc", "latency"]', "metrics", "latency"),
        ('metrics = ["val_auc", "own.py:cost"]', "directions", "missing"),
        ('metrics = ["own.py:cost", "val_auc"]', "directions", "missing"),
        ('metrics = ["val_auc", "val_own.py:f_accuracy"]', "directions", "missing"),
        ('metrics = ["own.py:mcc", "val_auc"]\ndirections = ["maximize", "maximize"]', "metrics", "rename"),
        (
            'metrics = ["val_auc", "own.py:balanced_accuracy"]\ndirections = ["maximize", "maximize"]\nhead = "kind"',
            "metrics",
            "rename",
        ),
        (
            'metrics = ["own.py:mcc", "val_auc"]\ndirections = ["maximize", "maximize"]\nhead = "kind"',
            "metrics",
            "rename",
        ),
        ('metrics = ["val_auc", "latency_ms"]\nhead = "kind"', "head", "begin metrics with"),
        ('metrics = ["val_auc", "own.py:cost"]\ndirections = ["maximize"]', "directions", "one for each"),
        (f'{SEVERAL}\ndirections = ["maximize", "maximize"]', "directions", "minimized"),
        (f'{SEVERAL}\nmetric = "val_auc"', "metric", "begins with"),
        (f'{SEVERAL}\ndirection = "minimize"', "direction", "maximized"),
        (
            'metrics = ["val_auc", "a.py:cost", "b.py:cost"]\ndirections = ["maximize", "minimize", "minimize"]',
            "metrics",
            "rename",
        ),
    ],
)
def test_several_objectives_that_do_not_go_together_are_refused(refuse: Refuse, keys: str, key: str, said: str) -> None:
    (line,) = refuse(f"{study_text()}[objective]\n{keys}\n")
    assert line.startswith(f"objective.{key}")
    assert said in line


@pytest.mark.parametrize(
    ("search", "remedy"),
    [
        ('method = "successive_halving"\ntrials = 8\nepochs = 12', "method 'auto', 'random'"),
        ('method = "gp"\ntrials = 32\nepochs = 12\nsmallest_epochs = 3', "remove smallest_epochs"),
        ("trials = 32\nepochs = 12\nreduction_factor = 3", "remove reduction_factor"),
    ],
)
def test_rungs_are_refused_with_several_objectives_and_the_remedies_work(
    read: Read, refuse: Refuse, search: str, remedy: str
) -> None:
    (line,) = refuse(f"{study_text(search=search)}[objective]\n{SEVERAL}\n")
    assert line.startswith("objective.metrics")
    assert remedy in line
    for method in ("random", "auto", "gp"):
        allowed = f'method = "{method}"\ntrials = 32\nepochs = 12'
        assert read(f"{study_text(search=allowed)}[objective]\n{SEVERAL}\n").objective.metrics
