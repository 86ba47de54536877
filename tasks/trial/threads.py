"""Settle in how many threads a process computes, before Keras' devices are initialized: small networks in one.

An update of a small network takes less time than its threads need to wake each other (docs/decisions/0161). Only where
one thread gives the same bits: larger sums are divided between threads, and rounded otherwise in one.
"""

import math
from itertools import pairwise

from nightune.models.backend import limit_threads
from nightune.models.techniques.batch_sizes.settings import BatchSizeSettings
from nightune.models.techniques.optimizers.optimizers import MINI_BATCH_OPTIMIZERS
from nightune.models.user_code import is_reference
from nightune.tasks.prepared_data import PreparedData
from nightune.tuning.search.domains import Cases, Domain, Range
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Value
from nightune.vocabulary import ARCHITECTURE, MODEL_PREFIX

SMALL_ARCHITECTURE = "mlp"
SMALL_WIDTH = 128  # inputs of an example, units of a layer, and outputs of all heads
SMALL_NETWORK = 2**15  # weights; some update rules sum over all of them, and longer sums are divided
SMALL_BATCH = 128  # rows; sums over more of them are divided
SMALL_ROWS = 2048  # of the training split, and twice those of the validation split


def settle_threads(study: Study, data: PreparedData, engine: str) -> None:
    """Let Keras, unless its devices are initialized, compute in one thread if compiled programs of the study are small.

    `engine` is the requested one.
    """
    limit_threads(1 if engine != "fit" and is_small(study, data) else None)


def is_small(study: Study, data: PreparedData) -> bool:
    """Return whether all networks of a study are dense and narrow, its data small, and no code the user's."""
    space, shape, rows = study.space, data.input_shape, data.sizes
    widths = space.options(f"{MODEL_PREFIX}units")
    return (
        space.options(ARCHITECTURE) == [SMALL_ARCHITECTURE]
        and bool(widths)
        and isinstance(shape, tuple)
        and all(_is_narrow(units, math.prod(shape), data.output_size) for units in widths)
        and rows["train"] <= SMALL_ROWS
        and 2 * rows.get("validation", 0) <= SMALL_ROWS  # those of folds are among the rows of training
        and _has_small_batches(study)
        and not _has_own_code(study)
    )


def _has_small_batches(study: Study) -> bool:
    """Return whether all batches of a study have few rows: of one size, and not all rows, as those of `gd`."""
    space, size = study.space, study.space.by_name.get("batch_size.size")
    domains: list[Domain] = [] if size is None else [size.domain]
    if domains and isinstance(domains[0], Cases):
        domains = [domain for _, domain in domains[0].domains]
    sizes = space.options("batch_size.size") + [domain.high for domain in domains if isinstance(domain, Range)]
    is_fixed = set(space.options("batch_size.policy")) <= {BatchSizeSettings.policy}
    has_all_rows = not set(space.options("optimizer")) <= set(MINI_BATCH_OPTIMIZERS)
    return is_fixed and not has_all_rows and all(isinstance(each, int) and each <= SMALL_BATCH for each in sizes)


def _has_own_code(study: Study) -> bool:
    """Return whether a loss or metric of the user is computed, whose operations may be of any size."""
    given = study.space.options("training.loss")
    losses = [loss for each in given for loss in (each.values() if isinstance(each, dict) else [each])]
    has_own_metric = study.objective.is_own or any(each.is_own for each in study.objective.further)
    return has_own_metric or any(map(is_reference, map(str, losses)))


def _is_narrow(units: Value, inputs: int, outputs: int) -> bool:
    """Return whether the layers of a network and the whole of its weights, those of normalization included, are few."""
    layers = [inputs, *units, outputs] if isinstance(units, list) else []
    few = [each for each in layers if isinstance(each, int) and each <= SMALL_WIDTH]
    weights = sum((before + 2) * after for before, after in pairwise(few))
    return bool(layers) and len(few) == len(layers) and weights <= SMALL_NETWORK
