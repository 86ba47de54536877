"""A store with two complete sweeps and a champion, and commands that run in this process without Prefect and Keras."""

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace as Namespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nightune.models.serving.predictor import model_of
from nightune.tasks.doctor import Finding
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.registry import registry
from nightune.tasks.tracking.registry.model_folder import parts_of
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import warn_of_damage
from nightune.tasks.tracking.store.store import Store, open_store
from nightune.tasks.tracking.sweeps import verdicts
from nightune.tasks.tracking.sweeps.sweeps import Sweep, all_sweeps
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.analysis.promotion_gate import Candidate, Decision, Verdict
from nightune.tuning.trial import Status, Trial, TrialResult
from tests.flows.conftest import SMALL_STUDY, run_plainly

EXIT_CODES = Path(__file__).parents[2] / "docs" / "exit-codes.md"
STUDY = SMALL_STUDY.replace("trials = 4", "trials = 2")

# The words of each command; STUDY is the study's file, ROWS one of rows to predict, DATA one
# to train on, and NEW an empty folder.
COMMANDS: dict[str, tuple[str, ...]] = {
    "check": ("STUDY", "--no-build"),
    "init": ("DATA", "--folder", "NEW"),
    "show": ("STUDY",),
    "list": (),
    "report": ("STUDY",),
    "compare": ("STUDY",),
    "simulate": ("STUDY",),
    "models": ("flowers",),
    "predict": ("flowers", "ROWS"),
    "prune": ("STUDY", "--keep", "1", "--dry-run"),
    "doctor": (),
    "ui": (),
    "rollback": ("flowers", "--because", "it was wrong"),
    "pause": ("STUDY",),
    "resume": ("STUDY",),
    "serve": ("STUDY",),
    "probe": ("STUDY",),
    "promote": ("STUDY",),
    "tune": ("STUDY", "--engine", "fit"),
}
READ_STUDY = tuple(name for name, words in COMMANDS.items() if "STUDY" in words)
USE_STORE = tuple(name for name in COMMANDS if name not in ("check", "init", "pause", "resume"))
USE_PREFECT = ("pause", "resume", "serve", "probe", "promote", "tune")


