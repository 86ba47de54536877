"""A sweep's log: one JSON object a line, with trials and their keys, on the sweep's run."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("prefect_server")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_log_names_every_trial_and_is_kept_with_the_run(small_study: Path, store_root: Path) -> None:
    import mlflow

    from nightune.flows.tune import tune

    report = tune(small_study)
    log = lines(store_root / "logs" / "flowers-0.jsonl")
    assert {line["key"] for line in log if "trial" in line} == {result.trial.key for result in report.results}
    assert [log[0]["message"], log[-1]["message"]] == ["begins", "complete"]
    assert all(line["sweep"] == "flowers-0" and line["time"] and line["process"] for line in log)
    mlflow.set_tracking_uri(f"sqlite:///{store_root}/mlflow.db")
    kept = mlflow.artifacts.download_artifacts(run_id=report.sweep.run_id, artifact_path="log/flowers-0.jsonl")
    assert lines(Path(kept)) == log


def test_what_is_said_while_the_sweep_is_chosen_is_in_its_log(
    small_study: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.flows import tune as module

    monkeypatch.setattr(module, "search", lambda setting: setting)
    module.tune(small_study, engine="fit")
    module.tune(small_study, engine="fit", trials=6)
    messages = [str(line["message"]) for line in lines(store_root / "logs" / "flowers-0.jsonl")]
    assert "flowers-0 is extended by 2 trials" in messages
    assert messages.count("engine fit · as asked") == 1
    assert messages[0] == "begins"


def test_a_sweep_that_fails_logs_the_reason(
    small_study: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.flows import tune as module

    def lost(*_: object) -> None:
        raise OSError("no space left at https://user:secret@host")

    monkeypatch.setattr(module, "search", lost)
    with pytest.raises(OSError, match="no space left"):
        module.tune(small_study)
    last = lines(store_root / "logs" / "flowers-0.jsonl")[-1]
    assert last["level"] == "error"
    assert "OSError" in str(last["message"])
    assert "secret" not in json.dumps(last)
    assert "Traceback" in str(last["trace"])
