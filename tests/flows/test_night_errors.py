"""A night whose process ends with an error says which one: on Prefect's page, to hooks and on the terminal."""

import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from nightune.tasks.reporting.notify import Event

ERRORS_SHOWN = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR"}
TEXT = """Unexpected exception encountered when trying to load flow
Traceback (most recent call last):
  File "nightly.py", line 3, in <module>
ImportError: cannot import name 'small' from 'models' (https://me:hunter2@host/)
"""


def crashed_night(study: Path, texts: list[str]) -> UUID:
    """A crashed flow run with these errors in its log."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import LogCreate
    from prefect.states import Crashed

    from nightune.flows.nightly import nightly

    with get_client(sync_client=True) as client:
        state = Crashed(message="Process exited with status code: 1.")
        run = client.create_flow_run(nightly, parameters={"study_file": str(study)}, state=state)
        now = datetime.now(UTC)
        logs = [LogCreate(name="night", level=40, message=text, timestamp=now, flow_run_id=run.id) for text in texts]
        if logs:
            client.create_logs(logs)
    return run.id


@pytest.mark.usefixtures("prefect_server")
def test_the_error_of_a_crashed_night_is_told_everywhere(
    small_study: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from prefect.client.orchestration import get_client

    from nightune.flows import nightly

    told: list[Event] = []
    monkeypatch.setattr(nightly, "notify", lambda _, event: told.append(event))
    identifier = crashed_night(small_study, ["worth nothing", TEXT])
    with get_client(sync_client=True) as client:
        run: Any = client.read_flow_run(identifier)
        nightly.after_crash(nightly.nightly, run, run.state)
        page = client.read_flow_run(identifier).state
    (file,) = (store_root / "faults").iterdir()
    reason = f"ImportError: cannot import name 'small' from 'models' (https://***@host/) (full text: {file})"
    assert told == [Event("crashed", "flowers", flow_run_id=str(identifier), reason=reason)]
    assert page is not None
    assert (page.name, page.message) == ("Crashed", reason)
    assert reason in capsys.readouterr().err
    assert 'File "nightly.py", line 3' in file.read_text()
    assert "hunter2" not in file.read_text()


@pytest.mark.usefixtures("prefect_server", "store_root")
def test_a_night_without_a_logged_error_keeps_prefects_words(small_study: Path) -> None:
    from nightune.flows.runtime.night_errors import publish_night_error

    assert publish_night_error(crashed_night(small_study, [])) is None


@pytest.mark.nights
def test_servers_start_in_a_folder_whose_files_are_named_like_libraries(tmp_path: Path, store_root: Path) -> None:
    for name in ("prefect", "mlflow", "uvicorn", "nightune"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('of a user')\n")
    code = (
        "from nightune.flows.runtime.prefect_server import prefect_server\n"
        "with prefect_server() as wait: wait()\n"
        "from pathlib import Path\n"
        "from nightune.tasks.tracking.store.store import Store\n"
        "from nightune.tasks.tracking.ui_server import Access, serve_ui\n"
        "import socket, sys\n"
        "with socket.socket() as free: free.bind(('127.0.0.1', 0)); port = free.getsockname()[1]\n"
        "class Up(BaseException): pass\n"
        "def announce(text):\n    if text.startswith('http'): raise Up\n"
        "store = Store(Path(sys.argv[1]), f'sqlite:///{sys.argv[1]}/mlflow.db')\n"
        "try: serve_ui(store, Access(port=port), announce)\n"
        "except Up: print('up')\n"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(store_root)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "up\n", done.stderr + (store_root / "ui.log").read_text()


def test_a_nights_process_imports_the_flow_and_not_a_clone_in_its_folder(tmp_path: Path) -> None:
    from nightune.flows.deployments import night_command

    (tmp_path / "nightune").mkdir()
    (tmp_path / "nightune" / "__init__.py").write_text("raise ImportError('of a clone')\n")
    (tmp_path / "mlflow.py").write_text("raise ImportError('of a user')\n")
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        shlex.split(night_command()),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths, "PREFECT__FLOW_RUN_ID": "no identifier"} | ERRORS_SHOWN,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Invalid flow run id" in done.stdout + done.stderr  # Prefect's engine runs after the imports
    assert "ImportError" not in done.stdout + done.stderr
