"""Change or delete one thing of a store: what people do on MLflow's pages, or at random a value, a row or a file."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import client
from tests.faults.command_world import World

VALUES = (None, "", "nonsense", -1, 9**18, 1e300, "[]", "{}", "null", "²", b"\xff\xfe", "deleted", "RUNNING", "a" * 600)
CONTENTS = (b"", b"nonsense", b"[]", b"{}", b"\xff\x00")
TABLES = "select name from sqlite_master where type = 'table' and name not like 'sqlite%' and name != 'alembic_version'"


def change_at_random(root: Path, seed: int) -> str:
    """Change one thing in the store's folder; return what. The same seed changes the same in equal stores."""
    generator = random.Random(seed)
    if generator.random() < 0.2:
        return _change_file(root, generator)
    with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        return _change_row(database, generator)


def _change_file(root: Path, generator: random.Random) -> str:
    file = generator.choice(sorted(path for path in root.rglob("*") if path.is_file() and ".db" not in path.name))
    if generator.random() < 0.5:
        file.unlink()
    else:
        file.write_bytes(generator.choice(CONTENTS))
    return str(file.relative_to(root))


def _change_row(database: sqlite3.Connection, generator: random.Random) -> str:
    counts = {name: _one(database, f"select count(*) from {name}") for (name,) in database.execute(TABLES).fetchall()}
    table = generator.choice([name for name, count in counts.items() if count])
    row = _one(database, f"select rowid from {table} limit 1 offset {generator.randrange(counts[table])}")
    if generator.random() < 0.3:
        database.execute(f"delete from {table} where rowid = {row}")
        return f"row {row} of {table}"
    column = generator.choice([each[1] for each in database.execute(f"pragma table_info({table})")])
    value = generator.choice(VALUES)
    try:
        database.execute(f"update {table} set {column} = ? where rowid = {row}", (value,))
    except sqlite3.IntegrityError:  # the database refuses it
        return "nothing"
    return f"{column} of row {row} of {table}: {str(value)[:30]!r}"


def _one(database: sqlite3.Connection, question: str) -> int:
    return int(database.execute(question).fetchone()[0])


Fault = Callable[[World], object]


def _last_sweep(world: World) -> str:
    return world.sweeps[-1].run_id


def _all_sweeps_deleted(world: World) -> None:
    for sweep in world.sweeps:
        client(world.store).delete_run(sweep.run_id)


def _trial_tag(name: str) -> Fault:
    def change(world: World) -> None:
        runs = client(world.store).search_runs([world.sweeps[-1].experiment_id], names.tag_equals(names.KIND, "trial"))
        client(world.store).set_tag(runs[0].info.run_id, name, "nonsense")

    return change


def _files_gone(world: World) -> None:
    for folder in (world.root / "artifacts").rglob("artifacts"):
        shutil.rmtree(folder)


def _checkpoints_damaged(world: World) -> None:
    for file in (world.root / "artifacts").rglob("model.keras"):
        file.write_bytes(b"no model")


def _champion_gone(world: World) -> None:
    version = client(world.store).get_model_version("flowers", "1")
    shutil.rmtree(version.source.removeprefix("file://"))


CHANGES: dict[str, Fault] = {
    "sweep deleted": lambda world: client(world.store).delete_run(_last_sweep(world)),
    "sweeps deleted": _all_sweeps_deleted,
    "experiment deleted": lambda world: client(world.store).delete_experiment(world.sweeps[-1].experiment_id),
    "status": lambda world: client(world.store).set_tag(_last_sweep(world), names.STATUS, "nonsense"),
    "points": lambda world: client(world.store).set_tag(_last_sweep(world), names.POINTS, "9" * 4500),
    "first round": lambda world: client(world.store).set_tag(_last_sweep(world), names.FIRST_ROUND, "nonsense"),
    "verdict": lambda world: client(world.store).set_tag(_last_sweep(world), names.VERDICT, "nonsense"),
    "trial params": _trial_tag(names.PARAMS),
    "trial number": _trial_tag(names.TRIAL_NUMBER),
    "artifacts": _files_gone,
    "checkpoints": _checkpoints_damaged,
    "champion": _champion_gone,
    "no versions": lambda world: client(world.store).delete_registered_model("flowers"),
}