@dataclass
class World:
    """A folder with a study and its store."""

    folder: Path

    @property
    def study(self) -> Path:
        return self.folder / "flowers.toml"

    @property
    def root(self) -> Path:
        return self.folder / "mlruns"

    @property
    def database(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def store(self) -> Store:
        return open_store(self.root)

    @property
    def sweeps(self) -> list[Sweep]:
        return all_sweeps(self.store, "flowers")

    def run(self, command: str) -> Result:
        """Run a command as the command line does, except that its exceptions stay visible."""
        from nightune.flows.commands.main import app

        warn_of_damage.cache_clear()  # once in each process
        files = {"STUDY": "flowers.toml", "ROWS": "rows.csv", "DATA": "data.csv", "NEW": "new"}
        words = [str(self.folder / files[word]) if word in files else word for word in COMMANDS[command]]
        return CliRunner().invoke(app, [command, *words])


def make_world(folder: Path, empty_store: Path) -> World:
    """Tune a study twice with invented results, and promote the winner of the second sweep by hand."""
    world = World(folder)
    shutil.copytree(empty_store, world.root)
    world.study.write_text(STUDY)
    (folder / "rows.csv").write_text("width,kind\n1.5,a\n2.5,b\n")
    (folder / "data.csv").write_text("width,kind\n" + "".join(f"{n}.5,{'ab'[n % 2]}\n" for n in range(60)))
    (folder / "new").mkdir()
    os.environ["NIGHTUNE_STORE"] = str(world.root)
    for fresh in (False, True):
        from nightune.flows.tune import tune

        assert callable(tune)
        tune(world.study, engine="fit", fresh=fresh)
    _register(world.store, world.sweeps[-1], folder)
    close(world)
    return world


def copied(world: World, folder: Path) -> World:
    """Copy a world, with the addresses of its files."""
    shutil.copytree(world.folder, folder, dirs_exist_ok=True)
    os.environ["NIGHTUNE_STORE"] = str(folder / "mlruns")
    return World(folder)


def close(world: World) -> None:
    """Write the log of the database into its file, which tests change."""
    with sqlite3.connect(world.database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _register(store: Store, sweep: Sweep, folder: Path) -> None:
    best = next(iter(finished_trials(store, sweep).values()))
    candidate = Candidate("flowers", sweep.id, sweep.data_version, 0, best.trial.key, best.run_id, 0.25, 0.25)
    verdict = Verdict(candidate, Decision.PROMOTED, "better", "loss", 0.0, None, None, None, (), False)
    verdicts.write_verdict(store, sweep, verdict, "question")
    parts_of(folder / "model").mkdir(parents=True)
    (folder / "model" / "MLmodel").write_text("flavors: {}\n")
    model_of(parts_of(folder / "model")).touch()
    ours = {names.SWEEP: sweep.id, names.TRIAL_KEY: best.trial.key, names.SIBLINGS: json.dumps([])}
    tags = {**verdicts.verdict_tags(verdict), **ours}
    version = registry.register(store, "flowers", sweep, best.run_id, folder / "model", tags)
    registry.set_tags(store, version, registry.extended_history(version, "promoted", "better"))
    registry.set_alias(store, "flowers", "champion", 1)


def without_prefect(patch: pytest.MonkeyPatch) -> None:
    """Run flows and their tasks as plain functions, train nothing, and start no server."""
    from nightune.flows import deployments, probe, promote, tune
    from nightune.flows.commands import main, nights, started_flow
    from nightune.flows.runtime import flow_runs
    from nightune.tasks import choose_sweep, doctor, predict_rows, start_sweep
    from nightune.tasks.reporting.probe_report import StudyProbe
    from nightune.tasks.tracking import ui_server
    from nightune.tasks.tracking.registry import open_version

    @contextmanager
    def server(*_: object) -> Iterator[Callable[[], None]]:
        yield lambda: None

    run_plainly(patch)
    for commands in (main, started_flow):
        patch.setattr(commands, "prefect_server", server)
        patch.setattr(commands, "supervised", lambda read_study: read_study())
    patch.setattr(nights, "serving_server", lambda _: nullcontext("http://127.0.0.1:4200/api"))
    patch.setattr(deployments, "serve_studies", lambda *_: None)
    patch.setattr(flow_runs, "owned_flow_runs", nullcontext)
    patch.setattr(flow_runs, "ClosingBeside", lambda _: None)
    patch.setattr(ui_server, "serve_ui", lambda *_, **__: None)
    patch.setattr(predict_rows, "load_keras", lambda *_: None)
    patch.setattr(open_version, "load", lambda _: open_version.Opened(_Answering(), ()))
    patch.setattr(doctor, "devices", lambda: Finding("devices", True, "none"))
    patch.setattr(choose_sweep, "build_before_training", lambda *_: ())
    patch.setattr(start_sweep, "select_engine", _fit)
    patch.setattr(tune, "train_cohorts", _invented)
    patch.setattr(tune, "train_cohort", lambda setting, trials: _invented(setting, [trials]))
    patch.setattr(promote, "promote_model", _judged)
    patch.setattr(probe, "probe_rates", lambda _store, study, *_: StudyProbe(study.name, study.path, (), {"low": 0.1}))


class _Answering:
    """The code of a version that answers without a model."""

    predictor = Namespace(
        description={"task": "regression", "target": "kind", "columns": [{"name": "width", "kind": ""}]}
    )

    def predict(self, _context: object, rows: Any, _params: object) -> Any:
        return rows["width"].to_numpy()


def _fit(*_: object) -> Any:
    from nightune.models.engines.choice import EngineChoice

    return EngineChoice("fit", "as asked")


def _invented(setting: Setting, cohorts: Sequence[Sequence[Trial]]) -> list[TrialResult]:
    results = []
    for trial in (trial for cohort in cohorts for trial in cohort):
        log = TrialLog(setting.store, setting.sweep, trial, {names.ENGINE: "fit"}, setting.data)
        for epoch in (1, 2):
            log.log_epoch(epoch, {"loss": 0.5, "val_loss": 0.5, "updates": 3.0 * epoch, "examples": 90.0 * epoch})
        checkpoint = setting.store.root.parent / "model.keras"
        if not checkpoint.exists():
            _write_model(checkpoint)
        result = TrialResult(trial, Status.COMPLETED, 0.25 + trial.number, 2, 2, 6, 180, 1.0)
        run_id = log.finish(result, checkpoint)
        results.append(TrialResult(trial, Status.COMPLETED, 0.25 + trial.number, 2, 2, 6, 180, 1.0, run_id=run_id))
    return results


def _write_model(path: Path) -> None:
    """Write the model of the study's first trials, untrained."""
    from keras import Input, Sequential, layers

    Sequential([Input((4,)), layers.Dense(4, activation="relu"), layers.Dense(3)]).save(path)


def _judged(setting: Setting, winner: TrialResult, *_: object) -> Any:
    """Judge as the gate does, except for the measurement."""
    from nightune.tasks.promote_model import Promotion

    registry.champion(setting.store, setting.study.name)
    verdicts.read_verdict(setting.store, setting.sweep)
    verdicts.test_reads(setting.store, setting.sweep)
    candidate = Candidate("flowers", setting.sweep.id, "1", winner.trial.number, winner.trial.key, winner.run_id, 0, 0)
    return Promotion(Verdict(candidate, Decision.REFUSED, "no better", "loss", 0.0, 1, None, None, (), False))


def documented_codes() -> dict[str, set[int]]:
    """The exit codes of each command in docs/exit-codes.md."""
    codes: dict[str, set[int]] = {}
    for line in EXIT_CODES.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`(\w+)`", cells[0]) if len(cells) >= 4 else []:
            found = {0, 2} | ({1} if cells[2] else set()) | {int(each) for each in re.findall(r"\b\d+\b", cells[3])}
            codes[name] = codes.get(name, set()) | found
    return codes
