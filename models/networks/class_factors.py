"""The weights of classes that a loss multiplies by: of a class at each position, and of each of several heads."""

from dataclasses import dataclass
from typing import Any

from keras import ops


@dataclass(frozen=True, eq=False)
class ClassFactors:
    """Weights (classes,) float32, an array or a variable whose value is data; those of a head begin at `first`."""

    values: Any
    first: int = 0

    def of(self, classes: Any) -> Any:
        """Return the weight of each class index from 0, in the shape of the indices."""
        return ops.take(ops.convert_to_tensor(self.values), classes + self.first)

    def beginning_at(self, first: int) -> "ClassFactors":
        """Return the weights of another head."""
        return ClassFactors(self.values, first)
