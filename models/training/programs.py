"""Programs: what the trials of one graph key share, as functions of state and numbers that a backend can compile."""

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import keras
import numpy as np
from keras import ops

from models.architectures import ARCHITECTURES
from models.outputs import Head
from models.recipe import Recipe
from models.training.evaluated_weights import EFFECTIVE_RATE
from models.training.hyperparameters import Hyperparameter, make_variable
from models.training.lone_replica import without_replicas
from models.training.optimizer_numbers import build_numbered_optimizer, initial_slots, optimizer_structure
from models.training.penalty_measurements import ZERO_SHARE, share_of_zeros
from models.training.plan import EpochPlan
from models.training.updates import decayed_weights
from models.user_code import source_digest

KEPT_PROGRAMS = 32  # the least recently used one goes; each holds a model, its slots and its compiled functions

Arrays = list[Any]
State = tuple[Arrays, Arrays, Arrays]  # trainable weights, other variables, slots
P = TypeVar("P")

# In these an example's output, in training, depends on the other examples of its batch.
_COUPLING = (keras.layers.BatchNormalization, keras.layers.SpectralNormalization, keras.layers.Normalization)


def graph_key(recipe: Recipe, folder: Path) -> str:
    """What changes the computation's graph; trials of one key share one program. The data is the engine's.

    All other numbers are data: rates, decay, penalties, momentum and Nesterov, β, ρ, ε, limits of clipping, what an
    average forgets, how fast a rate follows its gradient, the dropout rate of our own architectures where something is
    dropped, how much labels are smoothed where they are, batch sizes.
    """
    update = f"{optimizer_structure(recipe)}{recipe.decay_structure}"
    return f"{model_key(recipe, folder)} · {update}{recipe.loss_structure}"


def model_key(recipe: Recipe, folder: Path) -> str:
    """What changes the model, but for its weights and for a dropout rate that is data."""
    model = dict(recipe.model)
    if has_dropout_as_data(recipe):
        model["dropout"] = "data"
    code = source_digest(recipe.architecture, folder)
    shape = json.dumps(model, sort_keys=True, default=str)
    policy = recipe.precision.policy if recipe.precision.is_mixed else keras.config.dtype_policy().name
    return f"{recipe.architecture} {code} {shape} · {policy}"


def has_dropout_as_data(recipe: Recipe) -> bool:
    """True for our own architectures where something is dropped: `dropout` is the rate of all their Dropout layers.

    Not in mixed precision, where Keras rounds what follows from a rate in other places than a program would.
    """
    is_ours = recipe.architecture in ARCHITECTURES and not recipe.precision.is_mixed
    return is_ours and recipe.model.get("dropout", 0.0) != 0.0


def is_separable(model: keras.Model) -> bool:
    """True if a batch's gradient is the sum of its examples', as far as that is known: Keras' own layers, uncoupled.

    Of other layers it is not known what they make of a batch.
    """
    layers = model._flatten_layers()  # Keras has no public walk to the layers inside layers
    return all(
        type(layer).__module__.startswith("keras.src.")
        and not isinstance(layer, _COUPLING)
        and getattr(layer, "activity_regularizer", None) is None
        for layer in layers
    )


def is_noisy(model: keras.Model) -> bool:
    """True if random numbers are drawn in training: dropout, noise, augmentation."""
    return any(variable.name == "seed_generator_state" for variable in model.variables)


def disturbed(recipe: Recipe) -> Recipe:
    """Return a recipe of the same graph key with other numbers, which a program must not have baked in."""
    optimizer = recipe.optimizer
    numbers = {name: 0.7 * getattr(optimizer, name) for name in _NUMBERS}
    model = {**recipe.model, "dropout": 0.7 * recipe.model["dropout"]} if has_dropout_as_data(recipe) else recipe.model
    penalty, rate = recipe.penalty, recipe.learning_rate
    rates = {name: 0.7 * getattr(rate, name) for name in ("peak", "hypergradient_strength", "hypergradient_maximum")}
    return replace(
        recipe,
        optimizer=replace(optimizer, **numbers),
        learning_rate=replace(rate, **rates),
        weight_decay=replace(recipe.weight_decay, strength=0.7 * recipe.weight_decay.strength),
        penalty=replace(penalty, strength=0.7 * penalty.strength, label_smoothing=0.7 * penalty.label_smoothing),
        model=model,
    )


