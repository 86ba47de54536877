"""What a model proposed is on the sweep's run, and is read back as it was."""

import pytest

from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.proposals import read_proposals, write_proposals
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep
from nightune.tasks.tracking.trials.damages import damaged_runs

POINTS = [
    {"rate": 0.1 + 0.2, "units": [8, 4], "nesterov": True, "kind": "größe"},
    {"rate": 1e-300, "weights": {"a": 1}},
]


def test_proposals_are_read_back_to_the_last_digit(store: Store, sweep: Sweep) -> None:
    assert read_proposals(store, sweep) == {}
    write_proposals(store, sweep, {16: POINTS})
    write_proposals(store, sweep, {16: POINTS, 32: POINTS[:1]})
    assert read_proposals(store, sweep) == {16: POINTS, 32: POINTS[:1]}
    assert client(store).get_run(sweep.run_id).data.tags["nightune.proposed"] == "3"


@pytest.mark.parametrize("text", ["{", "[]", '{"16": 3}', '{"16": [3]}'])
def test_a_damaged_file_of_proposals_is_left_out_by_name_and_found_by_doctor(
    store: Store, sweep: Sweep, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_proposals(store, sweep, {16: POINTS})
    finish_sweep(store, sweep, "", [])  # doctor reads the files of complete sweeps
    client(store).log_text(sweep.run_id, text, "proposals.json")
    assert read_proposals(store, sweep) == {}
    assert "proposals.json" in caplog.text
    assert any("proposals.json" in damage for damage in damaged_runs(store, sweep.experiment_id))
