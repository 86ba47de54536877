"""Measure what commands ask of a store that holds many trials, and print the plans of the slowest statements.

    python benchmarks/store_queries.py postgresql://nightune@127.0.0.1/queries [--trials 10000] [--explain]
    python benchmarks/store_queries.py sqlite:////tmp/queries.db --trials 2000

The database is filled if it has no experiment `digits_mlp`: a synthetic engine writes one trial as a sweep does, and
SQL copies its rows with other keys, numbers and scores. `--through http://…` measures by a server on the same database.
"""

import argparse
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import prepare_data
from nightune.tasks.propose_trials import propose_trials
from nightune.tasks.tracking.registry import registry
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import whole_records
from nightune.tasks.tracking.store.store import Store, client, open_store
from nightune.tasks.tracking.sweeps.sweeps import Sweep, all_sweeps, open_sweep
from nightune.tasks.tracking.trials.attempts import run_of_trial
from nightune.tasks.tracking.trials.known_trials import KnownTrials
from nightune.tasks.tracking.trials.results import record_best
from nightune.tasks.tracking.trials.runs import read_result, unfinished_runs
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tuning.trial import Bracket, Rung, Status, Trial, TrialResult

STUDY = Path(__file__).parent / "digits_mlp.toml"
NAME = "digits_mlp"
CURVES = ("loss", "val_loss", "accuracy", "val_accuracy", "learning_rate", "batch_size")
EPOCHS, VERSIONS, REPEATS, CHUNK = 20, 50, 5, 200
COPIED = ("params", "tags", "metrics", "latest_metrics")  # tables of MLflow with rows of a run
Rows = list[dict[str, Any]]


