"""A probe: range tests of a study's optimizers, kept in MLflow, with a suggested range."""

import os
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from nightune.models.techniques.learning_rates.range_test import read_range_test, rising_rates
from nightune.tasks.output_files import refuse_bad_copy
from nightune.tasks.reporting.probe_report import (
    PEAK,
    RateProbe,
    StudyProbe,
    write_chart,
    write_study_copy,
)
from nightune.tuning.errors import StudyError
from tests.flows.conftest import Command, command_line, last_json


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.nights
def test_a_probe_is_kept_in_mlflow_and_repeats_itself(small_study: Path, store_root: Path, tmp_path: Path) -> None:
    import mlflow

    from nightune.flows.probe import probe

    probed = probe(small_study, updates=100)
    assert [each.optimizer for each in probed.probes] == ["sgd", "adam"]
    assert [each.batch_size for each in probed.probes] == [30, 30]
    assert list(probed.ranges) == ["sgd", "adam"]
    mlflow.set_tracking_uri(f"sqlite:///{store_root}/mlflow.db")
    (run,) = mlflow.search_runs(experiment_names=["flowers"], output_format="list")
    assert run.info.run_id == probed.run_id
    assert run.info.status == "FINISHED"
    assert run.data.tags["nightune.kind"] == "probe"
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "adam/learning_rate")
    assert [point.value for point in history] == pytest.approx(probed.probes[1].test.rates.tolist())
    assert [point.step for point in history][:2] == [1, 2]
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, dst_path=str(tmp_path)))
    assert {file.name for file in folder.iterdir()} >= {"probe.svg", "probe.json", "suggestion.toml"}
    assert (folder / "suggestion.toml").read_text() == probed.snippet
    again = probe(small_study, updates=100)
    assert [each.test.losses.tolist() for each in again.probes] == [each.test.losses.tolist() for each in probed.probes]
    copy = small_study.with_name("narrow.toml")
    written_ranges(probed, copy)


def written_ranges(probed: StudyProbe, copy: Path) -> dict[str, tuple[float, float]]:
    """Write the copy, read it, and return the range that it searches for each optimizer."""
    from nightune.tasks.load_study import load_study

    write_study_copy(probed, copy, load_study)
    study = load_study(copy)
    peak = study.space.by_name[PEAK]
    options = study.space.by_name["optimizer"].domain.options
    active = [option for option in options if peak.is_active({"optimizer": option})]
    domains = {option: peak.domain.under({"optimizer": option}) for option in active}
    return {option: getattr(each, "options", None) or (each.low, each.high) for option, each in domains.items()}


@pytest.mark.nights
def test_the_command_line_prints_the_probe_and_writes_the_study(
    nightune: Command, prefect_server: str, small_study: Path
) -> None:
    copy, chart = small_study.with_name("narrow.toml"), small_study.with_name("chart.svg")
    options = ("--updates", "100", "--write", copy, "--plot", chart, "--json")
    done = nightune("probe", small_study, *options, PREFECT_API_URL=prefect_server)
    assert done.returncode == 0, done.stderr
    summary = last_json(done.stdout)
    assert [each["optimizer"] for each in summary["probes"]] == ["sgd", "adam"]
    assert [case["when"] for case in summary["suggestion"]] == [{"optimizer": "sgd"}, {"optimizer": "adam"}]
    for part in ("probe sgd · steepest at", "Put this into the study", f"{PEAK} = ["):
        assert part in done.stderr
    for case in summary["suggestion"]:
        assert f"low = {case['low']}" in copy.read_text()
    assert chart.read_text().startswith("<svg")


