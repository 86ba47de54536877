"""The winners that `[confirmation]` chooses by its defaults, within a total number of epochs: simulated searches."""

from collections.abc import Iterator, Sequence
from functools import partial

from nightune.tuning.simulator import Bank, Leader, Training, confirmed_best, finalists, within_budget
from nightune.tuning.study.sections import ConfirmationSection, counts_after


def replicate_epochs(epochs: int, trials: int) -> int:
    """Return the epochs of the confirmation after so many trials, where a full training takes `epochs`."""
    return epochs * ConfirmationSection().after(trials).trainings


def confirmed_winners(
    trainings: Iterator[Training], bank: Bank, epochs: int, marks: Sequence[int], draws: Sequence[int]
) -> Iterator[list[Leader | None]]:
    """Yield for each of the total numbers of epochs, ascending, the winner by each draw of the replicates.

    A full training takes `epochs`, and those of the confirmation are among the total.
    """
    longest = list(within_budget(trainings, marks[-1], lambda trials: 0))
    for mark in marks:
        held = list(within_budget(longest, mark, partial(replicate_epochs, epochs)))
        most, replicates = counts_after(len({each.trial for each in held}))
        best = finalists(held, most, bank.direction)
        yield [confirmed_best(best, bank, replicates, draw) for draw in draws]
