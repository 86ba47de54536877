"""Choose the portfolio from the bank of recorded curves, and measure it on data sets that are left out.

    python benchmarks/portfolio.py [--bank benchmarks/results/bank.npz] [--write tuning/search/portfolio.json]

For each family of networks and each task, eight of the recorded configurations are chosen (tuning/search/
greedy_portfolio.py). Measured is the regret of the leader on a data set that took no part in the choice, in
thousandths: 0 is the best configuration recorded for it, 1000 the median. The leader is chosen by its loss with one
seed and judged with the other. Beside it, that of the first 8, 16, … configurations at random, from as many draws as
--draws says; "equals" is the smallest number of configurations at random with a mean regret as small. "Seeds agree" is
the rank correlation of the configurations' losses with one seed and with the other: below 0.7 a
row is noise, and the data set takes no part in means and choices.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nightune.tuning.recorded_curves import RecordedCurves, read_recorded
from nightune.tuning.search.greedy_portfolio import choose, leader_regret, leader_regrets
from nightune.tuning.search.prior_mean import PriorMean
from nightune.tuning.search.recorded_scores import mean_scores
from nightune.tuning.search.rung_agreement import rank_correlation
from nightune.tuning.search.search_space import SearchSpace
from nightune.vocabulary import OBJECTIVES

COUNT = 8
MARKS = (8, 16, 32, 64, 100)
FEWEST_SETS = 3  # of a task; with fewer, configurations are chosen on the data sets of both tasks
FEWEST_OF_FAMILY = 5  # data sets of a family; with fewer it has no portfolio
LEAST_AGREEMENT = 0.7  # of the seeds of a data set; with less its losses say little, and it takes no part
FEWEST_RECORDED = 3 * COUNT  # configurations of a family, for a choice among them
METRIC = "val_loss"
NAMED = {"classification": "val_accuracy", "regression": "val_mae"}
FIXED = ("model.architecture", "stopping.rule")  # of the bank: the family, and no early stopping
FOLDER = Path(__file__).parent


def main() -> None:
    """Print the tables, and write the file if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", type=Path, default=FOLDER / "results" / "bank.npz")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    bank = read_recorded(arguments.bank)
    large = {family: recorded for family, recorded in bank.items() if is_large(recorded)}
    for family in bank.keys() - large.keys():
        sizes = f"{len(bank[family].points)} configurations on {len(bank[family].data_sets)} data sets"
        print(f"{family}: {sizes} are too few for a portfolio ({FEWEST_RECORDED} on {FEWEST_OF_FAMILY})")
    for family, recorded in large.items():
        for task in tasks_of(recorded):
            print_table(family, task, recorded, arguments.draws)
    if arguments.write:
        write(large, arguments.bank, arguments.write)
        write_scores(large, arguments.bank, arguments.write)


def is_large(recorded: RecordedCurves) -> bool:
    """True if a family has enough configurations and data sets for a choice."""
    agreeing = [name for name in recorded.data_sets if agreement(recorded, name) >= LEAST_AGREEMENT]
    return len(recorded.points) >= FEWEST_RECORDED and len(agreeing) >= FEWEST_OF_FAMILY


def tasks_of(recorded: RecordedCurves) -> list[str]:
    """Return the tasks of a family's data sets."""
    return sorted({str(each["task"]) for each in recorded.data_sets.values()})


def sets_of(recorded: RecordedCurves, task: str) -> list[str]:
    """Return the data sets of a task."""
    return [name for name, each in recorded.data_sets.items() if each["task"] == task]


def agreement(recorded: RecordedCurves, name: str) -> float:
    """Return the rank correlation of the losses of a data set's configurations with two seeds."""
    losses = recorded.losses([name], METRIC)[0]
    return rank_correlation(losses[np.isfinite(losses).all(axis=-1)].tolist())


def sources_of(recorded: RecordedCurves, task: str, left_out: str = "") -> list[str]:
    """Return the data sets from which the portfolio of a task is chosen, without the one that is left out."""
    of_task = sets_of(recorded, task)
    chosen = of_task if len(of_task) >= FEWEST_SETS else list(recorded.data_sets)
    return [name for name in chosen if name != left_out and agreement(recorded, name) >= LEAST_AGREEMENT]


def portfolio(recorded: RecordedCurves, sources: Sequence[str]) -> list[int]:
    """Return the places of the configurations that are chosen on these data sets."""
    return choose(recorded.losses(sources, METRIC), COUNT)


def prior(recorded: RecordedCurves, space: SearchSpace, task: str, left_out: str) -> PriorMean:
    """Return the recorded points of a space with their scores on the data sets of a task, without the one left out."""
    sources = sources_of(recorded, task, left_out)
    return PriorMean(space, recorded.points, mean_scores(recorded.losses(sources, METRIC)))


