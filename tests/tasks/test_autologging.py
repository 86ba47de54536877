"""`mlflow.autolog()` in a user's file."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nightune.tasks.tracking.store.autologging import without_autologging


@pytest.fixture
def experiment(tmp_path: Path) -> Iterator[str]:
    """An experiment of the user's, in a store of their own."""
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield mlflow.set_experiment("mine").experiment_id
    mlflow.sklearn.autolog(disable=True)
    mlflow.set_tracking_uri(before)


def runs_after_a_fit(experiment: str) -> int:
    import mlflow
    from sklearn.linear_model import LinearRegression

    LinearRegression().fit(np.arange(6.0).reshape(3, 2), np.arange(3.0))
    return len(mlflow.MlflowClient().search_runs([experiment]))


@pytest.mark.filterwarnings("ignore")  # of MLflow, about versions of scikit-learn
def test_autologging_writes_nothing_in_the_block_and_goes_on_after_it(
    experiment: str, caplog: pytest.LogCaptureFixture
) -> None:
    import mlflow

    with caplog.at_level(logging.WARNING, "nightune"), without_autologging():
        mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)
        assert runs_after_a_fit(experiment) == 0
    assert [record.getMessage().split(" was off")[0] for record in caplog.records] == ["mlflow.autolog()"]
    assert runs_after_a_fit(experiment) == 1


def test_nothing_is_said_without_autologging(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "nightune"), without_autologging():
        pass
    assert not caplog.records
