"""A sweep for notebooks: DataFrames, figures and the report hold what MLflow has."""

import math
from pathlib import Path

import numpy as np
import pytest

from nightune.models.errors import InputError
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.sweep_results import SweepResults, read_sweep
from nightune.tasks.tracking.store.errors import SweepNotFoundError
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from tests.tasks.nights import HOSTILE, log_trial

LOSSES = ([0.5, 0.3], [0.4, math.nan, 0.25], [0.9, 0.8])


@pytest.fixture
def results(store: Store, sweep: Sweep, data: PreparedData) -> SweepResults:
    for number, losses in enumerate(LOSSES):
        log_trial(store, sweep, data, number, losses, objective=np.nanmin(losses))
    return read_sweep(store, "flowers")


def test_the_leaderboard_is_a_dataframe_best_first(results: SweepResults) -> None:
    table = results.dataframe()
    assert list(table["trial"]) == [1, 0, 2]
    assert list(table["val_loss"]) == [0.25, 0.3, 0.8]
    assert list(table["learning_rate.peak"]) == pytest.approx([0.2, 0.1, 0.3])
    assert (results.id, results.metric, results.best["trial"]) == ("flowers-0", "val_loss", 1)
    assert results.best["note"] == f"{HOSTILE}1"


def test_curves_are_those_of_mlflow(results: SweepResults) -> None:
    curves = results.curves()
    assert list(zip(curves["trial"], curves["epoch"], strict=True)) == [
        (number, epoch) for number, losses in enumerate(LOSSES) for epoch in range(1, len(losses) + 1)
    ]
    assert not {"objective", "epochs", "seconds"} & set(curves)
    for number, losses in enumerate(LOSSES):
        held = curves[curves["trial"] == number]["val_loss"]
        assert list(held) == pytest.approx(losses, nan_ok=True)
    assert set(results.curves([2])["trial"]) == {2}
    with pytest.raises(InputError, match="no finished trial 7"):
        results.curves([7])


def test_the_report_and_its_figures_need_no_browser_and_write_nothing_to_the_store(
    results: SweepResults, tmp_path: Path
) -> None:
    figures = results.figures()
    assert {"history", "strip", "curves 1"} <= set(figures)
    for figure in (figures["history"], figures["curves 1"]):
        assert "var(--" not in str(figure.spec)
        assert "<svg" in figure.save(tmp_path / "figure.svg").read_text()
    assert figures["history"].save(tmp_path / "figure.PNG").read_bytes().startswith(b"\x89PNG")
    trials = figures["history"].spec["datasets"]["trials"]
    assert sorted(row["trial"] for row in trials) == ["0", "1", "2"]
    page = results.report()
    assert "flowers-0" in page.save(tmp_path / "report.html").read_text()
    assert "<script" not in page._repr_html_()  # inside of the frame's attribute
    assert not client(results.store).list_artifacts(results.found.sweep.run_id, "report")
    assert HOSTILE not in results._repr_html_()


def test_missing_sweeps_are_reported(results: SweepResults) -> None:
    with pytest.raises(SweepNotFoundError, match="flowers-0"):
        read_sweep(results.store, "flowers", "flowers-3")
