"""Noise of training from a hash of integers: dropout masks and other random numbers that cost next to nothing.

TensorFlow's and JAX's own generators can cost more than the update that they disturb (docs/decisions/0060). A hash of
32-bit integers gives the same bits on every device, with and without XLA, for every layout of a batch in blocks.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from nightune.models.library_internals.random_numbers import draw_seed, replacing_random_functions

HASHING_BACKENDS = ("tensorflow", "jax")  # other backends have no unsigned integers, and keep their own generators
PIECE = 1024  # numbers; JAX splits larger operations on CPUs between threads, which costs more than the hash
MAXIMUM_PIECES = 8  # each compiles to an operation; more are computed in a loop
MAXIMUM_SPLIT = 2**17  # numbers; for more, threads pay
GOLDEN = 0x9E3779B9  # 2³² divided by the golden ratio
BOUND = 2.0  # standard deviations, of truncated normal numbers


@dataclass(frozen=True, eq=False)
class _Block:
    rows: int  # examples that are computed at once
    first: Any  # index of the first of them in the batch


_blocks: list[_Block] = []  # the innermost last


@contextmanager
def hashed_noise() -> Iterator[None]:
    """Let Keras' random functions hash the state of their seed generator, inside the block.

    Uniform and normal numbers from a seed that is a whole number, such as those of initializers, are drawn with NumPy:
    nothing is compiled, and all backends draw the same numbers. Permutations, and gamma, beta, binomial and categorical
    numbers remain the backend's. Not thread-safe.
    """
    import keras  # noqa: PLC0415 - Keras takes seconds

    if keras.backend.backend() not in HASHING_BACKENDS:
        yield
        return
    functions = (uniform, normal, truncated_normal, randint, dropout)
    with replacing_random_functions({function.__name__: function for function in functions}):
        yield


@contextmanager
def block_of_batch(rows: int, first: Any) -> Iterator[None]:
    """Draw for a block of `rows` examples what the whole batch draws for them; `first` is the index of the first.

    That holds for numbers whose first axis is the examples.
    """
    _blocks.append(_Block(rows, first))
    try:
        yield
    finally:
        _blocks.pop()


def uniform(shape: Sequence[Any], minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Return numbers in [minval, maxval), as `keras.random.uniform`."""
    from keras import config, ops  # noqa: PLC0415 - Keras takes seconds

    words, dtype = draw_seed(seed), dtype or config.floatx()
    if isinstance(seed, int) and (generator := _numpy_generator(words)):
        return ops.convert_to_tensor(generator.uniform(minval, maxval, tuple(shape)), dtype)
    low, high = ops.cast(minval, "float32"), ops.cast(maxval, "float32")
    return ops.cast(low + (high - low) * _fractions(words, shape), dtype)


