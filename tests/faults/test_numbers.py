"""A trial with values that are not finite is reported, never wins, and its weights are never saved."""

from pathlib import Path

import pytest

from tests.models.test_explosions import EXPLODES

STUDY = """
question = "Does the sound trial win?"
seed = 5
[data]
source = "numbers.py:data"
[model]
architecture = "numbers.py:build"
call_number = [3, 6, 1000]
in_validation = [false, true]
[space]
optimizer = "sgd"
learning_rate.peak = 0.05
batch_size.size = 8
[search]
method = "grid"
epochs = 3
[objective]
metric = "val_loss"
"""
CODE = f"""
import keras
import numpy as np
from keras import layers, ops
{EXPLODES}
def data():
    values = np.random.default_rng(2).normal(size=(40, 5)).astype("float32")
    return values, values.sum(axis=1)
"""


@pytest.mark.nights
@pytest.mark.usefixtures("prefect_server")
def test_trials_that_explode_are_named_and_never_win(tmp_path: Path, store_root: Path) -> None:
    import numpy as np

    from nightune.flows.tune import tune

    (tmp_path / "numbers.toml").write_text(STUDY)
    (tmp_path / "numbers.py").write_text(CODE)
    report = tune(tmp_path / "numbers.toml", engine="fit")
    by_call = {
        (result.trial.params["model.call_number"], result.trial.params["model.in_validation"]): result
        for result in report.results
    }
    broken = {call: result for call, result in by_call.items() if call[0] != 1000}
    assert {call: str(result.status) for call, result in broken.items()} == dict.fromkeys(broken, "diverged"), broken
    assert len(broken) == 4
    assert all(result.message for result in report.results if result.status == "diverged")
    assert report.best is not None
    assert report.best.trial.params["model.call_number"] == 1000
    files = {path.parents[2].name: path for path in store_root.glob("artifacts/numbers/*/artifacts/checkpoint/*.keras")}
    assert set(files) == {result.run_id for result in report.results if result.best_epoch}
    assert by_call[3, False].run_id not in files
    assert np.isfinite(report.best.objective)
