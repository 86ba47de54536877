"""Record what came of a sweep on its run, so that MLflow can sort sweeps, and list the sweeps of a store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.entities import run_metrics, run_tags
from nightune.tasks.tracking.store.records import whole_records
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep, read_sweep
from nightune.tasks.tracking.trials.runs import finished_runs, read_result
from nightune.tuning.analysis.leaderboard import best
from nightune.tuning.trial import TrialResult

PAGE = 1000  # of MLflow's searches


@dataclass(frozen=True, slots=True)
class ListedSweep:
    """A sweep of a store: when it started, in seconds since 1970, and what came of it so far."""

    study: str
    sweep: Sweep
    started: float
    finished: int  # trials
    best_objective: float | None = None
    best_trial: int | None = None
    confirmed_objective: float | None = None

    def as_json(self) -> dict[str, object]:
        """Return the object that `--json` prints."""
        return {
            "sweep_id": self.sweep.id,
            "study": self.study,
            "status": str(self.sweep.status),
            "started": self.started,
            "trials": {"planned": self.sweep.planned_trials, "finished": self.finished},
            "metric": self.sweep.metric,
            "direction": self.sweep.direction,
            "best_objective": self.best_objective,
            "best_trial": self.best_trial,
            "confirmed_objective": self.confirmed_objective,
            "verdict": self.sweep.verdict or None,
            "run_id": self.sweep.run_id,
        }


def record_results(store: Store, sweep: Sweep, results: Sequence[TrialResult]) -> None:
    """Write the number of finished trials, and the best one with its objective, to the sweep's run."""
    first, values = best(results, sweep.direction), {names.FINISHED_TRIALS: float(len(results))}
    values |= {} if first is None else {names.BEST_OBJECTIVE: first.objective}
    tags = {} if first is None else _tags_of_best(first)
    client(store).log_batch(sweep.run_id, metrics=run_metrics(values), tags=run_tags(tags))


def record_best(store: Store, sweep: Sweep, first: TrialResult) -> None:
    """Write the best trial to the sweep's run: its objective, its number, and the id of its run.

    Two runs are then read by their ids, however many trials the sweep and its experiment have.
    """
    values = run_metrics({names.BEST_OBJECTIVE: first.objective})
    client(store).log_batch(sweep.run_id, metrics=values, tags=run_tags(_tags_of_best(first)))


def _tags_of_best(first: TrialResult) -> dict[str, str]:
    return {names.BEST_TRIAL: str(first.trial.number), names.BEST_RUN: first.run_id}


def record_front(store: Store, sweep: Sweep, trials: int, hypervolume: float | None) -> None:
    """Write how many trials are on the front of several objectives, and what it covers if known, to the sweep's run."""
    client(store).log_metric(sweep.run_id, names.FRONT_TRIALS, trials)
    if hypervolume is not None:
        client(store).log_metric(sweep.run_id, names.HYPERVOLUME, hypervolume)


def listed_sweeps(store: Store) -> list[ListedSweep]:
    """Return all sweeps of the store, newest first. Damaged records are left out with a warning.

    A complete sweep has its numbers on its run; of the others, and of earlier versions', the trials are read.
    """
    found = whole_records(_sweep_runs(store), lambda pair: _read(store, *pair))
    return sorted(found, key=lambda each: -each.started)


def _sweep_runs(store: Store) -> Iterator[tuple[str, Any]]:
    token = None
    while True:
        page = client(store).search_experiments(max_results=PAGE, page_token=token)
        for experiment in page:
            condition = names.tag_equals(names.KIND, "sweep")
            for run in client(store).search_runs([experiment.experiment_id], condition, max_results=10 * PAGE):
                yield experiment.name, run
        token = page.token
        if not token:
            return


def _read(store: Store, study: str, run: Any) -> ListedSweep:
    sweep, metrics = read_sweep(run), run.data.metrics
    started, confirmed = run.info.start_time / 1000, metrics.get(names.CONFIRMED_OBJECTIVE)
    tag = run.data.tags.get(names.BEST_TRIAL, "")
    if sweep.is_complete and names.FINISHED_TRIALS in metrics:
        number = int(tag) if tag.isdecimal() else None
        finished, objective = int(metrics[names.FINISHED_TRIALS]), metrics.get(names.BEST_OBJECTIVE)
        return ListedSweep(study, sweep, started, finished, objective, number, confirmed)
    results = list(whole_records(finished_runs(store, sweep), read_result))
    first = best(results, sweep.direction)
    if first is None:
        return ListedSweep(study, sweep, started, len(results))
    return ListedSweep(study, sweep, started, len(results), first.objective, first.trial.number, confirmed)
