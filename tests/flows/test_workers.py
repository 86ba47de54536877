"""Several workers train the same trials to the same values as one process, on loopback only."""

import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from nightune.models.errors import InputError
from nightune.tasks.reporting.events import TrialEnded
from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tasks.tracking.store.store import open_existing_store
from nightune.tasks.tracking.sweeps.ledgers import read_ledger
from nightune.tasks.workers import requirements
from nightune.tasks.workers.requirements import environments_of_workers, refuse_unusable_workers
from nightune.tuning.errors import StudyError

HALVING = """method = "successive_halving"
trials = 6
epochs = 8
smallest_epochs = 2
"""
ENDINGS = "key like 'val_%' or key in ('loss', 'objective', 'best_epoch', 'epochs', 'updates', 'examples')"


@pytest.fixture
def halving(small_study: Path) -> Path:
    text = small_study.read_text().replace('method = "random"\ntrials = 4\nepochs = 2\n', HALVING)
    small_study.write_text(text)
    return small_study


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "optimized_graphs")
def test_workers_train_what_one_process_does_though_one_of_them_is_killed(
    halving: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.flows.tune import tune

    with killing_one_worker() as seen:
        report = tune(halving, engine="fit", workers=2)
    require_whole_ledger(store_root, report)
    assert seen["listening"]
    assert set(seen["listening"]) == {"127.0.0.1"}
    assert own_workers() == []
    assert {record.process for record in seen["lines"]}.isdisjoint({os.getpid()})
    monkeypatch.setenv("NIGHTUNE_STORE", str(store_root.parent / "one"))
    alone = tune(halving, engine="fit")
    assert [result.trial.key for result in report.results] == [result.trial.key for result in alone.results]
    assert recorded(store_root) == recorded(store_root.parent / "one")


def require_whole_ledger(store_root: Path, report: SweepReport) -> None:
    """The ledger has every trial, and the time of each worker is that in which workers were fed."""
    ledger = read_ledger(open_existing_store(store_root, None), report.sweep)
    assert ledger is not None
    assert ledger.has_all(report.results)
    (session,) = ledger.sessions
    fed = {name: sum(phases.values()) for name, phases in session.workers["worker-1"].items()}
    assert {name: sum(phases.values()) for name, phases in session.workers["worker-2"].items()} == pytest.approx(fed)
    assert 0 < sum(fed.values()) < session.seconds
    assert 0 < ledger.device_seconds < 2 * sum(fed.values())


@contextmanager
def killing_one_worker() -> Iterator[dict[str, Any]]:
    """Kill a worker as soon as a trial has ended; note where all listen, and the lines of trials."""
    seen: dict[str, Any] = {"listening": [], "lines": []}

    class Killer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not isinstance(getattr(record, "news", None), TrialEnded):
                return
            if not seen["lines"]:
                workers = own_workers()
                for process in (psutil.Process(), *workers):
                    ports = process.net_connections(kind="inet")
                    seen["listening"] += [port.laddr.ip for port in ports if port.status == psutil.CONN_LISTEN]
                workers[0].kill()
            seen["lines"].append(record)

    killer = Killer()
    logging.getLogger("nightune").addHandler(killer)
    try:
        yield seen
    finally:
        logging.getLogger("nightune").removeHandler(killer)


def own_workers() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "worker_process" in " ".join(each.cmdline())]


def recorded(store: Path) -> dict[str, Any]:
    """Each trial by its key: its status, and its points by metric and step; no trial and no point twice."""
    found: dict[str, Any] = {}
    with sqlite3.connect(store / "mlflow.db") as database:
        keys = dict(database.execute("select run_uuid, value from tags where key = 'nightune.trial_key'"))
        statuses = dict(database.execute("select run_uuid, value from tags where key = 'nightune.status'"))
        assert len(set(keys.values())) == len(keys)
        for run, key in keys.items():
            query = f"select key, step, value from metrics where run_uuid = ? and ({ENDINGS})"
            points = database.execute(query, (run,)).fetchall()
            assert len({point[:2] for point in points}) == len(points)
            found[key] = statuses[run], sorted(points)
    return found