def main() -> None:
    """Fill the database if needed, measure each question, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="of an empty database, or of one that an earlier call has filled")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--through", help="the address of a server on this database")
    parser.add_argument("--only", default="", help="the questions whose names have this text")
    parser.add_argument(
        "--explain", action="store_true", help="print the plan of the slowest statement of each question"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        direct = open_store(Path(folder), asked.address)
        if client(direct).get_experiment_by_name(NAME) is None:
            fill(direct, asked.trials)
        store = open_store(Path(folder), asked.through) if asked.through else direct
        seen = None if asked.through else Statements(client(direct)._tracking_client.store.engine)
        measure(questions(store, all_sweeps(store, NAME)[-1], asked.only), seen, asked.explain)


def fill(store: Store, count: int) -> None:
    """Write one trial as a sweep does, copy it by SQL, and register versions."""
    started_at = time.perf_counter()
    study = load_study(STUDY, trials=count)
    data = prepare_data.fn(study, store.root)
    sweep = open_sweep(store, study, data.version, False, count)
    trial = propose_trials.fn(study, 0, data, Bracket((Rung(count, EPOCHS),)), [])[0]
    log = TrialLog(store, sweep, trial, {names.ENGINE: "none", names.DEVICE: "cpu:0"}, data)
    for epoch in range(1, EPOCHS + 1):
        log.log_epoch(epoch, dict.fromkeys(CURVES, 1.0 / epoch))
    run_id = log.finish(_result(trial), None)
    engine = client(store)._tracking_client.store.engine
    _copy(engine, run_id, count)
    register_versions(store, sweep, run_id)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE"))
    print(f"filled with {count:,} trials in {time.perf_counter() - started_at:.0f} s", flush=True)


def _result(trial: Trial) -> TrialResult:
    return TrialResult(trial, Status.COMPLETED, 0.5, EPOCHS, EPOCHS, 100, 1000, 1.0)


def _copy(engine: sa.Engine, template: str, count: int) -> None:
    """Copy the rows of a run for the other trials, in chunks, each in one transaction."""
    tables = sa.MetaData()
    tables.reflect(engine, only=["runs", "inputs", *COPIED])
    draw = random.Random(0)
    with engine.connect() as connection:
        held = {name: _rows(connection, tables.tables[name], template) for name in ("runs", "inputs", *COPIED)}
    for first in range(1, count, CHUNK):
        new: dict[str, Rows] = {name: [] for name in ("runs", *COPIED, "inputs")}
        for number in range(first, min(first + CHUNK, count)):
            for name, rows in _copies(held, template, number, draw.random()).items():
                new[name] += rows
        with engine.begin() as connection:
            for name, rows in new.items():
                connection.execute(tables.tables[name].insert(), rows)


def _rows(connection: sa.Connection, table: sa.Table, run_id: str) -> Rows:
    column = table.c.destination_id if table.name == "inputs" else table.c.run_uuid
    return [dict(row._mapping) for row in connection.execute(sa.select(table).where(column == run_id))]


def _copies(held: dict[str, Rows], template: str, number: int, score: float) -> dict[str, Rows]:
    run_id, run = uuid.uuid4().hex, held["runs"][0]
    places = {"run_uuid": run_id, "artifact_uri": run["artifact_uri"].replace(template, run_id)}
    times = {"start_time": run["start_time"] + number, "end_time": run["end_time"] + number}
    tags = {
        names.TRIAL_NUMBER: str(number),
        names.TRIAL_KEY: uuid.uuid4().hex[:16],
        names.REQUEST: uuid.uuid4().hex,
        "mlflow.runName": f"trial {number}",
    }
    copies = {name: [{**row, "run_uuid": run_id} for row in held[name]] for name in COPIED}
    copies["tags"] = [{**row, "value": tags.get(row["key"], row["value"])} for row in copies["tags"]]
    for name in ("metrics", "latest_metrics"):
        copies[name] = [{**row, "value": score} if row["key"] == names.OBJECTIVE else row for row in copies[name]]
    copies["runs"] = [{**run, **places, **times, "name": f"trial {number}"}]
    copies["inputs"] = [{**row, "input_uuid": uuid.uuid4().hex, "destination_id": run_id} for row in held["inputs"]]
    return copies


def register_versions(store: Store, sweep: Sweep, run_id: str) -> None:
    """Register versions of the study's model, each champion after the one before, and some other models."""
    plain = client(store)
    for other in range(20):
        plain.create_registered_model(f"other-{other}")
    plain.create_registered_model(NAME)
    for number in range(1, VERSIONS + 1):
        tags = {names.SWEEP: sweep.id, names.TRIAL_KEY: f"{number:016}", names.VERDICT: "promoted"}
        tags |= {names.PREVIOUS_CHAMPION: str(number - 1)} if number > 1 else {}
        plain.create_model_version(NAME, f"{sweep.run_id}/model", run_id=run_id, tags=tags)
        registry.set_alias(store, NAME, registry.CHAMPION, number)


class Statements:
    """The statements that SQLAlchemy sends, with their seconds."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self.sent: list[tuple[float, str, Any]] = []
        sa.event.listen(sa.Engine, "before_cursor_execute", self._before)
        sa.event.listen(sa.Engine, "after_cursor_execute", self._after)

    def plan(self) -> Iterator[str]:
        """Yield the slowest statement's plan, line by line."""
        _, statement, values = max(self.sent, key=lambda each: each[0])
        is_postgresql = self._engine.dialect.name == "postgresql"
        before = "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) " if is_postgresql else "EXPLAIN QUERY PLAN "
        with self._engine.connect() as connection:
            for row in connection.exec_driver_sql(before + statement, values).fetchall():
                yield " ".join(map(str, row))

    def _before(self, _connection: Any, _cursor: Any, _statement: str, _values: Any, context: Any, _many: bool) -> None:
        context._began = time.perf_counter()

    def _after(self, _connection: Any, _cursor: Any, statement: str, values: Any, context: Any, _many: bool) -> None:
        self.sent.append((time.perf_counter() - context._began, statement, values))