@pytest.mark.nights
def test_a_picture_that_a_limit_forbids_costs_neither_the_copy_nor_the_numbers(
    prefect_server: str, small_study: Path
) -> None:
    copy, chart = small_study.with_name("narrow.toml"), small_study.with_name("chart.svg")
    words = ("--updates", "100", "--write", str(copy), "--plot", str(chart), "--json")
    command = shlex.join(command_line("probe", small_study, *words))
    limited = ["bash", "-c", f"ulimit -v 9000000; exec {command}"]  # TensorFlow takes more than half of it
    environment = os.environ | {"PREFECT_API_URL": prefect_server}
    done = subprocess.run(limited, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 2, done.stderr
    assert f"{PEAK} = [" in copy.read_text()
    assert len(last_json(done.stdout)["probes"]) == 2
    assert "--plot" in done.stderr
    assert "ulimit -v" in done.stderr
    assert not chart.exists()


def test_a_copy_that_would_not_work_is_refused_before_anything_runs(small_study: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(StudyError, match="folder of"):
        refuse_bad_copy(small_study, tmp_path / "other" / "copy.toml")
    with pytest.raises(StudyError, match=r"names that end in \.toml"):
        refuse_bad_copy(small_study, tmp_path / "copy.txt")
    with pytest.raises(StudyError, match=r"exists already.*not overwritten"):
        refuse_bad_copy(small_study, small_study)


def probe_of(optimizer: str, middle: float | None = 0.01) -> RateProbe:
    """A test whose loss falls most steeply at the rate `middle`; None: it never falls."""
    rates = rising_rates(1e-6, 10.0, 400)
    losses = [1.0 if middle is None else 1.0 / (1.0 + rate / middle) for rate in rates]
    return RateProbe(optimizer, 8, read_range_test(rates, losses))


def probed_study(tmp_path: Path, space: str, *probes: RateProbe, search: str = "trials = 2") -> StudyProbe:
    from nightune.tasks.load_study import load_study
    from nightune.tasks.probe_rates import suggest

    path = tmp_path / "rates.toml"
    path.write_text(f'question = "?"\n[data]\nsource = "iris"\n[space]\n{space}\n[search]\n{search}\nepochs = 2\n')
    return suggest(load_study(path), probes)


SGD, ADAM = (probe_of("sgd", 0.3), probe_of("adam", 0.003))
RANGES = {probe.optimizer: (probe.range.low, probe.range.high) for probe in (SGD, ADAM) if probe.range is not None}
BOTH = 'optimizer = ["sgd", "adam"]\n'


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ("", {}),
        ("learning_rate.peak = 0.1", {"lion": (0.1,)}),
        ("learning_rate.peak = [0.1, 0.2]", {"lion": (0.1, 0.2)}),
        ('learning_rate.peak = { low = 0.1, high = 0.2 }\nlearning_rate.schedule = "cosine"', {"lion": (0.1, 0.2)}),
        (
            'learning_rate.peak = [{ value = 1.0, when = { optimizer = "sgd" } }, '
            '{ value = 3.0, when = { optimizer = "lion" } }, { value = 2.0, when = { optimizer = "adam" } }]',
            {"lion": (3.0,)},
        ),
    ],
)
def test_the_copy_searches_each_optimizers_own_range(before: str, kept: dict[str, object], tmp_path: Path) -> None:
    space = f'optimizer = ["sgd", "lion", "adam"]\n{before}'
    probed = probed_study(tmp_path, space, SGD, probe_of("lion", None), ADAM)
    assert probed.note == ""
    assert written_ranges(probed, tmp_path / "copy.toml") == {**RANGES, **kept}
    assert tomllib.loads(probed.snippet)["space"]["learning_rate"]["peak"] == probed.parameter


def test_a_level_of_optimizers_gets_a_range_each(tmp_path: Path) -> None:
    probed = probed_study(tmp_path, 'optimizer = "article"', SGD, ADAM)
    ranges = written_ranges(probed, tmp_path / "copy.toml")
    assert {name: ranges[name] for name in RANGES} == RANGES
    assert ranges["gd"] == (1e-3, 2.0)


@pytest.mark.parametrize("before", ["", "learning_rate.peak = 0.1", "learning_rate.peak = [0.1, 0.2]"])
def test_a_study_of_one_optimizer_gets_a_plain_range(before: str, tmp_path: Path) -> None:
    probed = probed_study(tmp_path, f'optimizer = "sgd"\n{before}', SGD)
    assert set(probed.parameter) == {"low", "high", "scale"}
    assert written_ranges(probed, tmp_path / "copy.toml") == {"sgd": RANGES["sgd"]}
    unnamed = probed_study(tmp_path, before, ADAM)
    assert (unnamed.parameter["low"], unnamed.parameter["high"]) == RANGES["adam"]


def test_in_a_grid_each_range_has_steps(tmp_path: Path) -> None:
    space = f"{BOTH}learning_rate.peak = [0.1, 0.2, 0.3]"
    probed = probed_study(tmp_path, space, SGD, ADAM, search='method = "grid"')
    assert [case["steps"] for case in probed.parameter] == [3, 3]
    assert written_ranges(probed, tmp_path / "copy.toml") == RANGES
    space = f"{BOTH}learning_rate.peak = {{ low = 0.1, high = 0.2, steps = 4 }}"
    assert probed_study(tmp_path, space, SGD, ADAM).parameter[0]["steps"] == 4
    alone = probed_study(tmp_path, 'optimizer = "sgd"', SGD, search='method = "grid"')
    assert alone.parameter["steps"] == 5


