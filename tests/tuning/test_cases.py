"""A parameter with values that depend on another one, and the level that means optimizers with their ranges."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nightune.tuning.errors import StudyError
from nightune.tuning.search.domains import Cases, Choice, Range
from nightune.tuning.search.grid import grid_points, grid_size
from nightune.tuning.search.samplers import random
from nightune.tuning.search.search_space import Condition
from nightune.tuning.study.study import Study, load_study
from nightune.tuning.study.vocabulary import Vocabulary
from tests.tuning.conftest import ARCHITECTURES, KEYS, has_parts, study_text

Read = Callable[[str], Study]
Refuse = Callable[[str], list[str]]

BY_OPTIMIZER = """
optimizer = ["sgd", "adam", "gd"]
learning_rate.peak = [
  { low = 1e-2, high = 1.0, scale = "log", when = { optimizer = ["sgd", "gd"] } },
  { options = [1e-4, 1e-3], when = { optimizer = "adam" } },
]
"""


def test_each_case_has_its_own_domain(read: Read) -> None:
    peak = read(study_text(BY_OPTIMIZER)).space.by_name["learning_rate.peak"]
    low, high = Range(1e-2, 1.0, "log"), Choice((1e-4, 1e-3))
    assert peak.domain == Cases("optimizer", ((("sgd", "gd"), low), (("adam",), high)))
    assert str(peak.domain) == "sgd, gd: 0.01 to 1, log; adam: 0.0001, 0.001"
    assert peak.controllers == ("optimizer",)
    assert peak.domain.contains(1e-4)
    assert not peak.domain.contains(5e-4)


def test_draws_come_from_the_case_of_the_trial(read: Read) -> None:
    space = read(study_text(BY_OPTIMIZER)).space
    points = random(space, 60, [], (0, 0))
    assert {point["optimizer"] for point in points} == {"sgd", "adam", "gd"}
    for point in points:
        peak = point["learning_rate.peak"]
        assert isinstance(peak, float)
        assert (peak in (1e-4, 1e-3)) if point["optimizer"] == "adam" else 1e-2 <= peak <= 1.0


def test_cases_do_not_change_the_draws_of_other_dimensions(read: Read) -> None:
    plain = read(study_text('optimizer = ["sgd", "adam", "gd"]\nlearning_rate.peak = 0.1\nmodel.dropout = [0.1, 0.2]'))
    cases = read(study_text(f"{BY_OPTIMIZER}\nmodel.dropout = [0.1, 0.2]"))
    drawn = [random(study.space, 20, [], (7, 0)) for study in (plain, cases)]
    for one, other in zip(*drawn, strict=True):
        assert (one["optimizer"], one["model.dropout"]) == (other["optimizer"], other["model.dropout"])


def test_a_case_that_is_left_out_makes_the_parameter_absent(read: Read) -> None:
    text = """
optimizer = ["sgd", "adam", "gd"]
learning_rate.peak = [
  { value = 0.5, when = { optimizer = "sgd" } },
  { value = 0.1, when = { optimizer = "gd" } },
]
"""
    dimension = read(study_text(text)).space.by_name["learning_rate.peak"]
    assert dimension.when == (Condition("optimizer", ("sgd", "gd")),)
    for point in random(read(study_text(text)).space, 30, [], (0, 0)):
        expected = {"sgd": 0.5, "gd": 0.1}.get(str(point["optimizer"]))
        assert point.get("learning_rate.peak") == expected


def test_a_grid_has_each_cases_points_once(read: Read) -> None:
    text = study_text(
        """
optimizer = ["sgd", "adam"]
learning_rate.schedule = ["fixed", "cosine"]
learning_rate.peak = [
  { options = [0.1, 0.2, 0.3], when = { optimizer = "sgd" } },
  { low = 1e-4, high = 1e-3, scale = "log", steps = 2, when = { optimizer = "adam" } },
]
""",
        search='method = "grid"\nepochs = 2',
    )
    space = read(text).space
    points = list(grid_points(space))
    assert len(points) == grid_size(space) == 2 * (3 + 2)
    peaks = {(point["optimizer"], point["learning_rate.peak"]) for point in points}
    assert peaks == {("sgd", 0.1), ("sgd", 0.2), ("sgd", 0.3), ("adam", 1e-4), ("adam", 1e-3)}


def test_cases_join_the_conditions_around_them(read: Read) -> None:
    text = """
optimizer = ["sgd", "adam"]
[space.learning_rate]
when = { model.architecture = "cnn" }
peak = [{ value = 0.5, when = { optimizer = "sgd" } }, { value = 0.1, when = { optimizer = "adam" } }]
[model]
architecture = ["mlp", "cnn"]
"""
    dimension = read(study_text(text)).space.by_name["learning_rate.peak"]
    assert dimension.when == (Condition("model.architecture", ("cnn",)),)
    assert dimension.controllers == ("model.architecture", "optimizer")


def test_the_order_of_cases_changes_nothing(read: Read) -> None:
    turned = """
