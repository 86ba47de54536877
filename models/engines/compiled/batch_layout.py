"""Lay out an epoch's batches in blocks for compiled programs, whose arrays have fixed shapes.

A block is the examples that are computed at once. A batch smaller than its block is padded with examples of weight 0;
a larger batch accumulates the gradients of several blocks. If the model's examples depend on each other, each batch is
one block: of exactly its size, or padded where the padding can be left out of what the examples depend on.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightune.models.training.plan import EpochPlan

ACCUMULATED_BLOCK = 32  # examples, for batches of mixed sizes
SMALL_BLOCK = 8  # examples
LARGE_BLOCK = 128  # examples, for batches of more than half of it, where large batches are not faster at once
MINIMUM_CAPACITY = 128  # updates


@dataclass(frozen=True)
class Shape:
    """The static part of a layout, known at compile time: the size of a block, and whether a batch may have several."""

    block: int  # examples; 0: each batch without padding, for programs that take arrays of any length
    is_accumulated: bool
    is_micro: bool = False  # True if each block draws its noise as a batch of its own, as micro-batches of `fit` do


@dataclass(frozen=True, eq=False)
class Part:
    """Consecutive updates of an epoch with one block size. Arrays are padded to a capacity."""

    shape: Shape
    count: int  # updates, without padding
    bounds: npt.NDArray[np.int32]  # (capacity, 2) start of the batch in the order, and its size
    rates: npt.NDArray[np.float32]  # (capacity, 3) learning rate, shrink, and momentum if it cycles


def bucketed_parts(plan: EpochPlan, *, divides_large: bool = False) -> tuple[Part, ...]:
    """Lay out all updates in blocks of one size: the power of two that fits every batch, or less if sizes are mixed.

    Many batch sizes then share few programs, and at most half of the computation is padding. With `divides_large` all
    batches of more than 64 examples share blocks of 128.
    """
    largest = int(plan.batch_sizes.max())
    smallest = int(plan.batch_sizes[:-1].min(initial=largest))  # the last batch may be the remainder
    bucket = min(plan.laid_out_examples, 1 << (largest - 1).bit_length())
    is_mixed = 2 * smallest < largest
    shape = Shape(min(ACCUMULATED_BLOCK, bucket), True) if is_mixed else Shape(bucket, False)
    if divides_large and not is_mixed and 2 * largest > LARGE_BLOCK:
        shape = Shape(LARGE_BLOCK, True)
    minimum_capacity = max(MINIMUM_CAPACITY, plan.laid_out_examples // 8)  # common batch sizes share one array shape
    return (_part(plan, shape, slice(0, plan.updates), minimum_capacity),)


def accumulated_parts(plan: EpochPlan) -> tuple[Part, ...]:
    """Lay out all updates in small blocks of one of two sizes, so that almost all batch sizes share one program.

    For processors on which an example takes the same time in small blocks as in large ones.
    """
    is_small = int(plan.batch_sizes.max()) <= SMALL_BLOCK
    shape = Shape(SMALL_BLOCK, False) if is_small else Shape(ACCUMULATED_BLOCK, True)
    return (_part(plan, shape, slice(0, plan.updates), max(MINIMUM_CAPACITY, plan.laid_out_examples // 8)),)


def fitted_parts(plan: EpochPlan) -> tuple[Part, ...]:
    """Lay out all updates in blocks of the largest batch's size: only the remainder is padded."""
    shape = Shape(int(plan.batch_sizes.max()), False)
    return (_part(plan, shape, slice(0, plan.updates), MINIMUM_CAPACITY),)


def exact_parts(plan: EpochPlan) -> tuple[Part, ...]:
    """Lay out each run of updates of equal batch size in blocks of that size."""
    changes = np.flatnonzero(np.diff(plan.batch_sizes)) + 1
    edges = [0, *changes.tolist(), plan.updates]
    spans = [slice(start, end) for start, end in itertools.pairwise(edges)]
    return tuple(_part(plan, Shape(int(plan.batch_sizes[span.start]), False), span, 1) for span in spans)


def masked_parts(plan: EpochPlan) -> tuple[Part, ...]:
    """Lay out batches of one size and their remainder in blocks of the power of two that fits them, one for each batch.

    For models whose examples depend on each other through statistics of the real rows. Other plans: each batch exactly.
    """
    largest = int(plan.batch_sizes.max())
    if (plan.batch_sizes[:-1] != largest).any():
        return exact_parts(plan)
    shape = Shape(min(plan.laid_out_examples, 1 << (largest - 1).bit_length()), False)
    return (_part(plan, shape, slice(0, plan.updates), max(MINIMUM_CAPACITY, plan.laid_out_examples // 8)),)


def capped_parts(plan: EpochPlan, cap: int) -> tuple[Part, ...]:
    """Lay out all updates in blocks of at most `cap` examples, for separable models; powers of two share programs."""
    largest = int(plan.batch_sizes.max())
    block = min(1 << (cap.bit_length() - 1), 1 << (largest - 1).bit_length())
    return (_part(plan, Shape(block, True, is_micro=True), slice(0, plan.updates), MINIMUM_CAPACITY),)


def unpadded_parts(plan: EpochPlan) -> tuple[Part, ...]:
    """Lay out all updates, each batch without padding."""
    return (_part(plan, Shape(0, False), slice(0, plan.updates), MINIMUM_CAPACITY),)


def maximum_block_size(plan: EpochPlan, parts: Sequence[Part]) -> int:
    """Return the maximum number of examples that are computed at once."""
    return max(part.shape.block or int(plan.batch_sizes.max()) for part in parts)


def padded_order(plan: EpochPlan, parts: Sequence[Part]) -> npt.NDArray[np.int32]:
    """Return the plan's order, padded by one block, so that the last block can be sliced from it, and to its room."""
    return np.concatenate([plan.order, np.zeros(order_length(plan, parts) - plan.examples, np.int32)])


def order_length(plan: EpochPlan, parts: Sequence[Part]) -> int:
    """Return the length of a plan's padded order, which is part of the compiled shapes."""
    return plan.laid_out_examples + max(part.shape.block for part in parts)


def _part(plan: EpochPlan, shape: Shape, span: slice, minimum_capacity: int) -> Part:
    starts = np.concatenate([[0], np.cumsum(plan.batch_sizes)[:-1]])
    count = span.stop - span.start
    capacity = 1 << (max(count, minimum_capacity, _updates_of_room(plan)) - 1).bit_length()
    bounds, rates = np.zeros((capacity, 2), np.int32), np.zeros((capacity, 3), np.float32)
    bounds[:count] = np.stack([starts[span], plan.batch_sizes[span]], axis=1)
    rates[:count, 0], rates[:count, 1] = plan.learning_rates[span], plan.shrinks[span]
    if plan.momenta is not None:
        rates[:count, 2] = plan.momenta[span]
    return Part(shape, count, bounds, rates)


def _updates_of_room(plan: EpochPlan) -> int:
    """Return how many updates the largest of the data sets that share a program may have; 0 without others."""
    smallest = int(plan.batch_sizes[:-1].min(initial=plan.batch_sizes[0]))
    return -(-plan.room // smallest)
