"""A probe: range tests of a study's optimizers, kept in MLflow, with a suggested range."""

from pathlib import Path

import pytest

from nightune.tasks.reporting.probe_report import (
    PEAK,
    RateProbe,
    StudyProbe,
    refuse_bad_copy,
    write_chart,
    write_study_copy,
)
from nightune.tuning.errors import StudyError
from tests.flows.conftest import Command, last_json


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.nights
def test_a_probe_is_kept_in_mlflow_and_repeats_itself(small_study: Path, store_root: Path, tmp_path: Path) -> None:
    import mlflow

    from nightune.flows.probe import probe

    probed = probe(small_study, updates=100)
    assert [each.optimizer for each in probed.probes] == ["sgd", "adam"]
    assert [each.batch_size for each in probed.probes] == [30, 30]
    assert probed.range is not None
    assert all(probed.range.low <= each.range.low < each.range.high <= probed.range.high for each in probed.probes)
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
    write_study_copy(probed, copy)
    check_copy(copy, probed)


def check_copy(copy: Path, probed: StudyProbe) -> None:
    from nightune.tasks.load_study import load_study

    study = load_study(copy)
    domain = study.space.by_name[PEAK].domain
    assert probed.range is not None
    assert (domain.low, domain.high, domain.scale) == (probed.range.low, probed.range.high, "log")
    assert study.name == "narrow"


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
    assert summary["suggestion"]["low"] < summary["suggestion"]["high"]
    for part in ("probe sgd · steepest at", "Put this into the study", f"{PEAK} = {{ low = "):
        assert part in done.stderr
    assert f"low = {summary['suggestion']['low']}" in copy.read_text()
    assert chart.read_text().startswith("<svg")


def test_a_copy_that_would_not_work_is_refused_before_anything_runs(small_study: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(StudyError, match="folder of"):
        refuse_bad_copy(small_study, tmp_path / "other" / "copy.toml")
    with pytest.raises(StudyError, match=r"names that end in \.toml"):
        refuse_bad_copy(small_study, tmp_path / "copy.txt")
    with pytest.raises(StudyError, match=r"exists already.*not overwritten"):
        refuse_bad_copy(small_study, small_study)


def test_an_ambiguous_place_is_refused_with_a_remedy(tmp_path: Path) -> None:
    from nightune.models.techniques.learning_rates.range_test import read_range_test, rising_rates

    path = tmp_path / "inline.toml"
    path.write_text("[space]\nlearning_rate = 3\n")
    test = read_range_test(rising_rates(1e-4, 1.0, 50), [1.0 / (1 + place) for place in range(50)])
    probed = StudyProbe("inline", path, (RateProbe("sgd", 8, test),))
    with pytest.raises(StudyError, match="by hand"):
        write_study_copy(probed, tmp_path / "copy.toml")


def test_without_a_fall_nothing_is_suggested_and_the_reason_is_given(tmp_path: Path) -> None:
    probed = StudyProbe("a", tmp_path / "a.toml", (RateProbe("dog", message="sets its rate by itself"),))
    assert probed.range is None
    assert probed.snippet == ""
    assert probed.as_json()["suggestion"] is None
    assert probed.rows() == [["dog", "–", "–", "–", "–", "–", "sets its rate by itself"]]
    write_chart(probed, tmp_path / "empty.svg")
    assert (tmp_path / "empty.svg").read_text().endswith("</svg>\n")
    write_study_copy(probed, tmp_path / "copy.toml")
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
