"""One epoch of training as arrays: the controller decides it, an engine executes it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightune.models.training import reported_names

# Part of every trial's key. Raise it when the same params, seed and data would train to other weights or other
# recorded values than before: a changed formula, default, data order or clock. Results of two versions are not
# comparable, so the raise is a line in the CHANGELOG. A new technique beside the others does not raise it.
SEMANTICS_VERSION = 1


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """Every decision of one epoch, made before it starts.

    An update takes the next `batch_sizes[t]` examples of `order`, shrinks the decayed weights by
    θ ← θ(1 − shrinks[t]), then makes the optimizer's step with `learning_rates[t]` on the mean loss of the batch
    plus l1·Σ|w| + l2·Σw² (Keras' convention); after it, kernels lose up to `learning_rates[t]`·proximal of their size.
    """

    epoch: int  # counted from 1
    order: npt.NDArray[np.int32]  # (examples,) every trained index once, unless a remainder is dropped or filled up
    batch_sizes: npt.NDArray[np.int32]  # (updates,) examples of each update; sums to examples
    learning_rates: npt.NDArray[np.float32]  # (updates,)
    shrinks: npt.NDArray[np.float32]  # (updates,) part of each decayed weight taken away
    weight_decay: float  # λ at the last update
    l1: float
    l2: float
    penalty: float  # the strength as the study file gives it, or as it was adapted
    proximal: float = 0.0  # λ of the soft thresholding after each step
    momenta: npt.NDArray[np.float32] | None = None  # (updates,) where the momentum, or β₁, follows the rate
    begins_change: bool = False  # other values hold from this epoch on: the engine continues with their recipe
    begins_fine_tuning: bool = False  # the first epoch of the second phase: the engine unfreezes layers before it
    room: int = 0  # examples of the largest epoch that shares a program with this one; 0: no other

    def __post_init__(self) -> None:
        if int(self.batch_sizes.sum()) != len(self.order):
            raise ValueError(f"batch sizes sum to {int(self.batch_sizes.sum())}, not to {len(self.order)} examples")
        if not len(self.batch_sizes) == len(self.learning_rates) == len(self.shrinks):
            raise ValueError("batch_sizes, learning_rates and shrinks must hold one value an update")
        if self.momenta is not None and len(self.momenta) != len(self.batch_sizes):
            raise ValueError("momenta must hold one value an update")
        for array in (self.order, self.batch_sizes, self.learning_rates, self.shrinks, self.momenta):
            if array is not None:
                array.setflags(write=False)

    @property
    def updates(self) -> int:
        """How many optimizer steps the epoch takes."""
        return len(self.batch_sizes)

    @property
    def examples(self) -> int:
        """How many examples the epoch uses."""
        return len(self.order)

    @property
    def laid_out_examples(self) -> int:
        """The examples for which compiled programs lay out their arrays."""
        return max(self.examples, self.room)

    @property
    def recorded(self) -> dict[str, float]:
        """The values to log as curves: those of the last update.

        `batch_size` is the policy's, taken from the first update: the last batch may hold only what is left over.
        """
        return {
            reported_names.LEARNING_RATE: float(self.learning_rates[-1]),
            reported_names.WEIGHT_DECAY: self.weight_decay,
            reported_names.BATCH_SIZE: float(self.batch_sizes[0]),
            reported_names.PENALTY: self.penalty,
            **({} if self.momenta is None else {"momentum": float(self.momenta[-1])}),
        }

    def batches(self) -> Iterator[npt.NDArray[np.int32]]:
        """Yield the example indices of each update, in order."""
        yield from np.split(self.order, np.cumsum(self.batch_sizes)[:-1])
