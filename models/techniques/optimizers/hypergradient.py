"""A learning rate that follows its own gradient (Baydin et al., 2018), as an extension of other optimizers."""

from dataclasses import dataclass
from typing import Any

from keras import ops

from nightune.models.library_internals.optimizers import index_of, update_by_parent, updates_together
from nightune.models.techniques.optimizers.gradients import at_first, dense, total


@dataclass(frozen=True)
class Hypergradient:
    """β, the bounds of the rate α, and whether its update is multiplicative."""

    strength: float
    minimum: float
    maximum: float
    is_multiplicative: bool


def following_hypergradient(kind: Any, settings: Hypergradient) -> Any:
    """Return the class with α ← α + β·g·u, u the last descent step per unit of its rate; then θ ← θ − α·(its step).

    For gradient descent u is the last gradient: equation 8. The multiplicative form, α ← α(1 + β·cos(g, u)), does not
    depend on the gradient's scale, as Adam's steps do not either. α starts at the learning rate.
    """

    @updates_together
    class FollowingHypergradient(kind):  # one subclass for each of Keras' optimizers
        hypergradient_strength = settings.strength
        hypergradient_minimum, hypergradient_maximum = settings.minimum, settings.maximum

        def build(self, variables: list[Any]) -> None:
            super().build(variables)
            self._last_steps = self.add_optimizer_variables(variables, "last_step")
            self.effective_rate = self.add_variable((), name="effective_rate")

        def update_all(self, grads: list[Any], trainable_variables: list[Any], learning_rate: Any) -> None:
            places = [index_of(self, variable) for variable in trainable_variables]
            last = [self._last_steps[place] for place in places]
            found = self._next_rate(dense(grads, trainable_variables), last)
            rate = at_first(self, found, learning_rate)
            before = [ops.convert_to_tensor(variable) + 0.0 for variable in trainable_variables]
            update_by_parent(super(), grads, trainable_variables, rate)
            self.assign(self.effective_rate, rate)
            for step, variable, old in zip(last, trainable_variables, before, strict=True):
                self.assign(step, (old - variable) / rate)

        def _next_rate(self, gradients: list[Any], last_steps: list[Any]) -> Any:
            rate, strength = self.effective_rate, self.hypergradient_strength
            along = total([gradient * step for gradient, step in zip(gradients, last_steps, strict=True)])
            if settings.is_multiplicative:
                lengths = ops.sqrt(_squares(gradients) * _squares(last_steps))
                cosine = along / ops.where(lengths > 0, lengths, 1.0)
                found = rate * (1 + strength * cosine)
            else:
                found = rate + strength * along
            return ops.minimum(ops.maximum(found, self.hypergradient_minimum), self.hypergradient_maximum)

    return FollowingHypergradient


def _squares(values: list[Any]) -> Any:
    return total([ops.square(value) for value in values])