def print_table(family: str, task: str, recorded: RecordedCurves, draws: int) -> None:
    """Print a row for each data set, the mean over those whose seeds agree, and that by the metric people read."""
    names, most = sets_of(recorded, task), len(recorded.points)
    marks = [mark for mark in MARKS if mark <= most]
    print(f"\n{family}, {task}: {len(names)} data sets, {most} configurations\n")
    heads = ["left out", "portfolio's 8", *(f"random {mark}" for mark in marks), "equals", "seeds agree"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    agreed = {name: agreement(recorded, name) for name in names}
    rows = {name: measured(recorded, task, name, METRIC, draws) for name in names}
    for name, row in rows.items():
        print_row(name, *row, marks, f"{agreed[name]:.2f}")
    certain = [name for name in names if agreed[name] >= LEAST_AGREEMENT]
    named = {name: measured(recorded, task, name, NAMED[task], draws) for name in certain}
    print_row(f"mean of {len(certain)}", *mean_of([rows[name] for name in certain]), marks)
    print_row(f"mean of {len(certain)}, by `{NAMED[task]}`", *mean_of([*named.values()]), marks)
    better = sum(rows[name][0] < rows[name][1][COUNT - 1] for name in certain)
    print(f"\nbetter than the mean of random's first {COUNT} on {better} of {len(certain)}")


def measured(recorded: RecordedCurves, task: str, name: str, metric: str, draws: int) -> tuple[float, np.ndarray]:
    """Return the regrets on a data set that is left out: of the portfolio, and the means of 1, 2, … at random."""
    losses = recorded.losses([name], metric, OBJECTIVES[metric])[0]
    reached = leader_regret(losses, portfolio(recorded, sources_of(recorded, task, name)))
    return reached, np.mean(list(random_regrets(losses, draws)), axis=0)


def mean_of(rows: Sequence[tuple[float, np.ndarray]]) -> tuple[float, np.ndarray]:
    """Return the means over data sets."""
    return float(np.mean([row[0] for row in rows])), np.mean([row[1] for row in rows], axis=0)


def random_regrets(losses: np.ndarray, draws: int) -> Iterator[np.ndarray]:
    """Yield for each draw the regrets after 1, 2, … configurations at random, without repetition."""
    for draw in range(draws):
        yield leader_regrets(losses, np.random.default_rng([draw, 8]).permutation(len(losses)).tolist())


def print_row(name: str, reached: float, means: np.ndarray, marks: Sequence[int], agreement: str = "") -> None:
    """Print regrets in thousandths, how many configurations at random are as good, and how far seeds agree."""
    as_good = np.flatnonzero(means <= reached)
    equals = str(as_good[0] + 1) if len(as_good) else f"above {len(means)}"
    cells = " | ".join(f"{1000 * means[mark - 1]:.0f}" for mark in marks)
    print(f"| {name} | {1000 * reached:.0f} | {cells} | {equals} | {agreement} |")


def write(bank: dict[str, RecordedCurves], bank_file: Path, file: Path) -> None:
    """Write the portfolio that is chosen on all data sets, with the command that made it and what it is from."""
    content = _origin(bank_file, file) | {
        "configurations": {family: len(recorded.points) for family, recorded in bank.items()},
        "data_sets": sorted({name for recorded in bank.values() for name in recorded.data_sets}),
        "families": {
            family: {task: _chosen(recorded, task) for task in tasks_of(recorded)} for family, recorded in bank.items()
        },
    }
    file.write_text(json.dumps(content, indent=1) + "\n")


def write_scores(bank: dict[str, RecordedCurves], bank_file: Path, portfolio_file: Path) -> None:
    """Write the scores of all recorded configurations on the data sets of each task, beside the portfolio."""
    content = _origin(bank_file, portfolio_file) | {
        "families": {
            family: {
                "configurations": [_written(recorded, place) for place in range(len(recorded.points))],
                "scores": {task: _scores(recorded, task) for task in tasks_of(recorded)},
            }
            for family, recorded in bank.items()
        }
    }
    portfolio_file.with_name("recorded_scores.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")


def _origin(bank_file: Path, file: Path) -> dict[str, object]:
    with np.load(bank_file) as arrays:
        code = json.loads(arrays["manifest"].tobytes())["code"]
    return {
        "made_by": f"python benchmarks/portfolio.py --bank benchmarks/results/{bank_file.name} --write {file}",
        "code": code,
    }


def _scores(recorded: RecordedCurves, task: str) -> list[float]:
    return mean_scores(recorded.losses(sources_of(recorded, task), METRIC)).round(3).tolist()


def _chosen(recorded: RecordedCurves, task: str) -> list[dict[str, object]]:
    return [_written(recorded, place) for place in portfolio(recorded, sources_of(recorded, task))]


def _written(recorded: RecordedCurves, place: int) -> dict[str, object]:
    """Return a configuration without what the bank fixes, numbers with four digits."""
    params = {name: value for name, value in recorded.points[place].items() if name not in FIXED}
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in params.items()}


if __name__ == "__main__":
    main()
