"""Compare search methods on recorded results, without training: python benchmarks/simulate_search.py BANK.

BANK is `bank` (`bank_tasks.py`: the points and curves that we recorded ourselves; `bank-nearest` offers any point), the
folder of the LCBench surrogate (`lcbench.py`: learning curves of 34 data sets), or `hpobench` or `hpolib`
(`hpo_tables.py`: full trainings on 8 and 4 data sets). Measured is the regret of the trial that leads after numbers of
epochs, in thousandths: 0 is the best configuration known, 1000 the median of random ones. A method with `portfolio`
begins with eight configurations that were chosen on the other data sets.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import bank_tasks
import hpo_tables
import lcbench
import numpy as np

from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.simulator import Bank, leaders, simulate
from nightune.tuning.study.budgets import brackets, largest_cost_epochs
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Params, Value

OWN_BANKS = ("bank", "bank-nearest")
PORTFOLIO = "portfolio"  # the last word of methods that begin with one
CONFIGURATIONS = 8
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

    @property
    def space(self) -> SearchSpace: ...
    def bank(self, seed: int) -> Bank: ...
    def regret(self, point: Params) -> float: ...
    def portfolio(self, count: int) -> list[dict[str, Value]]: ...


def read_tasks(bank: str) -> Sequence[Task]:
    """Return the tasks of a bank."""
    if bank in OWN_BANKS:
        return bank_tasks.read_tasks(is_table=bank == "bank")
    return hpo_tables.read_tasks(bank) if bank in hpo_tables.FAMILIES else lcbench.read_tasks(Path(bank))


def search_of(method: str, task: Task, epochs: int) -> SearchSection:
    """Return a method's section; one that is sized for its budget gets as many trials as these epochs allow."""
    settings = {"epochs": task.epochs, **METHODS[method]}
    if method == "successive_halving":
        sizes = (SearchSection.model_validate({**settings, "trials": trials}) for trials in count(2))
        fitting: list[SearchSection] = []
        for section in sizes:
            if largest_cost_epochs(brackets(section, task.space)) > epochs:
                return fitting[-1]
            fitting.append(section)
    return SearchSection.model_validate(settings)


def regrets(method: str, task: Task, seed: int, marks: Sequence[int]) -> Iterator[float]:
    """Yield the regret after each of these numbers of epochs."""
    bank = task.bank(seed)
    first = task.portfolio(CONFIGURATIONS) if method.endswith(PORTFOLIO) else []
    is_sized = method == "successive_halving"
    for part in [(mark,) for mark in marks] if is_sized else [marks]:
        search = search_of(method, task, part[-1])
        for leader in leaders(simulate(search, bank, seed, first), part, task.direction):
            yield float("nan") if leader is None else task.regret(leader.point)


def main() -> None:
    """Measure the methods and print a table; each measurement is appended to a file, from which a run resumes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank")
    parser.add_argument("--methods", default="")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--every", type=int, default=1, help="Measure the first of so many data sets, and so on.")
    parser.add_argument("--until", type=int, default=1600, help="Measure up to so many epochs.")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/simulate_search.jsonl"))
    arguments = parser.parse_args()
    tasks = read_tasks(arguments.bank)[:: arguments.every]
    has_rungs = tasks[0].epochs > 1
    every = [name for name, keys in METHODS.items() if has_rungs or _is_of_full_trainings(keys)]
    methods = arguments.methods.split(",") if arguments.methods else every
    lines = arguments.results.read_text().splitlines() if arguments.results.exists() else []
    marks = [mark for mark in tasks[0].marks if mark <= arguments.until]
    found = [row for row in map(json.loads, lines) if row["bank"] == arguments.bank]
    done = {(row["method"], row["task"], row["seed"]): row for row in found if len(row["regret"]) >= len(marks)}
    with arguments.results.open("a") as results:
        for seed in range(arguments.seeds):
            for task in tasks:
                for method in methods:
                    if (method, task.name, seed) not in done:
                        row = {"bank": arguments.bank, **_measure(method, task, seed, marks)}
                        done[(method, task.name, seed)] = row
                        print(json.dumps(row), file=results, flush=True)
    seeds = range(arguments.seeds)
    measured = {
        method: np.array([[done[method, task.name, seed]["regret"][: len(marks)] for seed in seeds] for task in tasks])
        for method in methods
    }
    _print(measured, marks)


def _is_of_full_trainings(keys: dict[str, object]) -> bool:
    return keys["method"] in ("random", "gp", "tpe", "auto") and "smallest_epochs" not in keys


def _measure(method: str, task: Task, seed: int, marks: Sequence[int]) -> dict[str, Any]:
    started = time.process_time()
    found = [round(each, 1) for each in regrets(method, task, seed, marks)]
    seconds = round(time.process_time() - started, 2)
    return {"method": method, "task": task.name, "seed": seed, "regret": found, "seconds": seconds}


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
    drawn = found["random"].mean(axis=1)
    for method, values in found.items():
        mean = values.mean(axis=1)
        for place, mark in enumerate(marks):
            reached = {
                last: int((mean[:, place] <= drawn[:, at]).sum()) for at, last in enumerate(marks) if last > mark
            }
            said = ", ".join(f"random's {last} on {number}" for last, number in reached.items())
            ratio = mean[:, place].mean() / drawn[:, place].mean()
            if method != "random":
                print(
                    f"{method} at {mark}: {ratio:.2f} of random's{f'; reaches {said} of {len(mean)}' if said else ''}"
                )


if __name__ == "__main__":
    main()
