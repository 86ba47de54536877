"""Compare search methods on recorded results, without training: python benchmarks/simulate_search.py BANK.

BANK is `bank` (`bank_tasks.py`: the points and curves that we recorded ourselves; `bank-nearest` offers any point), the
folder of the LCBench surrogate (`lcbench.py`: learning curves of 34 data sets), or `hpobench` or `hpolib`
(`hpo_tables.py`: full trainings on 8 and 4 data sets). Measured is the regret of the trial that leads after numbers of
epochs, in thousandths: 0 is the best configuration known, 1000 the median of random ones. A method with `portfolio`
begins with eight configurations that were chosen on the other data sets, and its model with the scores of recorded ones
there (decision 168). With `--confirm 8` it is the regret of the winner that `[confirmation]` chooses by its default
numbers of finalists and seeds, all within the same epochs, as a mean over eight draws of the replicates. With
`--few-structures` proposals prefer networks that earlier trials had, as those of `nightune tune` do; the number of
different ones among the first 24, 40, 60 and 100 trials is saved either way.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import bank_tasks
import hpo_tables
import lcbench
import numpy as np
from confirmed_winners import confirmed_winners, replicate_epochs

from nightune.tuning.search.prior_mean import PriorMean
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.simulator import Bank, Leader, Training, leaders, simulate
from nightune.tuning.study.budgets import brackets, largest_cost_epochs
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Params, Value

OWN_BANKS = ("bank", "bank-nearest")
PORTFOLIO = "portfolio"  # the last word of methods that begin with one
SIZED = ("successive_halving",)
CONFIGURATIONS = 8
COUNTED_TRIALS = (24, 40, 60, 100)  # among which structures are counted
METHODS: dict[str, dict[str, object]] = {
    "random": {"method": "random", "trials": 256},
    "successive_halving": {"method": "successive_halving"},  # with as many trials as the epochs allow
    "hyperband": {"method": "hyperband"},
    "rounds at random": {"method": "successive_halving", "trials": 16},
    "gp": {"method": "gp", "trials": 256},
    "gp with rungs": {"method": "gp", "trials": 256, "smallest_epochs": 3},
    "tpe": {"method": "tpe", "trials": 256},
    "tpe with rungs": {"method": "tpe", "trials": 256, "smallest_epochs": 3},
    "auto": {"method": "auto", "trials": 256, "start": "none"},
    "auto with portfolio": {"method": "auto", "trials": 256},
}


class Task(Protocol):
    """One data set of a bank: recorded curves, the regret of a configuration, and those that are good on the others."""

    name: str
    epochs: int
    marks: Sequence[int]
    direction: str
    structural: Sequence[str]  # the dimensions that decide which network is compiled

    @property
    def space(self) -> SearchSpace: ...
    def bank(self, seed: int) -> Bank: ...
    def regret(self, point: Params) -> float: ...
    @property
    def prior(self) -> PriorMean: ...
    def portfolio(self, count: int) -> list[dict[str, Value]]: ...


def read_tasks(bank: str) -> Sequence[Task]:
    """Return the tasks of a bank."""
    if bank in OWN_BANKS:
        return bank_tasks.read_tasks(is_table=bank == "bank")
    return hpo_tables.read_tasks(bank) if bank in hpo_tables.FAMILIES else lcbench.read_tasks(Path(bank))


def search_of(method: str, task: Task, epochs: int, is_confirmed: bool) -> SearchSection | None:
    """Return a method's section; one that is sized for its budget gets as many trials as fit, None if none do."""
    settings = {"epochs": task.epochs, **METHODS[method]}
    if method not in SIZED:
        return SearchSection.model_validate(settings)
    fitting = None
    for trials in count(2):
        section = SearchSection.model_validate({**settings, "trials": trials})
        room = epochs - (replicate_epochs(task.epochs, trials) if is_confirmed else 0)
        if largest_cost_epochs(brackets(section, task.space)) > room:
            break
        fitting = section
    return fitting


def regrets(
    method: str, task: Task, bank: Bank, seed: int, marks: Sequence[int], draws: int, points: dict[int, Params]
) -> Iterator[float]:
    """Yield the regret after each of these numbers of epochs; NaN where nothing is found, or too few are left.

    It is that of the leader, or the mean over so many `draws` of confirmed winners. `points` gets those of all trials.
    """
    has_portfolio = method.endswith(PORTFOLIO)
    first = task.portfolio(CONFIGURATIONS) if has_portfolio else []
    prior = task.prior if has_portfolio else None
    for part in [(mark,) for mark in marks] if method in SIZED else [marks]:
        search = search_of(method, task, part[-1], draws > 0)
        trainings = iter(()) if search is None else _noted(simulate(search, bank, seed, first, prior), points)
        winners = confirmed_winners(trainings, bank, task.epochs, part, range(draws))
        for found in winners if draws else _leaders(trainings, task, part):
            regret = [float("nan") if each is None else task.regret(each.point) for each in found]
            yield sum(regret) / len(regret)


def _noted(trainings: Iterator[Training], points: dict[int, Params]) -> Iterator[Training]:
    for each in trainings:
        points[each.trial] = each.point
        yield each


