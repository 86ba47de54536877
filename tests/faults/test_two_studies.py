"""Two different studies are tuned at the same time in one store without affecting each other."""

from pathlib import Path

import pytest

from tests.faults.sweeps import Sweep, query, run_states

NUMBERS = """
select experiments.name, tags.value from tags join runs using (run_uuid) join experiments using (experiment_id)
where tags.key = 'nightune.trial_number'
"""


@pytest.mark.nights
def test_two_studies_run_together_in_one_store(
    store_root: Path, prefect_server: str, small_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    text = small_study.read_text().replace("trials = 4", "trials = 40")
    small_study.write_text(text)
    other = small_study.with_name("blossoms.toml")
    other.write_text(text.replace("seed = 11", "seed = 12"))
    sweeps = [Sweep(study, "--engine", "fit") for study in (small_study, other)]
    for sweep in sweeps:
        sweep.wait_for_output("trial 1 · ")
    assert [sweep.process.poll() for sweep in sweeps] == [None, None]  # both are running
    assert [sweep.wait() for sweep in sweeps] == [0, 0]
    found: dict[object, list[int]] = {}
    for study, number in query(store_root / "mlflow.db", NUMBERS):
        found.setdefault(study, []).append(int(str(number)))
    assert {study: sorted(numbers) for study, numbers in found.items()} == {
        "flowers": list(range(40)),
        "blossoms": list(range(40)),
    }
    assert run_states(store_root / "mlflow.db") == {"FINISHED"}
    assert not any("Traceback" in sweep.output for sweep in sweeps)