@pytest.mark.parametrize(
    "peak",
    [
        'peak = { low = 0.1, high = 0.2, when = { learning_rate.schedule = "cosine" } }',
        'peak = [{ value = 0.1, when = { learning_rate.schedule = "cosine" } }]',
    ],
)
def test_conditions_on_another_parameter_are_kept_and_leave_one_range_for_all(peak: str, tmp_path: Path) -> None:
    space = f'{BOTH}learning_rate.schedule = ["fixed", "cosine"]\nlearning_rate.{peak}'
    probed = probed_study(tmp_path, space, SGD, ADAM)
    assert "learning_rate.schedule" in probed.note
    assert probed.note in probed.snippet
    write_study_copy(probed, tmp_path / "copy.toml", load_study_of_the_tests)
    dimension = load_study_of_the_tests(tmp_path / "copy.toml").space.by_name[PEAK]
    assert (dimension.domain.low, dimension.domain.high) == (RANGES["adam"][0], RANGES["sgd"][1])
    assert [condition.name for condition in dimension.when] == ["learning_rate.schedule"]


def test_an_optimizer_that_a_condition_excludes_stays_excluded(tmp_path: Path) -> None:
    probed = probed_study(tmp_path, f'{BOTH}learning_rate.peak = {{ value = 1.0, when.optimizer = "sgd" }}', SGD, ADAM)
    assert "adam" in probed.note
    assert written_ranges(probed, tmp_path / "copy.toml") == {"sgd": RANGES["sgd"]}


def load_study_of_the_tests(path: Path) -> Any:
    from nightune.tasks.load_study import load_study

    return load_study(path)


@pytest.mark.parametrize("before", ["learning_rate = 3\n", '"learning_rate.peak" = 0.1\noptimizer = "sgd"\n'])
def test_an_ambiguous_place_is_refused_with_a_remedy(before: str, tmp_path: Path) -> None:
    path = tmp_path / "inline.toml"
    path.write_text(f'question = "?"\n[data]\nsource = "iris"\n[space]\n{before}[search]\ntrials = 1\nepochs = 1\n')
    probed = StudyProbe("inline", path, (SGD,), {"low": 0.1, "high": 1.0, "scale": "log"})
    with pytest.raises(StudyError, match="by hand"):
        write_study_copy(probed, tmp_path / "copy.toml", load_study_of_the_tests)
    assert not (tmp_path / "copy.toml").exists()


def test_without_a_fall_nothing_is_suggested_and_the_reason_is_given(tmp_path: Path) -> None:
    probed = StudyProbe("a", tmp_path / "a.toml", (RateProbe("dog", message="sets its rate by itself"),))
    assert probed.ranges == {}
    assert probed.snippet == ""
    assert probed.as_json()["suggestion"] is None
    assert probed.rows() == [["dog", "–", "–", "–", "–", "–", "sets its rate by itself"]]
    write_chart(probed, tmp_path / "empty.svg")
    assert (tmp_path / "empty.svg").read_text().rstrip().endswith("</svg>")
    write_study_copy(probed, tmp_path / "copy.toml", load_study_of_the_tests)
    assert not (tmp_path / "copy.toml").exists()


STUDY = """
question = "What is tested?"
[data]
source = "iris"
[space]
optimizer = ["gd", "sgd"]
learning_rate.schedule = ["cosine", "plateau"]
weight_decay.profile = "fixed"
one_minus_momentum = { low = 0.01, high = 1.0, scale = "log" }
BATCHES
[search]
trials = 2
epochs = 2
"""


@pytest.mark.parametrize(
    ("batches", "size"),
    [
        ("batch_size.size = [8, 32, 16]", 16),
        ('learning_rate.batch_scaling = "linear"\nlearning_rate.reference_batch_size = 24', 24),
        ('batch_size.policy = "random"\nbatch_size.minimum = 12', 12),
        ("batch_size.size = 500", 90),
    ],
)
def test_a_test_uses_the_middle_of_the_space_and_the_size_that_the_peak_is_meant_for(
    batches: str, size: int, tmp_path: Path
) -> None:
    from nightune.tasks.load_study import load_study
    from nightune.tasks.probe_rates import probed_batch_size, probed_point

    path = tmp_path / "flowers.toml"
    path.write_text(STUDY.replace("BATCHES", batches))
    study = load_study(path)
    assert probed_batch_size(study, "sgd", 90) == size
    assert probed_batch_size(study, "gd", 90) == 90
    point = probed_point(study, "sgd")
    assert point["one_minus_momentum"] == pytest.approx(0.1)
    assert not {name for name in point if name.startswith(("learning_rate", "weight_decay", "batch_size"))}
    assert "one_minus_momentum" not in probed_point(study, "gd")
