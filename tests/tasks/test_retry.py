"""Calls to a store that does not answer are retried within a time limit; permanent errors are raised at once."""

import errno
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from nightune.tasks.tracking.store import retry as module
from nightune.tasks.tracking.store.errors import RefusedRequestError, StoreLostError
from nightune.tasks.tracking.store.retry import (
    RetryingClient,
    masked,
    reading_once,
    retry_call,
    retry_limit,
    transient_fault,
)
from nightune.tasks.tracking.store.store import Store, client, study_experiment

LOCKED = "(raised as a result of …)\n(sqlite3.OperationalError) database is locked\n[SQL: INSERT INTO runs]"


def mlflow_error(message: str, code: str = "INTERNAL_ERROR") -> Exception:
    from mlflow.exceptions import MlflowException
    from mlflow.protos import databricks_pb2

    return MlflowException(message, error_code=getattr(databricks_pb2, code))


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = [times]

    def action() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return "done"

    return action


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.mark.parametrize(
    "error",
    [
        mlflow_error(LOCKED, "TEMPORARILY_UNAVAILABLE"),
        mlflow_error("(sqlite3.OperationalError) database or disk is full"),
        mlflow_error("failed with exception …: Max retries exceeded (Caused by ResponseError('too many 500'))"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EROFS, "Read-only file system"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        TimeoutError("timed out"),
    ],
    ids=["locked", "full", "server error", "disk full", "read only", "reset", "timed out"],
)
def test_a_transient_fault_is_retried_and_logged_once(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "nightune"):
        assert retry_call(failing(3, error), "sqlite:///x") == "done"
    assert len(caplog.records) == 1
    assert "waiting for it" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        mlflow_error("Run 'abc' not found", "RESOURCE_DOES_NOT_EXIST"),
        mlflow_error("Changing param values is not allowed", "INVALID_PARAMETER_VALUE"),
        FileNotFoundError(errno.ENOENT, "No such file"),
        ValueError("database is locked, says the user's own code"),
    ],
)
def test_a_permanent_error_is_raised_at_once(error: Exception) -> None:
    assert transient_fault(error) is None
    with pytest.raises(type(error)):
        retry_call(failing(1, error), "sqlite:///x")


def test_after_the_limit_the_error_gives_the_remedy_and_hides_the_password() -> None:
    address = "postgresql://tuner:hunter2@db/mlflow"
    with pytest.raises(StoreLostError, match=r"database is locked.*run the same command") as caught, retry_limit(0.05):
        retry_call(failing(10**6, mlflow_error(LOCKED, "TEMPORARILY_UNAVAILABLE")), address)
    assert "hunter2" not in str(caught.value)
    assert "***@db" in str(caught.value)


def test_passwords_of_addresses_inside_a_text_are_masked() -> None:
    text = "cannot reach https://me:token@host:5000/api and postgresql+psycopg2://u:p@db, but sqlite:////a/b.db"
    assert (
        masked(text) == "cannot reach https://***@host:5000/api and postgresql+psycopg2://***@db, but sqlite:////a/b.db"
    )


@pytest.mark.parametrize(
    "address",
    ["postgresql://u:a/b@db/mlflow", "mysql+pymysql://u:a@b@db/x", "postgresql://db/x?password=a/b&sslmode=a"],
)
def test_a_password_with_special_characters_or_among_options_is_masked(address: str) -> None:
    shown = masked(f"cannot reach {address}: refused")
    assert "a/b" not in shown
    assert "a@b" not in shown
    assert "***" in shown
    assert shown.endswith(": refused")


def test_a_server_that_does_not_know_its_name_is_said_with_the_remedy() -> None:
    """MLflow's server answers 403 to a name that its --allowed-hosts does not list."""
    error = mlflow_error("code 403 != 200. Response body: 'Invalid Host header - possible attack'", "PERMISSION_DENIED")

    def refused() -> None:
        raise error

    plain = RetryingClient(SimpleNamespace(get_run=refused), "http://me:secret@tracking:5000")
    with pytest.raises(RefusedRequestError, match="--allowed-hosts tracking:5000") as caught:
        plain.get_run()
    assert "secret" not in str(caught.value)


def test_a_run_whose_creation_was_not_answered_is_found_not_created_again(store: Store) -> None:
    experiment = study_experiment(store, "flowers")
    plain = client(store)._client
    answers = [mlflow_error("Max retries exceeded: Read timed out")]

    def create_run(*values: Any, **options: Any) -> Any:
        made = plain.create_run(*values, **options)
        if answers:
            raise answers.pop()
        return made

    fragile = SimpleNamespace(create_run=create_run, search_runs=plain.search_runs)
    run = RetryingClient(fragile, "x").create_run(experiment, tags={"a": "b"})
    assert [found.info.run_id for found in plain.search_runs([experiment])] == [run.info.run_id]
    assert run.data.tags["a"] == "b"


class Counted:
    """Answers each call with its number; a search of several pages says so."""

    def __init__(self, token: str = "") -> None:
        self.calls, self._token = 0, token

    def _answer(self, *_values: Any, **_options: Any) -> Any:
        self.calls += 1
        return SimpleNamespace(number=self.calls, token=self._token)

    get_run = search_runs = set_tag = create_run = _answer


def test_options_of_mlflow_may_have_any_name() -> None:
    taken: dict[str, Any] = {}
    plain = SimpleNamespace(create_model_version=lambda **options: taken.update(options))
    RetryingClient(plain, "x").create_model_version(name="flowers", method="none", here=1)
    assert taken == {"name": "flowers", "method": "none", "here": 1}


def test_a_run_is_read_once_in_a_block_and_again_after_it() -> None:
    counted = RetryingClient(Counted(), "x")
    with reading_once():
        numbers = [counted.get_run(run).number for run in ("a", "b", "a")]
        searched = [counted.search_runs(["1"], condition).number for condition in ("c", "d", "c")]
    assert (numbers, searched) == ([1, 2, 1], [3, 4, 3])
    assert [counted.get_run("a").number, counted.get_run("a").number] == [5, 6]


def test_what_is_written_in_the_block_is_seen_by_its_next_read() -> None:
    counted = RetryingClient(Counted(), "x")
    with reading_once():
        counted.get_run("a")
        counted.set_tag("a", "name", "value")
        assert counted.get_run("a").number == 3
        counted.create_run("1", tags={})
        assert counted.get_run("a").number == 5


def test_pages_of_a_long_search_are_not_kept() -> None:
    counted = RetryingClient(Counted(token="more"), "x")
    with reading_once():
        assert [counted.search_runs(["1"], "c").number for _ in range(2)] == [1, 2]
