"""Replay a search on recorded learning curves: which trial would lead after how many epochs, without training."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from statistics import fmean

from nightune.tuning.search.gaussian_process import gaussian_process
from nightune.tuning.search.guidance import Guidance
from nightune.tuning.search.observations import Observation, observed
from nightune.tuning.search.prior_mean import PriorMean
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.search.structures import Structure
from nightune.tuning.study.budgets import brackets, survivors, without_repeats
from nightune.tuning.study.rounds import bracket_points, proposer_of, settled
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Bracket, Params, Status, Trial, TrialResult, Value
from nightune.vocabulary import sign_of

Curve = Callable[[Params, int], Sequence[float]]
FIRST_REPLICATE = 1_000_000  # the number of the first one, beyond those of trials, so that its luck is its own


@dataclass(frozen=True)
class Bank:
    """Recorded curves: the objective by epoch of any point, as measured for a trial of this number.

    A curve may be shorter than the search's epochs, as after an early stop; NaN are epochs that were not finite.
    `points` are the only ones that were recorded, of which a search chooses, each once; None if there is any point.
    `structure` tells which points share a program, for methods that prefer few.
    """

    space: SearchSpace
    direction: str
    curve: Curve
    points: tuple[Params, ...] | None = None
    structure: Structure | None = None


@dataclass(frozen=True, slots=True)
class Training:
    """A part of a trial's training, from the end of its last rung to that of this one, with its curve so far."""

    trial: int
    point: Params
    begin: int
    end: int
    curve: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Leader:
    """The trial with the best objective after a number of epochs of a search."""

    trial: int
    point: Params
    objective: float


def simulate(
    search: SearchSection, bank: Bank, seed: int, first: Sequence[Params] = (), prior: PriorMean | None = None
) -> Iterator[Training]:
    """Yield the trainings of a search in order, as `nightune tune` would train them, until a sweep has no epoch.

    `first` are the points that each sweep begins with; of the bank's, if it has points. `prior` is what its model
    expects before there are results. A complete sweep is followed by the next one, with other draws and without the
    results of the first. A trial's number continues there.
    """
    search = without_repeats(search, bank.space)
    done = 0
    for sweep in count():
        trained = trials = 0
        for training in _Sweep(search, bank, (seed, sweep), first, prior).trainings(done):
            trained, trials = trained + training.end - training.begin, max(trials, training.trial + 1 - done)
            yield training
        if not trained:
            return
        done += trials


def leaders(trainings: Iterator[Training], epochs: Sequence[int], direction: str) -> list[Leader | None]:
    """Return the leader after each of these numbers of epochs, ascending; None if no objective was finite.

    A training that is under way counts as far as it has come.
    """
    sign, spent, best = sign_of(direction), 0, None
    found: list[Leader | None] = []
    for training in trainings:
        length = training.end - training.begin
        while len(found) < len(epochs) and spent + length >= epochs[len(found)]:
            found.append(_better(best, training, training.begin + epochs[len(found)] - spent, sign))
        if len(found) == len(epochs):
            return found
        best, spent = _better(best, training, training.end, sign), spent + length
    return found


def within_budget(
    trainings: Iterable[Training], total_epochs: int, replicate_epochs: Callable[[int], int]
) -> Iterator[Training]:
    """Yield the trainings that a total of epochs admits, as `[search] total_epochs` does.

    `replicate_epochs` returns the epochs of the confirmation after so many trials, for which room is kept.
    """
    spent, trials = 0, set[int]()
    for training in trainings:
        trials.add(training.trial)
        spent += training.end - training.begin
        if spent + replicate_epochs(len(trials)) > total_epochs:
            return
        yield training


def finalists(trainings: Iterable[Training], count: int, direction: str) -> list[Leader]:
    """Return the trials with the best objectives, best first, ties by trial number; only those with a finite one."""
    sign = sign_of(direction)
    latest = {each.trial: each for each in trainings}
    found = [Leader(number, each.point, _best(each.curve, sign)[0]) for number, each in latest.items()]
    ranked = [each for each in found if math.isfinite(each.objective)]
    return sorted(ranked, key=lambda each: (sign * each.objective, each.trial))[:count]


