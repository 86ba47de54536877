"""A version whose outputs only a loss of the user reads: judged by this loss or the user's metric, and opened alone."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from nightune.tasks.tracking.store.store import open_store
from tests.tasks.promotions import promoted, trained
from tests.test_bring_your_model import write_examples

MORE = """
[confirmation]
finalists = 1
replicates = 2
[promotion]
replicates = 2
"""


@pytest.mark.parametrize("metric", ["val_loss", "val_concordance"])
def test_a_version_answers_the_parameters_of_a_users_loss(tmp_path: Path, store_root: Path, metric: str) -> None:
    import mlflow

    write_examples("The loss", tmp_path)
    text = (tmp_path / "survival.toml").read_text().replace("epochs = 2", "epochs = 12")
    (tmp_path / "survival.py").write_text((tmp_path / "survival.py").read_text().replace("600", "3000"))
    if metric == "val_loss":
        text = text.replace('metric = "survival.py:concordance"\ndirection = "maximize"', 'metric = "val_loss"')
    store = open_store(store_root)
    promotion = promoted(trained(store, tmp_path, text + MORE))
    guards = {guard.name: guard.passed for guard in promotion.verdict.guards}
    assert guards["opens alone"]
    assert promotion.version == 1, promotion.verdict.reason
    assert {"loss", metric.removeprefix("val_")} == set(promotion.verdict.test_metrics)
    mlflow.set_tracking_uri(store.tracking_uri)
    rows, targets = runpy.run_path(str(tmp_path / "survival.py"))["patients"]()
    answers = mlflow.pyfunc.load_model("models:/flowers@champion").predict(rows)
    assert list(answers.columns) == ["output_0"]
    assert np.corrcoef(answers["output_0"], rows[:, 0])[0, 1] > 0.5
    assert len(answers) == len(targets)