def normal(shape: Sequence[Any], mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Return normal numbers, as `keras.random.normal`; hashed ones lie within 5.4 standard deviations."""
    from keras import config, ops  # noqa: PLC0415 - as above

    words, dtype = draw_seed(seed), dtype or config.floatx()
    if isinstance(seed, int) and (generator := _numpy_generator(words)):
        return ops.convert_to_tensor(generator.normal(mean, stddev, tuple(shape)), dtype)
    return ops.cast(mean + stddev * _quantiles(_centered(words, shape)), dtype)


def truncated_normal(
    shape: Sequence[Any], mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Return normal numbers within two standard deviations of the mean, as `keras.random.truncated_normal`."""
    from keras import config, ops  # noqa: PLC0415 - as above

    words, dtype = draw_seed(seed), dtype or config.floatx()
    if isinstance(seed, int) and (generator := _numpy_generator(words)):
        return ops.convert_to_tensor(mean + stddev * _truncated(generator, tuple(shape)), dtype)
    within = math.erf(BOUND / math.sqrt(2.0))
    return ops.cast(mean + stddev * _quantiles(within * _centered(words, shape)), dtype)


def randint(shape: Sequence[Any], minval: Any, maxval: Any, dtype: Any = "int32", seed: Any = None) -> Any:
    """Return whole numbers in [minval, maxval), as `keras.random.randint`."""
    from keras import ops  # noqa: PLC0415 - as above

    count = ops.cast(maxval - minval, "uint32")
    return ops.cast(minval, dtype) + ops.cast(ops.mod(_bits(draw_seed(seed), shape), count), dtype)


def dropout(inputs: Any, rate: Any, noise_shape: Sequence[Any] | None = None, seed: Any = None) -> Any:
    """Set inputs to 0 with the probability `rate`, and scale the others, as `keras.random.dropout`.

    The probability is exact to 2⁻²⁴.
    """
    from keras import ops  # noqa: PLC0415 - as above

    if not hasattr(rate, "dtype") and rate in {0.0, 1.0}:
        return inputs if rate == 0.0 else ops.zeros_like(inputs)
    sizes = ops.shape(inputs)
    given = sizes if noise_shape is None else noise_shape
    shape = [size if each is None else each for each, size in zip(given, sizes, strict=True)]
    kept = _fractions(draw_seed(seed), shape) >= ops.cast(rate, "float32")
    return ops.where(kept, inputs / ops.cast(1.0 - rate, inputs.dtype), ops.zeros((), inputs.dtype))


def _fractions(words: Any, shape: Sequence[Any]) -> Any:
    """Return uniform multiples of 2⁻²⁴ in [0, 1), as float32."""
    from keras import ops  # noqa: PLC0415 - as above

    return ops.cast(ops.right_shift(_bits(words, shape), _constant(8)), "float32") * np.float32(2.0**-24)


def _centered(words: Any, shape: Sequence[Any]) -> Any:
    """Return uniform numbers in (−1, 1), symmetric about 0, as float32."""
    from keras import ops  # noqa: PLC0415 - as above

    odd = ops.bitwise_or(ops.right_shift(_bits(words, shape), _constant(8)), _constant(1))
    return ops.cast(odd, "float32") * np.float32(2.0**-23) - np.float32(1.0)


def _quantiles(centered: Any) -> Any:
    """Return the normal numbers whose distribution function is (1 + centered)/2."""
    from keras import ops  # noqa: PLC0415 - as above

    return np.float32(math.sqrt(2.0)) * ops.erfinv(centered)


def _bits(words: Any, shape: Sequence[Any]) -> Any:
    """Return 32 random bits for each place of an array, as uint32: a function of the seed's words and the place."""
    from keras import ops  # noqa: PLC0415 - as above

    first, second = _keys(words)
    if _blocks and shape and isinstance(shape[0], int) and _blocks[-1].rows == shape[0]:
        first = first + ops.cast(_blocks[-1].first, "uint32") * _size(shape[1:])
    count = _size(shape)
    if not isinstance(count, int) or not PIECE < count <= MAXIMUM_SPLIT or not _is_split_by_xla():
        return ops.reshape(_hash(first, second, count), shape)
    starts = range(0, count, PIECE)
    if len(starts) <= MAXIMUM_PIECES:
        pieces = [_hash(first + _constant(start), second, min(PIECE, count - start)) for start in starts]
        return ops.reshape(ops.concatenate(pieces), shape)
    pieces = ops.map(lambda start: _hash(first + start, second, PIECE), ops.convert_to_tensor(starts, "uint32"))
    return ops.reshape(ops.reshape(pieces, (-1,))[:count], shape)


def _is_split_by_xla() -> bool:
    """Return True if XLA would split large operations between threads: on JAX, on a CPU."""
    import keras  # noqa: PLC0415 - as above

    if keras.backend.backend() != "jax":
        return False
    import jax  # noqa: PLC0415 - only where it is the backend

    return str(jax.default_backend()) == "cpu"


def _hash(first: Any, second: Any, count: Any) -> Any:
    """Hash the places 0 to `count` − 1 with two keys."""
    from keras import ops  # noqa: PLC0415 - as above

    places = ops.cast(ops.arange(count, dtype="int32"), "uint32")
    return _mixed(ops.bitwise_xor(_mixed(places + first), second))


def _keys(words: Any) -> tuple[Any, Any]:
    """Return two keys of 32 bits that differ for all states of a seed generator: its seed and its count."""
    from keras import ops  # noqa: PLC0415 - as above

    seed, count = (ops.cast(words[index], "uint32") for index in range(2))
    return _mixed(seed + _constant(GOLDEN) * count), _mixed(ops.bitwise_xor(_mixed(count), seed))


def _mixed(value: Any) -> Any:
    """Return a bijection of 32 bits in which each bit depends on each bit of the value (lowbias32, Wellons, 2018)."""
    from keras import ops  # noqa: PLC0415 - as above

    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        value = ops.bitwise_xor(value, ops.right_shift(value, _constant(shift))) * _constant(factor)
    return ops.bitwise_xor(value, ops.right_shift(value, _constant(16)))


def _constant(value: int) -> Any:
    from keras import ops  # noqa: PLC0415 - as above

    return ops.convert_to_tensor(np.uint32(value), "uint32")


def _size(shape: Sequence[Any]) -> Any:
    """Return the number of places: an int, or a tensor if a length is known only when the program runs."""
    from keras import ops  # noqa: PLC0415 - as above

    known = [int(size) for size in shape if isinstance(size, int | np.integer)]
    unknown = [size for size in shape if not isinstance(size, int | np.integer)]
    total: Any = math.prod(known)
    for size in unknown:
        total = ops.cast(size, "int32") * total
    return total


def _numpy_generator(words: Any) -> np.random.Generator | None:
    """Return a generator for the seed's words, or None while a program is traced."""
    try:
        return np.random.default_rng([int(word) & 0xFFFFFFFF for word in np.asarray(words)])
    except (NotImplementedError, TypeError):  # the words are symbolic
        return None


def _truncated(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(generator.standard_normal(shape))
    while (outside := np.abs(values) > BOUND).any():
        values[outside] = generator.standard_normal(int(outside.sum()))
    return values