def confirmed_best(candidates: Iterable[Leader], bank: Bank, replicates: int, draw: int = 0) -> Leader | None:
    """Return the finalist with the best mean over replicates, its objective; None if no mean is finite.

    Each `draw` has replicates of its own. `nightune tune` chooses the cheapest of those that are hardly worse: costs
    are not recorded here.
    """
    sign, first = sign_of(bank.direction), FIRST_REPLICATE * (1 + draw)
    found: list[Leader] = []
    for each in candidates:
        numbers = range(first + each.trial * replicates, first + (each.trial + 1) * replicates)
        mean = fmean(_best(bank.curve(each.point, number), sign)[0] for number in numbers)
        if math.isfinite(mean):
            found.append(replace(each, objective=mean))
    return min(found, key=lambda each: (sign * each.objective, each.trial), default=None)


@dataclass(frozen=True)
class _Sweep:
    """One sweep of a simulated search, which begins with these points and this prior."""

    search: SearchSection
    bank: Bank
    seed: tuple[int, int]
    first: Sequence[Params]
    prior: PriorMean | None

    def trainings(self, done: int) -> Iterator[Training]:
        """Yield its trainings in order; `done` trials of the sweeps before have the numbers below its own."""
        search, bank = self.search, self.bank
        observations: list[Observation] = []
        taken: list[Params] = []
        for planned in brackets(search, bank.space):
            bracket = settled(search, planned, observations)
            points = self._points(bracket, observations, taken)
            taken += points
            trials = [
                Trial(bracket.first + place, dict(point), 0, "", point=point) for place, point in enumerate(points)
            ]
            curves = {
                each.number: tuple(bank.curve(each.point, done + each.number))[: search.epochs] for each in trials
            }
            remaining, begin = trials, 0
            rungs: list[tuple[int, list[TrialResult]]] = []
            for rung in bracket.rungs:
                entrants = remaining[: rung.trials]
                for each in entrants:
                    curve = curves[each.number][: rung.epochs]
                    yield Training(done + each.number, each.point, min(begin, len(curve)), len(curve), curve)
                results = [_result(each, curves[each.number][: rung.epochs], bank.direction) for each in entrants]
                rungs.append((rung.epochs, results))
                remaining, begin = survivors(results, bank.direction), rung.epochs
            observations += observed(trials, rungs, bank.direction)

    def _points(
        self, bracket: Bracket, observations: Sequence[Observation], taken: Sequence[Params]
    ) -> list[dict[str, Value]]:
        """Return the points of a bracket: as a sweep has them, or of those that were recorded and not yet taken."""
        bank, guidance = self.bank, Guidance(self.prior, self.bank.structure)
        proposer = proposer_of(self.search, bracket, guidance)
        if bank.points is None:
            kept = () if proposer else self.first
            return bracket_points(self.search, bank.space, bracket, observations, self.seed, kept, guidance)
        propose = proposer or gaussian_process  # which draws without observations
        seen = observations if proposer else ()
        begun = [] if proposer else [dict(point) for point in self.first[bracket.first :][: bracket.trials]]
        left = [point for point in bank.points if point not in taken and point not in begun]
        return [*begun, *propose(bank.space, seen, (), bracket.trials - len(begun), (*self.seed, bracket.first), left)]


def _result(trial: Trial, curve: Sequence[float], direction: str) -> TrialResult:
    objective, epoch = _best(curve, sign_of(direction))
    return TrialResult(trial, Status.COMPLETED, objective, epoch, len(curve), 0, 0, 0.0)


def _best(curve: Sequence[float], sign: float) -> tuple[float, int]:
    """Return the best finite value of a curve and its epoch, from 1; NaN and 0 if there is none."""
    finite = [(sign * value, epoch) for epoch, value in enumerate(curve, start=1) if math.isfinite(value)]
    if not finite:
        return math.nan, 0
    value, epoch = min(finite)
    return sign * value, epoch


def _better(best: Leader | None, training: Training, epochs: int, sign: float) -> Leader | None:
    """Return the leader after a training has come to this epoch; of equal ones, the earlier."""
    objective, _ = _best(training.curve[:epochs], sign)
    if math.isnan(objective) or (best is not None and sign * objective >= sign * best.objective):
        return best
    return Leader(training.trial, training.point, objective)
