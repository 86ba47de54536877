"""Train a recipe on several folds in step: one engine and one controller for each, which all observe the folds' mean.

The loop sees a single training: its metrics are the means over folds, so that folds stop together and have one best
epoch. A replicate also trains on all rows outside the test split, by the decisions of its folds; that model is kept.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.recipe.recipe import Recipe
from nightune.models.training import reported_names
from nightune.models.training.controller import Controller
from nightune.models.training.engine import Engine, EpochOutput
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from nightune.models.training.snapshots import EngineSnapshot, SnapshotError

if TYPE_CHECKING:
    from nightune.models.networks.heads import Head

ALL_ROWS = "all_rows"


@dataclass(frozen=True, eq=False)
class FoldsPlan:
    """One epoch of every member."""

    members: tuple[EpochPlan, ...]

    @property
    def epoch(self) -> int:
        """The epoch, counted from 1."""
        return self.members[0].epoch

    @property
    def recorded(self) -> dict[str, float]:
        """The values to log as curves: those of the first fold."""
        return self.members[0].recorded

    @property
    def begins_change(self) -> bool:
        """Whether other values hold from the epoch on."""
        return self.members[0].begins_change

    @property
    def begins_fine_tuning(self) -> bool:
        """Whether the epoch is the first of the second phase."""
        return self.members[0].begins_fine_tuning


@dataclass(frozen=True, eq=False)
class FoldsOutput:
    """The results of an epoch of every member; the first ones are folds."""

    members: tuple[EpochOutput, ...]

    @property
    def seconds(self) -> float:
        """The seconds of all members together."""
        return sum(output.seconds for output in self.members)

    @property
    def weights(self) -> list[np.ndarray] | None:
        """The weights of the last member, whose model is kept, if the states are those of a later epoch."""
        return self.members[-1].weights

    @property
    def all_weights(self) -> list[np.ndarray]:
        """The weights of all members, as far as known."""
        return [weight for output in self.members for weight in output.weights or ()]

    def combined(self, measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Return the means over folds, and each fold's values; `measured` are the values of the folds, by name.

        A mean is NaN or infinite if a value of any fold is.
        """
        values = {name: sum(each[name] for each in measured) / len(measured) for name in measured[0]}
        for number, each in enumerate(measured, start=1):
            values |= {f"{fold_prefix(number)}{name}": value for name, value in each.items()}
        for output in self.members[len(measured) :]:
            own = {reported_names.LOSS: output.loss, **output.statistics}
            values |= {f"{ALL_ROWS}/{name}": value for name, value in own.items()}
        return values


def fold_prefix(number: int) -> str:
    """Return the prefix of the curves of a fold, counted from 1: MLflow shows them as one section."""
    return f"fold_{number}/"


def standard_error(curves: Mapping[str, Sequence[float]], monitor: str, best_epoch: int) -> float | None:
    """Return the standard error of the mean over folds in the best epoch; None without folds or a best epoch.

    The training rows of folds overlap, so that it is an estimate that is rather too small.
    """
    scores: list[float] = []
    while f"{fold_prefix(len(scores) + 1)}{monitor}" in curves and best_epoch:
        scores.append(curves[f"{fold_prefix(len(scores) + 1)}{monitor}"][best_epoch - 1])
    return float(np.std(scores, ddof=1)) / math.sqrt(len(scores)) if scores else None


class FoldsController:
    """Decides for all members as one: each plans its own epochs, and observes the means over folds."""

    def __init__(self, members: Sequence[Controller], recipe: Recipe, room: int) -> None:
        self._members, self._room = members, room
        self._observes_means_only = recipe.stopping.is_users_own  # so that all stop in the same epoch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._members[0], name)

    def next_epoch(self) -> FoldsPlan | None:
        """Return the plans of the next epoch, or None at the end."""
        return next(iter(self.plans_ahead(1)), None)

    def plans_ahead(self, most: int) -> list[FoldsPlan]:
        """Return the plans of the next epochs, as far as no observation can change them."""
        plans = [member.plans_ahead(most) for member in self._members]
        return [FoldsPlan(tuple(replace(plan, room=self._room) for plan in each)) for each in zip(*plans, strict=True)]

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Process the metrics of the planned epoch: means for all, and to each member its own statistics.

        A statistic is what a technique measures of one training, such as the noise of its gradients.
        """
        means = {name: value for name, value in metrics.items() if "/" not in name}
        for place, member in enumerate(self._members, start=1):
            prefix = fold_prefix(place) if f"{fold_prefix(place)}{reported_names.LOSS}" in metrics else f"{ALL_ROWS}/"
            own = {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
            statistics = {} if self._observes_means_only else {n: v for n, v in own.items() if not _is_judged(n)}
            member.observe({**means, **statistics})

    @property
    def updates(self) -> int:
        """The number of updates in the observed epochs, of all members together."""
        return sum(member.updates for member in self._members)

    @property
    def examples_seen(self) -> int:
        """The number of training examples used in the observed epochs, of all members together."""
        return sum(member.examples_seen for member in self._members)

    def state(self) -> dict[str, Any]:
        """Return the states of all members as plain JSON values."""
        return {"folds": [member.state() for member in self._members]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the `state()` of a controller of the same training."""
        states = state.get("folds", ())
        if len(states) != len(self._members):
            raise ValueError("the saved state belongs to another training: its folds differ")
        for member, saved in zip(self._members, states, strict=True):
            member.restore(saved)


