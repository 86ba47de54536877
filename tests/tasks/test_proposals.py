"""What a model proposed is on the sweep's run, and is read back as it was."""

import pytest

from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.beliefs import read_beliefs, write_beliefs
from nightune.tasks.tracking.sweeps.proposals import (
    read_expectations,
    read_proposals,
    write_expectations,
    write_proposals,
)
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep
from nightune.tasks.tracking.trials.damages import damaged_runs
from nightune.tuning.analysis.beliefs import Beliefs, Prediction
from nightune.tuning.trial import Expectation

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


def test_expectations_are_read_back_to_the_last_digit_and_a_damaged_file_has_none(store: Store, sweep: Sweep) -> None:
    assert read_expectations(store, sweep) == {}
    held = {16: [Expectation(0.1 + 0.2, 1e-300, 12), None]}
    write_expectations(store, sweep, held)
    assert read_expectations(store, sweep) == held
    client(store).log_text(sweep.run_id, '{"16": [3]}', "expectations.json")
    assert read_expectations(store, sweep) == {}


def test_beliefs_are_read_back_and_found_by_doctor_if_they_are_damaged(store: Store, sweep: Sweep) -> None:
    assert read_beliefs(store, sweep) is None
    expected = Expectation(0.1 + 0.2, 0.02, 12)
    held = Beliefs(POINTS[0], expected, 3, (Prediction(3, expected, 0.9), Prediction(4, expected, None)))
    write_beliefs(store, sweep, held)
    assert read_beliefs(store, sweep) == held
    finish_sweep(store, sweep, "", [])
    client(store).log_text(sweep.run_id, '{"point": 3}', "beliefs.json")
    assert read_beliefs(store, sweep) is None
    assert any("beliefs.json" in damage for damage in damaged_runs(store, sweep.experiment_id))
