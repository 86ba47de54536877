"""Numbers that a model's call draws outside of Keras: a compiled program draws them once, and repeats them for ever."""

import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from nightune.models.errors import InputError
from nightune.models.library_internals.models import variables_kept
from nightune.models.networks.heads import Head
from nightune.models.networks.isolated_random import isolated_random
from nightune.models.networks.noise import hashed_noise
from nightune.models.networks.own_code import has_own_code
from nightune.models.networks.own_methods import TRAINING, own_methods
from nightune.models.networks.training_rows import TrainingRows
from nightune.models.serving.input_trees import ArrayTree, rows_of
from nightune.vocabulary import ARCHITECTURE

ROWS = 8
_APART = 1e-4  # relative to the largest output; kernels may round differently from call to call
REMEDY = (
    "make self.seeds = keras.random.SeedGenerator() in the layer's __init__, and draw by keras.random there, such as "
    "keras.random.normal(ops.shape(x), seed=self.seeds) if training"
)

STEP_REMEDY = (
    "make self.seeds = keras.random.SeedGenerator() in __init__, and draw by keras.random, such as "
    "keras.random.beta((), 0.2, 0.2, seed=self.seeds)"
)


def refuse_frozen_numbers(model: keras.Model, inputs: ArrayTree) -> None:
    """Raise InputError for a model whose call draws numbers of NumPy's or Python's: each row would get the same noise.

    Two calls with the same variables and the same seeds of Keras differ, but two runs of one traced program do not.
    Random operations of TensorFlow differ in both. `inputs` are some training rows. Variables and NumPy's global
    generator are as before afterwards. What raises is left to training, which reports it.
    """
    if not has_own_code(model):
        return
    rows, state = rows_of(inputs, slice(ROWS)), np.random.get_state()
    try:
        is_frozen = any(_is_frozen(model, rows, training) for training in (False, True))
    except MemoryError:
        raise
    except Exception:  # of the user's code: anything
        return
    finally:
        np.random.set_state(state)
    if is_frozen:
        problem = "the model's call draws numbers that Keras does not know, such as NumPy's, or depends on how often it"
        told = "was called: a compiled program computes that once, and repeats it for all batches"
        raise InputError(ARCHITECTURE, f"{problem} {told}; {REMEDY}")


def refuse_frozen_steps(model: keras.Model, head: Head, rows: TrainingRows) -> None:
    """Raise InputError for a model whose own training step draws numbers of NumPy's or Python's, such as a mixture's.

    As `refuse_frozen_numbers`, by the weights after one update. A step that runs eagerly draws them for each batch.
    """
    if rows.targets is None or model.run_eagerly or not own_methods(model, TRAINING):
        return
    state = np.random.get_state()
    given = rows_of(rows.inputs, slice(ROWS)), head.targets(rows.targets[:ROWS])

    def differ(is_eager: bool) -> bool:
        optimizer = keras.optimizers.SGD(1.0)
        model.compile(optimizer, loss=head.make_loss(), jit_compile=False, auto_scale_loss=False)
        model.run_eagerly = is_eager
        return _differ(model, update, given)

    def update(batch: Any) -> Any:
        model.fit(*batch, batch_size=ROWS, shuffle=False, verbose=0)
        return list(model.trainable_variables)

    try:
        is_frozen = differ(True) and not differ(False)
    except (InputError, MemoryError):
        raise
    except Exception:  # of the user's code: anything
        return
    finally:
        model.run_eagerly = False
        np.random.set_state(state)
    if is_frozen:
        problem = f"the model's own {' and '.join(own_methods(model, TRAINING))} draws numbers that Keras does not know"
        told = "such as NumPy's: a compiled program draws them once, and repeats them for all batches"
        raise InputError(ARCHITECTURE, f"{problem}, {told}; {STEP_REMEDY}")


def _is_frozen(model: keras.Model, rows: ArrayTree, training: bool) -> bool:
    def call(given: Any) -> Any:
        return keras.tree.flatten(model(given, training=training))

    if not _differ(model, call, rows):
        return False
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf  # noqa: PLC0415 - loaded already as Keras' backend

    return not _differ(model, tf.function(call, autograph=False), rows)


def _differ(model: keras.Model, call: Callable[[Any], Any], given: Any) -> bool:
    """Whether two calls with the same variables and the same seeds of Keras differ."""
    found = []
    for seed in (1, 2):
        with isolated_random(), hashed_noise(), variables_kept(model):
            keras.utils.set_random_seed(0)
            random.seed(seed)
            np.random.seed(seed)
            found.append([np.asarray(keras.ops.convert_to_numpy(each), np.float64) for each in call(given)])
    return any(_are_apart(one, other) for one, other in zip(*found, strict=True))


def _are_apart(one: np.ndarray, other: np.ndarray) -> bool:
    apart = _APART * float(np.abs(one[np.isfinite(one)]).max(initial=1e-12))
    return not np.allclose(one, other, rtol=0.0, atol=apart, equal_nan=True)
