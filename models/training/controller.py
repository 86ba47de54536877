"""The controller: plans each epoch, and decides after each whether training continues.

All policies are computed here, on the host in float64; an engine only executes the plans. The controller sees nothing
but metrics, so every engine gets the same plans, also after a restart from the controller's state.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from nightune.models.errors import InputError
from nightune.models.recipe.params import recipe_at
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.batch_sizes.gradient_noise import (
    EPOCH_SQUARE,
    SQUARE,
    VARIANCE,
    NoiseState,
    next_noise_state,
)
from nightune.models.techniques.batch_sizes.gradient_noise import Measured as MeasuredNoise
from nightune.models.techniques.batch_sizes.policies import Moment
from nightune.models.techniques.learning_rates.learning_rates import (
    batch_scales,
    clock_progress,
    learning_rates,
    momenta,
)
from nightune.models.techniques.learning_rates.schedules import Progress
from nightune.models.techniques.penalties.adaptation import Measured, divide, next_strength
from nightune.models.techniques.penalties.penalties import Strengths, keras_strengths
from nightune.models.techniques.plateaus import PlateauState, next_plateau_state
from nightune.models.techniques.stopping.rules import ERROR_RULES, LOSS_RULES
from nightune.models.techniques.stopping.state import NO_INPUTS, Observation, StoppingInputs
from nightune.models.techniques.stopping.stopping import next_stopping_state
from nightune.models.techniques.weight_decays.weight_decays import decay_shrinks, decay_strengths, with_strength_by_time
from nightune.models.training.controller_state import ControllerState, as_json, divergence, from_json, training_identity
from nightune.models.training.plan import EpochPlan
from nightune.models.training.plateau_actions import batches, plateau_rule, rate_multiplier
from nightune.vocabulary import Status, sign_of

AHEAD_OF_A_RULE = 4  # epochs


class Controller:
    """Plans one training: call `next_epoch`, train the plan, call `observe`, until `next_epoch` returns None.

    `epochs` is the full budget, the horizon of every schedule, even if training halts earlier at a rung.
    `outputs` is the number of regression targets, for the conversion of penalties.
    """

    def __init__(  # noqa: PLR0913 - independent values, fixed for the training
        self,
        recipe: Recipe,
        examples: int,
        epochs: int,
        order_seed: int,
        monitor: str,
        direction: str,
        task: str,
        *,
        outputs: int = 1,
        stopping: StoppingInputs = NO_INPUTS,
    ) -> None:
        if examples < 1 or epochs < 1:
            raise ValueError(f"training needs at least 1 example and 1 epoch; got {examples} and {epochs}")
        self._sign = sign_of(direction)
        if recipe.stopping.rule in ERROR_RULES and direction == "maximize":
            raise InputError("stopping.rule", f"{recipe.stopping.rule} follows an error, but {monitor} is maximized")
        if recipe.penalty.label_smoothing and task == "regression":
            raise InputError("penalty.label_smoothing", "regression has no classes to spread a target over")
        if recipe.stopping.is_users_own and stopping.function is None:
            raise ValueError(f"stopping.rule: {recipe.stopping.rule} needs its function")
        self._whole, self._recipe = recipe, recipe_at(recipe, 1)  # with all changes, and with the values of the epoch
        self._stop_function, self._is_rule_ignored = stopping.function, stopping.is_ignored
        self._trained = divide(recipe.penalty, examples).trained
        self._examples = len(self._trained)
        self._epochs = epochs
        self._order_seed = order_seed
        self._monitor = monitor
        self._direction = direction
        self._earlier = tuple(tuple(map(self._score, curve)) for curve in stopping.earlier_curves)
        self._task, self._outputs = task, outputs
        self._second_phase = recipe.training.second_phase  # its first epoch, 0 for none
        self._curvature = self._strengths(1.0).l2
        self._state = ControllerState(penalty=recipe.penalty.strength)
        self._planned: list[EpochPlan] = []  # the next epochs, in order

    def next_epoch(self) -> EpochPlan | None:
        """Return the plan of the next epoch, unchanged until it is observed, or None at the end."""
        return next(iter(self.plans_ahead(1)), None)

    def plans_ahead(self, most: int) -> list[EpochPlan]:
        """Return the plans of the next epochs, as far as no observation can change them.

        Return one plan if observations may change the next ones, and few if a rule may stop the training, because the
        epochs after the stop would be wasted.
        """
        if self.status != "training":
            return []
        if not self._is_open_loop:
            most = 1
        elif self._recipe.stopping.rule != "none" and not self._is_rule_ignored:
            most = min(most, AHEAD_OF_A_RULE)
        last = min(self._epochs, self._state.epoch + most)
        if self._state.epoch + 1 < self._second_phase:  # the engine unfreezes layers between two calls
            last = min(last, self._second_phase - 1)
        later = (epoch - 1 for epoch in self._whole.training.change_epochs if epoch > self._state.epoch + 1)
        last = min(last, next(later, last))
        while (epoch := self._state.epoch + len(self._planned) + 1) <= last:
            updates = self._state.updates + sum(plan.updates for plan in self._planned)
            self._planned.append(self._make_plan(epoch, updates))
        return self._planned[:most]

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Process the metrics of the planned epoch, by the names under which they are logged.

        A loss, validation loss or monitored metric that is NaN or infinite is never the best and ends the training.
        """
        if not self._planned:
            raise RuntimeError("observe needs an epoch planned by next_epoch")
        if self._monitor not in metrics:
            raise ValueError(f"monitor: unknown {self._monitor!r} (known: {', '.join(sorted(metrics))})")
        if self._recipe.stopping.rule in LOSS_RULES and "loss" not in metrics:
            raise ValueError(f"stopping.rule: {self._recipe.stopping.rule} needs the training loss among the metrics")
        if self._recipe.measures_gradients and VARIANCE not in metrics:
            raise ValueError(f"the recipe follows the gradients' noise and needs {VARIANCE} among the metrics")
        plan, score = self._planned[0], self._score(metrics[self._monitor])
        state = replace(
            self._state,
            epoch=plan.epoch,
            updates=self._state.updates + plan.updates,
            examples=self._state.examples + plan.examples,
            divergence=divergence(metrics, self._monitor),
            penalty=self._next_penalty(metrics, plan),
        )
        if not state.divergence:
            state = self._judged(state, score, metrics, plan)
        self._enter(self._begun_anew(state) if state.epoch + 1 == self._second_phase else state)
        self._planned.pop(0)

    def _enter(self, state: ControllerState) -> None:
        """Set the state before an epoch, and take the values that hold in it: those of a change, if one begins."""
        if state.epoch + 1 in self._whole.training.change_epochs:
            strength, self._recipe = self._recipe.penalty.strength, recipe_at(self._whole, state.epoch + 1)
            if self._recipe.penalty.strength != strength:  # otherwise an adapted strength stays
                state = replace(state, penalty=self._recipe.penalty.strength)
        self._state = state

    def _judged(
        self, state: ControllerState, score: float, metrics: Mapping[str, float], plan: EpochPlan
    ) -> ControllerState:
        """Return the state with the best epoch, the plateau, the noise and the stopping rule updated by the score."""
        if score < state.best_score:
            state = replace(state, best_epoch=state.epoch, best_score=score)
        rule = plateau_rule(self._recipe)
        if rule:
            state = replace(state, plateau=next_plateau_state(rule, state.plateau, state.epoch, score))
        if self._recipe.measures_gradients:
            state = replace(state, noise=self._next_noise(metrics, plan))
        seen = Observation(
            epoch=state.epoch,
            score=score,
            loss=float(metrics.get("loss", math.nan)),
            plateaus=state.plateau.count,
            sign=self._sign,
            epochs=self._epochs,
            earlier=self._earlier,
            metrics={name: float(value) for name, value in metrics.items()},
            stop_function=self._stop_function,
        )
        start = max(self._recipe.stopping.start_epoch, self._second_phase)  # no rule ends the first phase
        settings = self._recipe.stopping
        settings = settings if settings.start_epoch == start else replace(settings, start_epoch=start)
        return replace(state, stopping=next_stopping_state(settings, state.stopping, seen))

    def _begun_anew(self, state: ControllerState) -> ControllerState:
        """Return the state before the second phase: as in a second `fit`, what adapted to the first one starts anew."""
        return replace(state, plateau=PlateauState(), noise=NoiseState(), penalty=self._recipe.penalty.strength)

    def _next_noise(self, metrics: Mapping[str, float], plan: EpochPlan) -> NoiseState:
        square, variance, epoch_square, loss = (
            float(metrics.get(name, math.nan)) for name in (SQUARE, VARIANCE, EPOCH_SQUARE, "loss")
        )
        rate = float(plan.learning_rates[-1])
        measured = MeasuredNoise(plan.updates, rate, loss, square, variance, epoch_square)
        return next_noise_state(self._recipe.batch_size, self._state.noise, measured, self._examples)

    def _score(self, value: float) -> float:
        """Return the metric with its sign set so that lower is better; +inf if it is not finite."""
        return self._sign * float(value) if math.isfinite(value) else math.inf

    @property
    def is_best(self) -> bool:
        """True if the last observed epoch is strictly better than all earlier ones."""
        return 0 < self._state.best_epoch == self._state.epoch

    @property
    def best_epoch(self) -> int:
        """The epoch with the best monitored metric, counted from 1; 0 if none was finite."""
        return self._state.best_epoch

    @property
    def epoch(self) -> int:
        """The number of observed epochs."""
        return self._state.epoch

    @property
    def recipe(self) -> Recipe:
        """The recipe of the next epoch, without changes."""
        return self._recipe

    @property
    def updates(self) -> int:
        """The number of updates in the observed epochs."""
        return self._state.updates

    @property
    def examples_seen(self) -> int:
        """The number of training examples used in the observed epochs."""
        return self._state.examples

    @property
    def status(self) -> str:
        """How the training ended: "completed", "stopped_early" or "diverged"; "training" until then.

        A training that a rule would stop after the last epoch of the budget is "completed".
        """
        if self._state.divergence:
            return Status.DIVERGED
        if self._state.epoch >= self._epochs:
            return Status.COMPLETED
        return Status.STOPPED_EARLY if self._state.stopping.reason and not self._is_rule_ignored else "training"

    @property
    def message(self) -> str:
        """The reason why the training ended before its budget; empty if it did not."""
        if self.status == Status.DIVERGED:
            return f"{self._state.divergence} in epoch {self._state.epoch}"
        return f"{self._monitor}: {self._state.stopping.reason}" if self.status == Status.STOPPED_EARLY else ""

    def state(self) -> dict[str, Any]:
        """Return the state for `restore` as plain JSON values, with exact floats."""
        return {"training": self._identity(self._state.epoch), **as_json(self._state)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the `state()` of a controller of the same training, with the same plans as if uninterrupted."""
        values = {name: value for name, value in state.items() if name != "training"}
        restored = from_json(values)
        if state.get("training") != self._identity(restored.epoch):
            raise ValueError("the saved state belongs to another training: its params, data size or budget differ")
        self._recipe = recipe_at(self._whole, max(1, restored.epoch))
        self._enter(restored)
        self._planned = []

    def _strengths(self, strength: float) -> Strengths:
        """Return what an engine adds to the loss for a strength λ of the study."""
        penalty = self._recipe.penalty
        penalty = penalty if penalty.strength == strength else replace(penalty, strength=strength)
        return keras_strengths(penalty, self._task, self._outputs)

    def _next_penalty(self, metrics: Mapping[str, float], plan: EpochPlan) -> float:
        measured = Measured(metrics, float(plan.learning_rates[-1]), self._curvature)
        return next_strength(self._recipe.penalty, self._state.penalty, measured)

    @property
    def _is_open_loop(self) -> bool:
        """True if no plan depends on observations."""
        recipe = self._recipe
        return not (plateau_rule(recipe) or recipe.measures_gradients or recipe.penalty.adaptation != "none")

    def _make_plan(self, epoch: int, updates_before: int) -> EpochPlan:
        recipe, examples = self._recipe, self._examples
        plateaus, noise = self._state.plateau.count, self._state.noise
        planned = batches(recipe, Moment(examples, epoch, self._epochs, plateaus, self._order_seed, noise.size))
        progress = Progress.count((epoch - 1) * examples, planned.sizes, self._epochs * examples)
        multiplier = rate_multiplier(recipe, plateaus) * planned.rate_multiplier
        if 0 < self._second_phase <= epoch:
            multiplier *= recipe.training.fine_tuning_fraction
        clock = clock_progress(recipe.learning_rate, progress, updates_before, self._epochs * examples)
        unscaled = learning_rates(recipe.learning_rate, clock) * multiplier
        rates = unscaled * batch_scales(recipe.learning_rate, planned.scaling_sizes, noise.scale)
        rate_fractions = unscaled / recipe.learning_rate.peak  # decay depends on the schedule, not on the batch size
        scale = float(batch_scales(recipe.learning_rate, planned.scaling_sizes)[0])
        updates = self._epochs * len(planned.sizes)
        decay = with_strength_by_time(recipe.weight_decay, scale * recipe.learning_rate.peak, updates)
        strengths = decay_strengths(decay, progress.before, rate_fractions)
        shrinks = decay_shrinks(decay, strengths, rates, rate_fractions)
        penalty, cycled = self._strengths(self._state.penalty), momenta(recipe.learning_rate, progress)
        shuffled = self._trained[np.random.default_rng([self._order_seed, epoch]).permutation(examples)]
        return EpochPlan(
            epoch=epoch,
            order=np.resize(shuffled, int(planned.sizes.sum())),  # truncated, or repeated from its start
            batch_sizes=planned.sizes,
            learning_rates=rates.astype(np.float32),
            shrinks=shrinks.astype(np.float32),
            weight_decay=float(strengths[-1]),
            l1=penalty.l1,
            l2=penalty.l2,
            penalty=0.0 if recipe.penalty.kind == "none" else self._state.penalty,
            proximal=penalty.proximal,
            momenta=None if cycled is None else cycled.astype(np.float32),
            begins_change=epoch in self._whole.training.change_epochs,
            begins_fine_tuning=epoch == self._second_phase,
        )

    def _identity(self, epoch: int) -> dict[str, Any]:
        rules: dict[str, Any] = {"order_seed": self._order_seed, "monitor": self._monitor, "direction": self._direction}
        return training_identity(self._whole, epoch, examples=self._examples, epochs=self._epochs, **rules)