def questions(store: Store, sweep: Sweep, only: str) -> dict[str, Callable[[], int]]:
    """Return what commands ask, by name, each with the function that asks it and returns how many rows came."""
    known = next(iter(best_trials(store, sweep, 1)))
    record_best(store, sweep, known)
    history = registry.versions(store, NAME)[-1]

    def rolled_back() -> int:
        registry.roll_back(store, NAME, "a benchmark")
        registry.set_alias(store, NAME, registry.CHAMPION, VERSIONS)
        for version in registry.versions(store, NAME):
            registry.clear_rollback(store, version)
        return VERSIONS

    asked: dict[str, Callable[[], int]] = {
        "best trial, by the sweep's run": lambda: int(named_best(store, sweep) == known),
        "best trial, by a search": lambda: len(list(best_trials(store, sweep, 1))),
        "leaderboard, 100 rows": lambda: len(list(best_trials(store, sweep, 100))),
        "the start: runs that a kill left open": lambda: len(unfinished_runs(store, sweep)),
        "a worker's trial: its run by key": lambda: int(run_of_trial(store, sweep, known.trial.key) is not None),
        "a promoted trial: its run by id": lambda: len(client(store).get_run(known.run_id).data.params),
        "one curve": lambda: len(client(store).get_metric_history(known.run_id, "val_loss")),
        "the study's sweeps": lambda: len(all_sweeps(store, NAME)),
        "models: all versions": lambda: len(registry.all_versions(store)),
        "promote: the champion": lambda: int(registry.champion(store, NAME) == history),
        "rollback, and back": rolled_back,
        "the whole sweep, once at the start": lambda: len(KnownTrials(store, sweep).results()),
    }
    return {name: ask for name, ask in asked.items() if only in name}


def named_best(store: Store, sweep: Sweep) -> TrialResult:
    """Read the best trial by the tag of the sweep's run."""
    tags = client(store).get_run(sweep.run_id).data.tags
    return read_result(client(store).get_run(tags[names.BEST_RUN]))


def best_trials(store: Store, sweep: Sweep, count: int) -> Iterator[TrialResult]:
    """Read the best trials of a sweep, as MLflow's pages and a user's script do."""
    condition = f"{names.tag_equals(names.SWEEP, sweep.id)} and {names.tag_equals(names.KIND, 'trial')}"
    order = [f"metrics.{names.OBJECTIVE} ASC"]
    runs = client(store).search_runs([sweep.experiment_id], condition, max_results=count, order_by=order)
    yield from whole_records(runs, read_result)


def measure(asked: Mapping[str, Callable[[], int]], seen: Statements | None, explains: bool) -> None:
    """Print the median of each question, with the share of SQL where the database is asked directly.

    Processor time is that of this process and of PostgreSQL on this machine: it says more where others compute, too.
    """
    print("| question | rows | ms | of it SQL | statements | processor ms |\n|---|---|---|---|---|---|")
    plans: dict[str, Sequence[str]] = {}
    for name, ask in asked.items():
        measured = [timed(ask, seen) for _ in range(1 if "whole" in name else REPEATS)]
        columns = zip(*(each[:3] for each in measured), strict=True)
        seconds, in_sql, processor = map(statistics.median, columns)
        _, _, _, sent, rows = measured[-1]
        cells = [f"{rows:,}", f"{1000 * seconds:.0f}", f"{1000 * in_sql:.0f}", str(sent), f"{1000 * processor:.0f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        if explains and seen is not None:
            plans[name] = list(seen.plan())
    for name, lines in plans.items():
        print(f"\n{name}\n  " + "\n  ".join(lines))


def timed(ask: Callable[[], int], seen: Statements | None) -> tuple[float, float, float, int, int]:
    """Return the seconds of a question, those of its SQL and of processors, its statements and its rows."""
    if seen is not None:
        seen.sent.clear()
    before, began = processor_seconds(), time.perf_counter()
    rows = ask()
    seconds, spent = time.perf_counter() - began, processor_seconds() - before
    sent = [] if seen is None else seen.sent
    return seconds, sum(each[0] for each in sent), spent, len(sent), rows


def processor_seconds() -> float:
    """Return the processor time of this process and of PostgreSQL's on this machine, so far."""
    total = time.process_time()
    for process in psutil.process_iter(["name", "cpu_times"]):
        if process.info["name"] == "postgres" and process.info["cpu_times"] is not None:
            total += process.info["cpu_times"].user + process.info["cpu_times"].system
    return total


if __name__ == "__main__":
    main()