def _is_judged(name: str) -> bool:
    return name == reported_names.LOSS or name.startswith(reported_names.VALIDATION)


class FoldsEngine:
    """Trains each plan's members on their own data, one after the other; a state is a tuple of theirs."""

    def __init__(self, engine: Engine, folds: Sequence[Engine], trains_all_rows: bool = False) -> None:
        beside = getattr(engine, "beside", _itself)  # where trainings wait for each other, those of folds do so, too
        self._engine, self._trains_all_rows = engine, trains_all_rows
        self._members: list[Engine] = [*map(beside, folds), *([engine] if trains_all_rows else [])]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    @property
    def training_count(self) -> int:
        """The number of trainings: folds, and for a replicate the training on all rows."""
        return len(self._members)

    def start(self, recipe: Recipe, seeds: Seeds) -> tuple[Any, ...]:
        """Start every member from seeds of its own."""
        return tuple(
            engine.start(recipe, seeds.of_fold(number)) for number, engine in enumerate(self._members, start=1)
        )

    def unfreeze(self, state: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return every member at the start of its second phase."""
        return tuple(engine.unfreeze(each) for engine, each in zip(self._members, state, strict=True))

    def epochs_at_once(self, state: tuple[Any, ...], plan: FoldsPlan) -> int:
        """Return how many epochs every member computes in about a second."""
        triples = zip(self._members, state, plan.members, strict=True)
        return min(engine.epochs_at_once(each, own) for engine, each, own in triples)

    def run_epochs(
        self, state: tuple[Any, ...], plans: Sequence[FoldsPlan]
    ) -> tuple[tuple[Any, ...], list[FoldsOutput]]:
        """Execute one or more of the first plans: as many as the first member computes in one call."""
        states, outputs = [], []
        count = len(plans)
        for place, engine in enumerate(self._members):
            after, found = _run(engine, state[place], [plan.members[place] for plan in plans[:count]], place == 0)
            count = len(found)
            states.append(after)
            outputs.append(found)
        return tuple(states), [FoldsOutput(each) for each in zip(*outputs, strict=True)]

    def weights(self, state: tuple[Any, ...]) -> list[np.ndarray]:
        """Return copies of the last member's weights: its model is kept."""
        return self._members[-1].weights(state[-1])

    def is_finite(self, state: tuple[Any, ...]) -> bool:
        """Return whether all weights of all members are finite."""
        return all(engine.is_finite(each) for engine, each in zip(self._members, state, strict=True))

    def snapshot(self, state: tuple[Any, ...]) -> EngineSnapshot:
        """Return the members' snapshots as one."""
        taken = [engine.snapshot(each) for engine, each in zip(self._members, state, strict=True)]
        facts = {f"{place} {name}": value for place, each in enumerate(taken) for name, value in each.facts.items()}
        counts = {f"{place} arrays": len(each.arrays) for place, each in enumerate(taken)}
        return EngineSnapshot([array for each in taken for array in each.arrays], {**facts, **counts})

    def restore(self, state: tuple[Any, ...], snapshot: EngineSnapshot) -> tuple[Any, ...]:
        """Return the snapshot's states; SnapshotError if it is one of other folds."""
        counts = [snapshot.facts.get(f"{place} arrays", 0) for place in range(len(state))]
        if sum(counts) != len(snapshot.arrays):
            raise SnapshotError("the snapshot is from a training with other folds")
        restored, start = [], 0
        for place, (engine, each) in enumerate(zip(self._members, state, strict=True)):
            facts = {
                name.removeprefix(f"{place} "): value
                for name, value in snapshot.facts.items()
                if name.startswith(f"{place} ")
            }
            arrays = snapshot.arrays[start : start + counts[place]]
            restored.append(engine.restore(each, EngineSnapshot(arrays, facts)))
            start += counts[place]
        return tuple(restored)

    def trial_tags(self, state: tuple[Any, ...]) -> Mapping[str, str]:
        """Return tags on how the first fold is computed, and on the rows of the model that is kept."""
        rows = "all rows outside the test split" if self._trains_all_rows else f"fold {len(self._members)}"
        return {**self._members[0].trial_tags(state[0]), reported_names.TRAINED_ON: rows}

    def head(self, recipe: Recipe) -> "Head":
        """Return what the outputs of the recipe's model are, and the loss for them: one for all folds."""
        return self._engine.head(recipe)


def _itself(engine: Engine) -> Engine:
    return engine


def _run(engine: Engine, state: Any, plans: Sequence[EpochPlan], is_first: bool) -> tuple[Any, list[EpochOutput]]:
    """Execute the plans: the first member those of one call, the others all, each with the weights after it."""
    outputs: list[EpochOutput] = []
    while len(outputs) < len(plans):
        state, found = engine.run_epochs(state, plans[len(outputs) :])
        if len(plans) > 1:
            found = [replace(each, weights=engine.weights(state)) if each.weights is None else each for each in found]
        outputs += found
        if is_first:
            break
    return state, outputs
