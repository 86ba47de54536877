"""A complete sweep of one trial with its replicates, and its promotion: by the steps of the flows, without Prefect."""

from pathlib import Path
from typing import Any

from nightune.tasks.confirm_finalists import confirm_finalists, finalists, missing_replicates
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import prepare_data
from nightune.tasks.promote_model import Promotion, Request, promote_model
from nightune.tasks.propose_trials import Kept, propose_trials
from nightune.tasks.setting import Setting
from nightune.tasks.start_sweep import start_sweep
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.train_cohort import train_cohort
from nightune.tasks.write_report import write_report
from nightune.tuning.trial import Bracket, Rung

STUDY = """
question = "Which rate is best on flowers?"
seed = 11
[data]
source = "iris"
[model]
architecture = "mlp"
units = [[8]]
[space]
optimizer = "adam"
learning_rate.peak = 0.03
batch_size.size = 10
[search]
trials = 1
epochs = 4
[confirmation]
finalists = 1
replicates = 2
[promotion]
replicates = 2
"""


def trained(store: Store, folder: Path, text: str) -> Setting:
    """A complete sweep with its replicates, created by the steps of the flow without Prefect."""
    setting = started(store, folder, text)
    study, one = setting.study, Bracket((Rung(1, setting.study.search.epochs),))
    trials = propose_trials.fn(study, setting.sweep.number, setting.data, one, [], Kept())
    train_cohort.fn(setting, trials)
    train_cohort.fn(setting, missing_replicates(setting, finalists(setting)))
    write_report.fn(setting)
    return setting


def started(store: Store, folder: Path, text: str) -> Setting:
    path = folder / "flowers.toml"
    path.write_text(text)
    study = load_study(path)
    return start_sweep.fn(store, study, prepare_data.fn(study, store.root), "fit", False)


def promoted(setting: Setting, **request: Any) -> Promotion:
    (winner,) = finalists(setting)
    return promote_model.fn(setting, winner, confirm_finalists.fn(setting), Request(**request))


def version_folder(store: Store, number: int) -> Path:
    return Path(client(store).get_model_version("flowers", str(number)).source.removeprefix("file://"))