def has_convolutions(model: keras.Model) -> bool:
    """True for models that XLA on a CPU computes slowly inside loops (openxla/xla#34273)."""
    return any("Conv" in type(layer).__name__ for layer in model._flatten_layers())


_NUMBERS = (
    "one_minus_momentum",
    "one_minus_beta_1",
    "one_minus_beta_2",
    "one_minus_rho",
    "epsilon",
    "initial_accumulator",
    "initial_distance",
    "gradient_clip_limit",
    "weight_average_one_minus_decay",
)


class Program:
    """One graph as pure functions. State is three lists of arrays: trainable weights, other variables, slots."""

    def __init__(self, model: keras.Model, head: Head, recipe: Recipe) -> None:
        self.model, self.head = model, head
        self.trainable = model.trainable_variables
        self.rest = model.non_trainable_variables  # moving statistics, states of random streams
        self._loss = self._trained_loss = head.make_loss()
        self._smoothing = [Hyperparameter(0.0, "label_smoothing")] if recipe.penalty.label_smoothing else []
        if self._smoothing:
            self._trained_loss = head.make_loss(self._smoothing[0])
        self._decayed = decayed_weights(model)
        optimizer, self._optimizer_numbers = build_numbered_optimizer(recipe, model)
        self._optimizer = without_replicas(optimizer)
        self.slots = self._optimizer.variables
        self._l1, self._l2 = Hyperparameter(0.0, "l1"), Hyperparameter(0.0, "l2")
        dropouts = _dropout_layers(model) if has_dropout_as_data(recipe) else []
        self._dropouts = [make_variable(layer, "rate") for layer in dropouts]
        rule = [variable for variable, _ in self._optimizer_numbers.values()]
        self._proximal = [self._optimizer.proximal] if hasattr(self._optimizer, "proximal") else []
        self._numbers = [self._l1, self._l2, *self._dropouts, *self._smoothing, *self._proximal, *rule]
        self.is_separable = is_separable(model)
        self.has_convolutions = has_convolutions(model)
        self.has_noise_of_its_own = is_noisy(model) and not self._dropouts  # XLA draws other noise than `fit`
        places = {id(variable): place for place, variable in enumerate([*self.trainable, *self.rest])}
        self._weight_places = [places[id(weight)] for weight in model.weights]

    @property
    def numbers_count(self) -> int:
        """How many numbers `numbers` returns."""
        return len(self._numbers)

    def numbers(self, recipe: Recipe, plan: EpochPlan) -> np.ndarray:
        """The values of all that is data but does not change within an epoch, as one float32 vector."""
        rule = [read(recipe) for _, read in self._optimizer_numbers.values()]
        dropouts = [recipe.model["dropout"] for _ in self._dropouts]
        smoothing = [recipe.penalty.label_smoothing for _ in self._smoothing]
        proximal = [plan.proximal for _ in self._proximal]
        return np.array([plan.l1, plan.l2, *dropouts, *smoothing, *proximal, *rule], np.float32)

    def initial_state(self, weights: Sequence[Any], recipe: Recipe) -> State:
        """Return the state with these weights, given in the model's order, and the model's own random streams."""
        values = [None] * len(self.trainable) + [ops.convert_to_numpy(variable) for variable in self.rest]
        for place, weight in zip(self._weight_places, weights, strict=True):
            values[place] = weight
        count = len(self.trainable)
        return values[:count], values[count:], initial_slots(self._optimizer, recipe.optimizer)

    def weights(self, state: State) -> Arrays:
        """Return the weights of the model that is measured and kept, in its order."""
        values = [*self.evaluated(state), *state[1]]
        return [values[place] for place in self._weight_places]

    def evaluated(self, state: State) -> Arrays:
        """Return the trainable weights that are measured and kept: where the optimizer has averages, those."""
        trainable, _, slots = state
        if not hasattr(self._optimizer, "evaluation_values"):
            return trainable
        pairs = [*zip(self.trainable, trainable, strict=True), *zip(self.slots, slots, strict=True)]
        with keras.StatelessScope(pairs):
            return list(self._optimizer.evaluation_values())

    @property
    def has_statistics(self) -> bool:
        """True if an epoch has curves of its own."""
        return bool(self._proximal) or hasattr(self._optimizer, "effective_rate")

    def statistics(self, state: State) -> dict[str, float]:
        """The curves after an epoch: the rate that the optimizer found, and the share of exact zeros of the kernels."""
        found: dict[str, float] = {}
        if hasattr(self._optimizer, "effective_rate"):
            place = next(place for place, slot in enumerate(self.slots) if slot is self._optimizer.effective_rate)
            found[EFFECTIVE_RATE] = float(state[2][place])
        if self._proximal:
            kernels = {id(kernel) for kernel in self._decayed}
            pairs = zip(self.trainable, self.evaluated(state), strict=True)
            found[ZERO_SHARE] = share_of_zeros(
                np.asarray(value) for variable, value in pairs if id(variable) in kernels
            )
        return found

    def loss(
        self, trainable: Arrays, rest: Arrays, numbers: Any, inputs: Any, targets: Any, weights: Any
    ) -> tuple[Any, tuple[Any, Arrays]]:
        """Return the weighted sum of the examples' losses as it is minimized: smoothed, and with what layers add.

        And beside it the plain sum, and the rest.
        """
        with keras.StatelessScope(self._mapping(trainable, rest, numbers), collect_losses=True) as scope:
            outputs = as_kept(self.model(inputs, training=True))
            loss = minimized = ops.sum(self._loss.call(targets, outputs) * weights)
            if self._smoothing:
                minimized = ops.sum(self._trained_loss.call(targets, outputs) * weights)
            added = sum(scope.losses, start=ops.zeros(()))
            rest = [scope.get_current_value(variable) for variable in self.rest]
        return minimized + added, (loss, rest)

    def penalty(self, trainable: Arrays, numbers: Any) -> Any:
        """Return l1·Σ|θ| + l2·Σθ² over the decayed weights, and the model's own regularizers."""
        with keras.StatelessScope(self._mapping(trainable, [], numbers)):
            penalty = ops.zeros(())
            for weight in self._decayed:
                value = weight.value
                penalty += self._l1.value * ops.sum(ops.abs(value)) + self._l2.value * ops.sum(ops.square(value))
            for variable in self.trainable:
                if variable.regularizer is not None:
                    penalty += variable.regularizer(variable.value)
        return penalty

    def apply(
        self, trainable: Arrays, slots: Arrays, numbers: Any, gradients: Arrays, rates: Any
    ) -> tuple[Arrays, Arrays]:
        """Decay, and make the optimizer's step; rates: learning rate, shrink, and momentum where it moves."""
        # The numbers come last: some of them are slots, too, for the engine `fit`.
        mapping = list(zip(self.slots, slots, strict=True)) + self._mapping(trainable, [], numbers)
        mapping += [(self._optimizer._learning_rate, rates[0]), (self._optimizer.shrink, rates[1])]
        if hasattr(self._optimizer, "cycled"):
            mapping.append((self._optimizer.cycled, rates[2]))
        with keras.StatelessScope(mapping) as scope:
            self._optimizer.apply(gradients, self.trainable)
            moved = [scope.get_current_value(variable) for variable in self.trainable]
            return moved, [scope.get_current_value(variable) for variable in self.slots]

    def predict(self, trainable: Arrays, rest: Arrays, numbers: Any, inputs: Any) -> Any:
        """Return outputs in inference mode, (examples, size)."""
        with keras.StatelessScope(self._mapping(trainable, rest, numbers)):
            return as_kept(self.model(inputs, training=False))

    def _mapping(self, trainable: Arrays, rest: Arrays, numbers: Any) -> list[tuple[Any, Any]]:
        values = [numbers[place] for place in range(len(self._numbers))]
        rest_pairs = zip(self.rest, rest, strict=False)
        return [*zip(self.trainable, trainable, strict=True), *rest_pairs, *zip(self._numbers, values, strict=True)]


class ProgramCache(Generic[P]):
    """The programs of the keys used last, at most so many."""

    def __init__(self, size: int = KEPT_PROGRAMS) -> None:
        self._size = size
        self._programs: OrderedDict[str, P] = OrderedDict()

    def get(self, key: str, make: Callable[[], P]) -> P:
        """Return the key's program, made if there is none."""
        if key not in self._programs:
            while len(self._programs) >= self._size:
                self._programs.popitem(last=False)
            self._programs[key] = make()
        self._programs.move_to_end(key)
        return self._programs[key]

    def __len__(self) -> int:
        return len(self._programs)


def as_kept(outputs: Any) -> Any:
    """Outputs in the type that weights are kept in: in mixed precision a layer's own are of fewer bits."""
    return ops.cast(outputs, keras.config.floatx())


def _dropout_layers(model: keras.Model) -> list[Any]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout)]
