"""A failed trial states its cause: one line for people, the traceback for its run and the sweep's log."""

from pathlib import Path

import numpy as np

from nightune.models.recipe.params import read_recipe
from nightune.models.user_code import bind_function
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.trial.crash_log import Crash
from nightune.tasks.trial.failure import describe
from nightune.tuning.analysis import failures
from nightune.tuning.analysis.failures import FailureGroup, failure_groups
from nightune.tuning.trial import Status, Trial
from tests.tasks.conftest import result_of


def caught(function) -> Exception:  # type: ignore[no-untyped-def]
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_the_users_own_error_names_their_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("def build():\n    return undefined_name\n")
    failure = describe(caught(bind_function("net.py:build", tmp_path, "model.architecture")), tmp_path)
    assert "undefined_name" in failure.message
    assert "line 2 of net.py" in failure.message
    assert failure.message.count("line 2 of net.py") == 1
    assert "Nightune" not in failure.message
    assert "Traceback (most recent call last)" in failure.traceback


def test_refused_params_are_not_reported_as_a_bug_of_nightune(tmp_path: Path) -> None:
    failure = describe(caught(lambda: read_recipe({"optimizer": "adamv"})), tmp_path)
    assert "adamv" in failure.message
    assert "report" not in failure.message


def test_an_error_that_python_raises_in_our_own_code_asks_for_a_report(tmp_path: Path) -> None:
    failure = describe(caught(lambda: read_recipe(3)), tmp_path)  # type: ignore[arg-type]
    assert "fault in Nightune" in failure.message
    assert "report" in failure.message
    assert "params.py" in failure.message


def test_a_device_without_memory_is_no_fault_of_nightune_where_its_call_is_the_last_frame(tmp_path: Path) -> None:
    text = "RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes."
    ours = compile(f"raise RuntimeError({text!r})", Path(failures.__file__).with_name("call.py"), "exec")
    assert describe(caught(lambda: exec(ours)), tmp_path).message == f"RuntimeError: {text}"


def test_an_error_of_a_library_is_shown_unchanged(tmp_path: Path) -> None:
    failure = describe(caught(lambda: np.zeros(3).reshape(2)), tmp_path)
    assert failure.message == "ValueError: cannot reshape array of size 3 into shape (2,)"


def test_secrets_in_addresses_are_masked(tmp_path: Path) -> None:
    def connect() -> None:
        raise ValueError("no answer from postgresql://me:geheim@db/runs")

    failure = describe(caught(connect), tmp_path)
    assert "geheim" not in failure.message + failure.traceback


def test_the_traceback_is_an_artifact_of_the_trials_run(
    store: Store, sweep: Sweep, trial: Trial, data: PreparedData, tmp_path: Path
) -> None:
    log = TrialLog(store, sweep, trial, {}, data)
    result = result_of(trial, status=Status.FAILED, message="ValueError: no", traceback="Traceback …\nValueError: no")
    run_id = log.finish(result, None)
    path = client(store).download_artifacts(run_id, "error.txt", str(tmp_path))
    assert Path(path).read_text() == result.traceback
    assert client(store).get_run(run_id).data.tags["nightune.message"] == "ValueError: no"


def test_trials_with_the_same_error_are_one_group(trial: Trial) -> None:
    def failed(number: int, message: str):  # type: ignore[no-untyped-def]
        from dataclasses import replace

        return result_of(replace(trial, number=number), status=Status.FAILED, message=message, run_id=f"run {number}")

    results = [failed(4, "units: 3 and 5 differ"), failed(1, "no memory"), failed(2, "units: 7 and 9.5 differ")]
    groups = failure_groups([*results, result_of(trial)])
    assert [(group.trials, group.run_id) for group in groups] == [((2, 4), "run 2"), ((1,), "run 1")]
    assert groups[0].message == "units: 7 and 9.5 differ"


def test_only_an_error_that_was_raised_has_a_traceback() -> None:
    crashes = [Crash(0, 3, "SIGKILL", is_final=True), Crash(1, 1, "over its time limit", is_final=True)]
    messages = [*(crash.message for crash in crashes), "MemoryError: no 8 GiB, 3 times"]
    groups = [FailureGroup(message, "run", (0,)) for message in messages]
    assert [group.has_traceback for group in groups] == [False, False, True]
    assert not FailureGroup("parameters: 9 of 8", "run", (0,), Status.OVER_LIMIT).has_traceback
