"""Failed trials show their cause once, and keep the whole traceback."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nightune.tasks.tracking.store.store import client, open_store
from nightune.tasks.tracking.sweeps.sweeps import all_sweeps
from tests.flows.conftest import SMALL_STUDY

NET = """
import keras


@keras.saving.register_keras_serializable()
class Shift(keras.layers.Layer):
    def call(self, inputs, training=False):
        return inputs + self.missing if training and self.rate > 0.1 else inputs


def build(input_shape, output_size, rate: float = 0.1):
    shift = Shift()
    shift.rate = rate  # no trial draws the end of its range, with which the model is tried before them
    return keras.Sequential([keras.Input(input_shape), shift, keras.layers.Dense(output_size)])
"""


@pytest.mark.usefixtures("proof_left_out")
def test_a_sweep_whose_first_trials_fail_alike_ends_with_exit_code_1_and_one_cause(
    prefect_server: str, store_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.flows.commands import main

    (tmp_path / "net.py").write_text(NET)
    study = tmp_path / "flowers.toml"
    study.write_text(SMALL_STUDY.replace('"mlp"\nunits = [[4]]', '"net.py:build"\nrate = { low = 0.1, high = 0.9 }'))
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    monkeypatch.setattr(main, "supervised", lambda read_study: read_study())  # no child process: it takes ten seconds
    done = CliRunner().invoke(main.app, ["tune", str(study), "--engine", "fit"])
    assert done.exit_code == 1, done.stderr
    cause = "has no attribute 'missing'"
    assert len([line for line in done.stderr.splitlines() if line.startswith("trial") and cause in line]) == 1
    assert "flowers-0 ends: its first 3 trials failed with one cause; 1 others were not trained." in done.stderr
    assert "line 8 of net.py" in done.stderr
    assert "error.txt" in done.stderr
    assert "Traceback" not in done.stderr

    store = open_store(store_root)
    experiment = client(store).get_experiment_by_name("flowers")
    runs = client(store).search_runs([experiment.experiment_id], "tags.`nightune.kind` = 'trial'")
    assert {run.info.status for run in runs} == {"FAILED"}
    text = Path(client(store).download_artifacts(runs[0].info.run_id, "error.txt", str(tmp_path))).read_text()
    assert 'net.py", line 8, in call' in text
    assert "AttributeError" in text
    (log,) = (store_root / "logs").glob("*.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["trace"] for line in lines if line.get("status") == "failed"] == [text] * 3
    assert [str(sweep.status) for sweep in all_sweeps(store, "flowers")] == ["interrupted"]
