"""Trials whose models are over [limits] parameters, size_mb or latency_ms are ranked last, say so, and never win."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nightune.tasks.gate_guards import check_limits
from nightune.tasks.load_study import load_study
from nightune.tasks.resume_sweep import resume_sweep
from nightune.tasks.tracking.store.store import client, open_store
from nightune.tasks.tracking.trials.rungs import rung_results
from nightune.tasks.tracking.trials.trials import reusable_trials
from nightune.tasks.trial.model_limits import ModelLimits
from nightune.tuning.errors import StudyError
from nightune.tuning.study.sections import Limits
from nightune.tuning.trial import Status, Trial
from tests.flows.conftest import SMALL_STUDY, tuned_in

STUDY = SMALL_STUDY.replace("[[4]]", "[[4], [64]]").replace('method = "random"', 'method = "grid"')
STUDY = STUDY.replace("trials = 4\n", "").replace('{ low = 1e-3, high = 1e-1, scale = "log" }', "0.01")


def setup_module() -> None:
    """Import Prefect before a test begins: it replaces the handlers of the root logger, caplog's among them."""
    importlib.import_module("nightune.flows.tune")


def test_models_over_a_size_are_not_trained_and_the_best_of_the_others_wins(
    empty_store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = f"{STUDY}[limits]\nparameters = 100\n"  # 4 units: 35, 64 units: 515
    tuned = tuned_in(tmp_path, empty_store, study, engine="fit")
    report, store = tuned.report, open_store(tuned.store)
    assert report.best is not None
    assert [result.status for result in report.results[2:]] == [Status.OVER_LIMIT] * 2
    assert [result.epochs for result in report.results] == [2, 2, 0, 0]
    assert "515 parameters (limits.parameters is 100)" in report.results[-1].message
    assert report.rows()[-1]["rank"] is None
    run = client(store).get_run(report.results[-1].run_id)
    assert (run.data.tags["nightune.status"], run.data.metrics["parameters"]) == ("over_limit", 515)
    assert client(store).get_run(report.best.run_id).data.metrics["size_mb"] == pytest.approx(35 * 4e-6)
    assert "limits.parameters" in client(store).get_run(report.sweep.run_id).data.tags["nightune.failures"]
    assert sorted(rung_results(store, report.sweep, 1).values(), key=lambda each: each.epochs)[0].is_ranked is False
    keys = [result.trial.key for result in report.results]
    assert len(reusable_trials(store, replace(report.sweep, id="other"), keys)) == 2
    assert _shown(tuned.study, tuned.store) == (0, True)
    tuned.study.write_text(STUDY)
    with caplog.at_level("WARNING", "nightune"):
        setting = resume_sweep.fn(store, load_study(tuned.study))
    assert setting.study.limits.of_model == {"parameters": 100}
    assert "parameters 100" in caplog.text
    tuned.study.write_text(STUDY.replace('metric = "val_loss"', 'metric = "val_loss"\nthreshold = 0.3'))
    with pytest.raises(StudyError, match="multiclass"):
        resume_sweep.fn(store, load_study(tuned.study))


def _shown(study: Path, store: Path) -> tuple[int, bool]:
    from nightune.flows.commands.main import app

    done = CliRunner().invoke(app, ["show", str(study)], env={"NIGHTUNE_STORE": str(store)})
    output = study.with_name("report.html")
    drawn = CliRunner().invoke(app, ["report", str(study), "--output", str(output)], env={"NIGHTUNE_STORE": str(store)})
    assert "over limit" in done.output
    said = "2 trials not ranked (2, 3): over its limit: 515 parameters"
    return drawn.exit_code, said in done.output and said in output.read_text() and "over limit" in output.read_text()


def test_a_slow_model_is_ranked_last_after_its_training(empty_store: Path, tmp_path: Path) -> None:
    study = SMALL_STUDY.replace("trials = 4", "trials = 1").replace("epochs = 2", "epochs = 1")
    tuned = tuned_in(tmp_path, empty_store, f"{study}[limits]\nlatency_ms = 1e-6\n", engine="fit")
    (result,) = tuned.report.results
    assert (tuned.report.best, result.status, result.epochs) == (None, Status.OVER_LIMIT, 1)
    assert np.isfinite(result.objective)
    assert "ms per row (limits.latency_ms is 1e-06)" in result.message
    assert client(open_store(tuned.store)).get_run(result.run_id).data.metrics["latency_ms"] > 0


def test_a_replicate_of_a_trial_within_limits_is_not_measured_again() -> None:
    trial = Trial(0, {}, 1, "key")
    assert ModelLimits.of(trial, Limits(parameters=1)).limits.of_model == {"parameters": 1}
    assert ModelLimits.of(replace(trial, replicate=1), Limits(parameters=1)).limits.of_model == {}


@pytest.mark.parametrize(("limits", "passed"), [({"parameters": 10}, False), ({"size_mb": 1.0}, True), ({}, None)])
def test_the_gate_checks_the_limits_of_trials(limits: dict[str, Any], passed: bool | None) -> None:
    predictor: Any = SimpleNamespace(model=SimpleNamespace(get_weights=lambda: [np.zeros((3, 4), np.float32)]))
    guards = check_limits(Path(), predictor, None, Limits(**limits))
    assert [guard.passed for guard in guards] == ([] if passed is None else [passed])
    assert json.dumps([guard.said for guard in guards]).count("12 parameters") == (passed is False)
