"""A builder's file that is edited while its sweep works."""

import logging
from pathlib import Path

import pytest

from nightune.tuning.trial import Status
from tests.flows.conftest import SMALL_STUDY

NET = """
from pathlib import Path
import keras

def build(input_shape, output_size):
    Path(__file__).write_text("def (")  # a person saves the file while half of a line is typed
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(output_size)])
"""


@pytest.mark.slow
@pytest.mark.usefixtures("plain_flows")
def test_a_sweep_keeps_the_code_of_its_start_and_the_next_one_has_the_edited_code(
    tmp_path: Path, store_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from nightune.flows.tune import tune

    study, net = tmp_path / "flowers.toml", tmp_path / "net.py"
    net.write_text(NET)
    study.write_text(SMALL_STUDY.replace('"mlp"\nunits = [[4]]', '"net.py:build"'))
    with caplog.at_level(logging.WARNING, "nightune"):
        report = tune(study, trials=2, engine="fit")
    assert [result.status for result in report.results] == [Status.COMPLETED] * 2
    assert [record.getMessage().partition(":")[0] for record in caplog.records if "edited" in record.message] == [
        "net.py"
    ]
    assert net.read_text() == "def ("
    net.write_text(NET.replace("    Path", "    # Path"))
    again = tune(study, trials=2, engine="fit")
    assert (report.sweep.number, again.sweep.number) == (0, 1)
    assert "net.py: edited" in (store_root / "logs" / "flowers-0.jsonl").read_text(encoding="utf-8")
