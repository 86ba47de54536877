"""Failed trials show their cause once, and keep the whole traceback."""

import json
from pathlib import Path

from nightune.tasks.tracking.store.store import client, open_store
from tests.flows.conftest import SMALL_STUDY, Command

NET = """
import keras


@keras.saving.register_keras_serializable()
class Shift(keras.layers.Layer):
    def call(self, inputs):
        return inputs + self.missing


def build(input_shape, output_size):
    return keras.Sequential([keras.Input(input_shape), Shift(), keras.layers.Dense(output_size)])
"""


def test_trials_that_all_fail_end_with_exit_code_1_and_one_cause(
    nightune: Command, store_root: Path, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(NET)
    study = tmp_path / "flowers.toml"
    study.write_text(SMALL_STUDY.replace('"mlp"\nunits = [[4]]', '"net.py:build"'))
    done = nightune("tune", study)
    assert done.returncode == 1, done.stderr
    cause = "has no attribute 'missing'"
    assert done.stdout.count(cause) == 1
    assert len([line for line in done.stderr.splitlines() if line.startswith("trial") and cause in line]) == 1
    assert "line 8 of net.py" in done.stdout
    assert "4 trials failed" in done.stdout
    assert "error.txt" in done.stdout

    store = open_store(store_root)
    experiment = client(store).get_experiment_by_name("flowers")
    runs = client(store).search_runs([experiment.experiment_id], "tags.`nightune.kind` = 'trial'")
    assert {run.info.status for run in runs} == {"FAILED"}
    text = Path(client(store).download_artifacts(runs[0].info.run_id, "error.txt", str(tmp_path))).read_text()
    assert 'net.py", line 8, in call' in text
    assert "AttributeError" in text
    (log,) = (store_root / "logs").glob("*.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["trace"] for line in lines if line.get("status") == "failed"] == [text] * 4