learning_rate.peak = [
  { options = [1e-4, 1e-3], when = { optimizer = "adam" } },
  { low = 1e-2, high = 1.0, scale = "log", when = { optimizer = ["gd", "sgd"] } },
]
optimizer = ["sgd", "adam", "gd"]
"""
    assert read(study_text(turned)).digest == read(study_text(BY_OPTIMIZER)).digest
    other = BY_OPTIMIZER.replace("1e-2", "2e-2")
    assert read(study_text(other)).digest != read(study_text(BY_OPTIMIZER)).digest


CASE = '{{ value = 0.1, when = {{ optimizer = "{}" }} }}'
BROKEN = {
    "a case without a condition": (
        f"learning_rate.peak = [{CASE.format('sgd')}, {{ value = 0.2 }}]",
        "learning_rate.peak[2].when: missing",
    ),
    "two controlling parameters": (
        "nesterov = true\nlearning_rate.peak = "
        f"[{CASE.format('sgd')}, {{ value = 0.2, when = {{ nesterov = true }} }}]",
        "learning_rate.peak: … cases … nesterov … optimizer … one parameter",
    ),
    "an option in two cases": (
        f"learning_rate.peak = [{CASE.format('sgd')}, {CASE.format('sgd')}]",
        "learning_rate.peak: optimizer 'sgd' is in two cases; keep one",
    ),
    "an option that is never taken": (
        f"learning_rate.peak = [{CASE.format('sgd')}, {CASE.format('gd')}]",
        "learning_rate.peak.when: optimizer … 'gd'; did you mean 'sgd'? … sgd, adam)",
    ),
    "a value out of range": (
        f"learning_rate.peak = [{{ value = -1, when = {{ optimizer = 'sgd' }} }}, {CASE.format('adam')}]",
        "learning_rate.peak[1]: -1 is out of range (allowed: a number above 0)",
    ),
    "a condition on cases": (
        f"learning_rate.peak = [{CASE.format('sgd')}, {CASE.format('adam')}]\n"
        "learning_rate.schedule = { value = 'fixed', when = { learning_rate.peak = 0.1 } }",
        "learning_rate.schedule.when: learning_rate.peak is given by cases; a condition needs a parameter with options",
    ),
    "an unknown controlling parameter": (
        f"learning_rate.peak = [{CASE.format('sgd').replace('optimizer', 'optimiser')}]",
        "learning_rate.peak.when: 'optimiser' … parameter; did you mean 'optimizer'? "
        "(in this study: optimizer, learning_rate.peak, model.architecture)",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_cases_are_refused_in_one_line(refuse: Refuse, name: str) -> None:
    text, line = BROKEN[name]
    (found,) = refuse(study_text(f'optimizer = ["sgd", "adam"]\n{text}'))
    assert has_parts(found, line), found


def test_a_grid_names_the_case_whose_range_has_no_steps(refuse: Refuse) -> None:
    text = study_text(BY_OPTIMIZER, search='method = "grid"\nepochs = 2')
    (line,) = refuse(text)
    assert has_parts(line, "learning_rate.peak[1]: … steps")


PEAK = {"low": 1e-3, "high": 1.0, "scale": "log"}
LEVELS = {
    "default": {
        "gd": {"learning_rate.peak": PEAK},
        "sgd": {"learning_rate.peak": PEAK, "nesterov": [True, False]},
        "adamw": {"learning_rate.peak": {"low": 1e-5, "high": 1e-2}, "weight_decay.strength": {"low": 0.1, "high": 1}},
    }
}


@pytest.fixture
def read_level(tmp_path: Path) -> Read:
    """Read a study with a vocabulary that knows a level."""

    def read_text(text: str) -> Study:
        path = tmp_path / "flowers.toml"
        path.write_text(study_text(text), encoding="utf-8")
        return load_study(path, Vocabulary(KEYS, lambda name: ARCHITECTURES[name], customary=LEVELS))

    return read_text


def test_a_level_stands_for_its_optimizers_with_their_ranges(read_level: Read) -> None:
    space = read_level('optimizer = "default"').space
    found = {name: (str(each.domain), each.condition_text) for name, each in space.by_name.items()}
    assert found == {
        "optimizer": ("gd, sgd, adamw", "always"),
        "learning_rate.peak": ("gd, sgd: 0.001 to 1, log; adamw: 1e-05 to 0.01", "always"),
        "nesterov": ("true, false", "optimizer is sgd"),
        "weight_decay.strength": ("0.1 to 1", "optimizer is adamw"),
        "model.architecture": ("mlp", "always"),
    }


def test_ranges_in_the_study_override_those_of_the_level(read_level: Read) -> None:
    text = 'optimizer = "default"\nlearning_rate.peak = 0.5\nnesterov = { value = true, when = { optimizer = "sgd" } }'
    space = read_level(text).space
    assert space.by_name["learning_rate.peak"].domain == Choice((0.5,))
    assert space.by_name["nesterov"].domain == Choice((True,))


def test_customary_ranges_that_can_never_be_active_are_left_out(read_level: Read) -> None:
    space = read_level('optimizer = "default"\nweight_decay.profile = "none"').space
    assert "weight_decay.strength" not in space.by_name


def test_a_level_equals_the_study_with_everything_written_out(read_level: Read) -> None:
    written = """
optimizer = ["gd", "sgd", "adamw"]
learning_rate.peak = [
  { low = 1e-3, high = 1.0, scale = "log", when = { optimizer = ["gd", "sgd"] } },
  { low = 1e-5, high = 1e-2, when = { optimizer = "adamw" } },
]
nesterov = [true, false]
weight_decay.strength = { low = 0.1, high = 1 }
"""
    assert read_level('optimizer = "default"').digest == read_level(written).digest


def test_an_unknown_level_is_an_unknown_optimizer(read_level: Read) -> None:
    with pytest.raises(StudyError, match="optimizer: unknown 'defaults'"):
        read_level('optimizer = "defaults"')