def _leaders(trainings: Iterator[Training], task: Task, marks: Sequence[int]) -> Iterator[list[Leader | None]]:
    return ([each] for each in leaders(trainings, marks, task.direction))


def main() -> None:
    """Measure the methods and print a table; each measurement is appended to a file, from which a run resumes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank")
    parser.add_argument("--methods", default="")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--every", type=int, default=1, help="Measure the first of so many data sets, and so on.")
    parser.add_argument("--until", type=int, default=1600, help="Measure up to so many epochs.")
    parser.add_argument("--confirm", type=int, default=0, help="Measure winners over so many draws of replicates.")
    parser.add_argument("--few-structures", action="store_true", help="Prefer networks that earlier trials had.")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/simulate_search.jsonl"))
    arguments = parser.parse_args()
    tasks = read_tasks(arguments.bank)[:: arguments.every]
    has_rungs = tasks[0].epochs > 1
    every = [name for name, keys in METHODS.items() if has_rungs or _is_of_full_trainings(keys)]
    methods = arguments.methods.split(",") if arguments.methods else every
    lines = arguments.results.read_text().splitlines() if arguments.results.exists() else []
    marks = [mark for mark in tasks[0].marks if mark <= arguments.until]
    bank = f"{arguments.bank}, {arguments.confirm} draws of replicates" if arguments.confirm else arguments.bank
    bank += ", few structures" if arguments.few_structures else ""
    found = [row for row in map(json.loads, lines) if row["bank"] == bank]
    done = {(row["method"], row["task"], row["seed"]): row for row in found if len(row["regret"]) >= len(marks)}
    with arguments.results.open("a") as results:
        for seed in range(arguments.seeds):
            for task in tasks:
                for method in methods:
                    if (method, task.name, seed) not in done:
                        measured = _measure(method, task, seed, marks, arguments.confirm, arguments.few_structures)
                        row = {"bank": bank, **measured}
                        done[(method, task.name, seed)] = row
                        print(json.dumps(row), file=results, flush=True)
    seeds = range(arguments.seeds)
    regret = {
        method: np.array([[done[method, task.name, seed]["regret"][: len(marks)] for seed in seeds] for task in tasks])
        for method in methods
    }
    _print(regret, marks)


def _is_of_full_trainings(keys: dict[str, object]) -> bool:
    return keys["method"] in ("random", "gp", "tpe", "auto") and "smallest_epochs" not in keys


def _measure(method: str, task: Task, seed: int, marks: Sequence[int], draws: int, prefers_few: bool) -> dict[str, Any]:
    def structure(point: Params) -> str:
        return json.dumps([point[name] for name in task.structural])

    bank, points, started = task.bank(seed), dict[int, Params](), time.process_time()
    bank = replace(bank, structure=structure) if prefers_few else bank
    found = [round(each, 1) for each in regrets(method, task, bank, seed, marks, draws, points)]
    seconds = round(time.process_time() - started, 2)
    held = [structure(points[number]) for number in sorted(points)]
    counts = {most: len(set(held[:most])) for most in COUNTED_TRIALS if len(held) >= most}
    row = {"method": method, "task": task.name, "seed": seed, "regret": found, "seconds": seconds}
    return row if method in SIZED else {**row, "structures": counts}


def _print(found: dict[str, np.ndarray], marks: Sequence[int]) -> None:
    """Print the mean and the median over tasks and seeds, the standard error over seeds, and wins against random.

    `found` is (tasks, seeds, marks) by method.
    """
    print(
        "| regret after epochs, mean (median) ± error | "
        + " | ".join(map(str, marks))
        + " |\n|---|"
        + "---|" * len(marks)
    )
    for method, values in found.items():
        seeds = values.mean(axis=0)
        error = seeds.std(axis=0, ddof=1) / len(seeds) ** 0.5 if len(seeds) > 1 else np.full(len(marks), np.nan)
        rows = zip(values.mean(axis=(0, 1)), np.median(values, axis=(0, 1)), error, strict=True)
        print(
            f"| {method} | "
            + " | ".join(f"{mean:.0f} ({middle:.0f}) ± {each:.0f}" for mean, middle, each in rows)
            + " |"
        )
    if "random" not in found:
        return
    drawn = found["random"]
    for method, values in found.items():
        for place, mark in enumerate(marks):
            said = ", ".join(
                f"random's {last} on {_reached(values[..., place], drawn[..., at])}"
                for at, last in enumerate(marks)
                if last > mark
            )
            ratio = values[..., place].mean() / drawn[..., place].mean()
            if method != "random":
                reaches = f"; reaches {said} of {len(values)} (by medians)" if said else ""
                print(f"{method} at {mark}: {ratio:.2f} of random's{reaches}")


def _reached(values: np.ndarray, drawn: np.ndarray) -> str:
    """Return on how many tasks the mean over seeds is as low, and the median; both are (tasks, seeds)."""
    by_mean, by_median = (int((of(values, axis=1) <= of(drawn, axis=1)).sum()) for of in (np.mean, np.median))
    return f"{by_mean} ({by_median})"


if __name__ == "__main__":
    main()
