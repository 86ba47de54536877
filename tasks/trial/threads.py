"""Settle in how many threads a process computes, before Keras' devices are initialized: small networks in one.

An update of a small network takes less time than its threads need to wake each other (docs/decisions/0161). Only where
one thread gives the same bits: larger sums are divided between threads, and rounded otherwise in one.
"""

import math

from nightune.models.backend import limit_threads
from nightune.tasks.prepared_data import PreparedData
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Value
from nightune.vocabulary import ARCHITECTURE, MODEL_PREFIX

SMALL_ARCHITECTURE = "mlp"
SMALL_WIDTH = 128  # inputs of an example, and units of a layer
SMALL_ROWS = 2048  # of the training split, and twice those of the validation split


def settle_threads(study: Study, data: PreparedData, engine: str) -> None:
    """Let Keras, unless its devices are initialized, compute in one thread if compiled programs of the study are small.

    `engine` is the requested one.
    """
    limit_threads(1 if engine != "fit" and is_small(study, data) else None)


def is_small(study: Study, data: PreparedData) -> bool:
    """Return whether all networks of a study are dense and narrow, and its data few rows of few numbers."""
    space, shape = study.space, data.input_shape
    widths = space.options(f"{MODEL_PREFIX}units")
    return (
        space.options(ARCHITECTURE) == [SMALL_ARCHITECTURE]
        and bool(widths)
        and all(map(_is_narrow, widths))
        and isinstance(shape, tuple)
        and math.prod(shape) <= SMALL_WIDTH
        and data.sizes["train"] <= SMALL_ROWS
        and 2 * data.sizes["validation"] <= SMALL_ROWS
    )


def _is_narrow(units: Value) -> bool:
    return isinstance(units, list) and all(isinstance(each, int) and each <= SMALL_WIDTH for each in units)
