"""Blocks: how an epoch's batches are laid out for a compiled program, which knows arrays of fixed shapes only.

A block is as many examples as are computed at a time. A batch smaller than its block is filled up with examples of
weight 0; a larger one adds up the gradients of several blocks. A model whose examples depend on each other (batch
normalization) gets each batch as one block of exactly its size.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightune.models.training.plan import EpochPlan

ACCUMULATED_BLOCK = 32  # for batches of mixed sizes
SMALL_BLOCK = 8
LEAST_CAPACITY = 128


@dataclass(frozen=True)
class Shape:
    """What a program has to know when it is compiled: the examples of a block, and whether batches may have several."""

    block: int  # 0: each batch as it is, for programs that take arrays of any length
    is_accumulated: bool


@dataclass(frozen=True, eq=False)
class Part:
    """Consecutive updates of an epoch that are computed in blocks of one size. Arrays are padded to a capacity."""

    shape: Shape
    count: int  # updates that count
    bounds: npt.NDArray[np.int32]  # (capacity, 2) where a batch starts in the order, and its size
    rates: npt.NDArray[np.float32]  # (capacity, 3) learning rate, shrink, and momentum where it follows the rate


def bucketed_parts(plan: EpochPlan) -> tuple[Part, ...]:
    """All updates in blocks of one size: the power of two that holds every batch, or small ones if sizes are mixed.

    So sizes share few programs, and at most half of what is computed is in vain.
    """
    largest = int(plan.batch_sizes.max())
    smallest = int(plan.batch_sizes[:-1].min(initial=largest))  # the last batch may be what is left over
    bucket = min(plan.examples, 1 << (largest - 1).bit_length())
    is_mixed = 2 * smallest < largest
    shape = Shape(min(ACCUMULATED_BLOCK, bucket), True) if is_mixed else Shape(bucket, False)
    least = max(LEAST_CAPACITY, plan.examples // 8)  # so that usual sizes share the arrays' shape
    return (_part(plan, shape, slice(0, plan.updates), least),)


def accumulated_parts(plan: EpochPlan) -> tuple[Part, ...]:
    """All updates in small blocks of one of two sizes, so that batches of nearly any size share one program.

    For processors that compute small blocks as fast as large ones, example for example.
    """
    is_small = int(plan.batch_sizes.max()) <= SMALL_BLOCK
    shape = Shape(SMALL_BLOCK, False) if is_small else Shape(ACCUMULATED_BLOCK, True)
    return (_part(plan, shape, slice(0, plan.updates), max(LEAST_CAPACITY, plan.examples // 8)),)


def fitted_parts(plan: EpochPlan) -> tuple[Part, ...]:
    """All updates in blocks of the largest batch's size: nothing but the left-over is filled up."""
    shape = Shape(int(plan.batch_sizes.max()), False)
    return (_part(plan, shape, slice(0, plan.updates), LEAST_CAPACITY),)


def exact_parts(plan: EpochPlan) -> tuple[Part, ...]:
    """Runs of updates of the same size, each in blocks of that size."""
    changes = np.flatnonzero(np.diff(plan.batch_sizes)) + 1
    edges = [0, *changes.tolist(), plan.updates]
    spans = [slice(start, end) for start, end in itertools.pairwise(edges)]
    return tuple(_part(plan, Shape(int(plan.batch_sizes[span.start]), False), span, 1) for span in spans)


def capped_parts(plan: EpochPlan, cap: int) -> tuple[Part, ...]:
    """All updates in blocks of at most so many examples, for separable models; a power of two, to share programs."""
    largest = int(plan.batch_sizes.max())
    block = min(1 << (cap.bit_length() - 1), 1 << (largest - 1).bit_length())
    return (_part(plan, Shape(block, True), slice(0, plan.updates), LEAST_CAPACITY),)


def largest_block(plan: EpochPlan, parts: Sequence[Part]) -> int:
    """How many examples are computed at a time, at most."""
    return max(part.shape.block or int(plan.batch_sizes.max()) for part in parts)


def free_parts(plan: EpochPlan) -> tuple[Part, ...]:
    """All updates, each batch as it is."""
    return (_part(plan, Shape(0, False), slice(0, plan.updates), LEAST_CAPACITY),)


def padded_order(plan: EpochPlan, parts: Sequence[Part]) -> npt.NDArray[np.int32]:
    """The plan's order, longer by a block, so that the last block can be cut out of it."""
    return np.concatenate([plan.order, np.zeros(max(part.shape.block for part in parts), np.int32)])


def _part(plan: EpochPlan, shape: Shape, span: slice, least: int) -> Part:
    starts = np.concatenate([[0], np.cumsum(plan.batch_sizes)[:-1]])
    count = span.stop - span.start
    capacity = 1 << (max(count, least) - 1).bit_length()
    bounds, rates = np.zeros((capacity, 2), np.int32), np.zeros((capacity, 3), np.float32)
    bounds[:count] = np.stack([starts[span], plan.batch_sizes[span]], axis=1)
    rates[:count, 0], rates[:count, 1] = plan.learning_rates[span], plan.shrinks[span]
    if plan.momenta is not None:
        rates[:count, 2] = plan.momenta[span]
    return Part(shape, count, bounds, rates)