def test_a_rule_that_compares_trials_is_refused_with_workers_and_the_remedy_works(small_study: Path) -> None:
    from nightune.tasks.load_study import load_study

    small_study.write_text(small_study.read_text().replace("[search]", 'stopping.rule = "median"\n[search]'))
    study = load_study(small_study)
    with pytest.raises(StudyError, match="--workers"):
        refuse_unusable_workers(study, 2)
    refuse_unusable_workers(study, 1)
    small_study.write_text(small_study.read_text().replace('"median"', '["patience", "none"]'))
    refuse_unusable_workers(load_study(small_study), 2)


def test_a_missing_package_is_named(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nightune.tasks.load_study import load_study

    monkeypatch.setattr(requirements, "find_spec", lambda _name: None)
    with pytest.raises(InputError, match=r"nightune\[dask\]"):
        refuse_unusable_workers(load_study(small_study), 2)
    refuse_unusable_workers(load_study(small_study), 1)


@pytest.mark.parametrize(
    ("names", "visible", "expected"),
    [
        (["gpu:0", "gpu:1"], "", ["0", "1"]),
        (["gpu:0", "gpu:1", "gpu:2"], "5,GPU-8a,7", ["5", "GPU-8a"]),
        (["cpu:0"], "", [None, None]),
    ],
)
def test_each_local_worker_has_a_gpu_of_its_own(
    names: list[str], visible: str, expected: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "devices", lambda: ("tensorflow", names))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [each.get("CUDA_VISIBLE_DEVICES") for each in environments_of_workers(2)] == expected


def test_more_workers_than_gpus_are_refused_and_the_remedy_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "devices", lambda: ("tensorflow", ["gpu:0", "gpu:1"]))
    with pytest.raises(InputError, match="take 2"):
        environments_of_workers(3)
    assert len(environments_of_workers(2)) == 2
    monkeypatch.setattr(requirements, "devices", lambda: ("tensorflow", ["cpu:0"]))  # CUDA_VISIBLE_DEVICES=-1
    assert environments_of_workers(3) == [{}, {}, {}]


def test_a_place_gives_its_environment_to_each_process_that_fills_it(tmp_path: Path) -> None:
    """The process reads its start and ends: its place is filled again with the same GPU."""
    from nightune.tasks.workers.local_crew import LocalCrew

    seen = tmp_path / "seen.txt"
    code = f"import os; open({str(seen)!r}, 'a').write(os.environ['CUDA_VISIBLE_DEVICES'])"
    crew = LocalCrew(
        (sys.executable, "-c", code), [{"CUDA_VISIBLE_DEVICES": "5"}, {"CUDA_VISIBLE_DEVICES": "7"}], tmp_path
    )
    try:
        crew.start(None)  # type: ignore[arg-type]
        for worker in list(crew.workers):
            worker.process.wait()
        crew.replace(crew.workers[1], is_futile=True)
        crew.workers[1].process.wait()
    finally:
        crew.close()
    assert sorted(seen.read_text()) == ["5", "7", "7"]


def test_a_local_worker_that_hangs_is_killed(tmp_path: Path) -> None:
    """The scheduler's answer leaves out workers without a heartbeat for long; none that has yet to join is one."""
    from nightune.tasks.workers.local_crew import LocalCrew, LocalWorker

    crew = LocalCrew((), [], tmp_path)
    processes = [subprocess.Popen((sys.executable, "-c", "import time; time.sleep(60)")) for _ in range(3)]
    crew.workers = [LocalWorker(f"worker-{place}", process=process) for place, process in enumerate(processes)]
    crew.workers[0].address, crew.workers[1].address = "tls://a:1", "tls://a:2"
    crew._dask = SimpleNamespace(workers=lambda: {"tls://a:2": {"name": "worker-1"}})  # type: ignore[assignment]
    try:
        crew.join()
        assert processes[0].wait(10) < 0
        assert crew.dead() == crew.workers[:1]
    finally:
        for process in processes:
            process.kill()
            process.wait()
