"""Make the random numbers of a model function follow the trial's seed, where the function fixes seeds itself.

A seed that the function sets or gives is replaced by one that depends on it and on the trial's seed: equal seeds stay
equal within a model, and differ between trials. Nothing changes for functions that fix no seed.
"""

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nightune.models.library_internals.models import replacing_fixed_seeds


@contextmanager
def following_seed(trial_seed: int) -> Iterator[None]:
    """Derive the seeds that this thread fixes inside the block from the trial's seed.

    They are those of `random.seed`, `numpy.random.seed`, `tensorflow.random.set_seed` (`keras.utils.set_random_seed`
    calls all three), and of Keras' initializers, random functions and seed generators, unless they were drawn.
    Generators of their own keep the seed that they are given: `numpy.random.default_rng`, `numpy.random.RandomState`
    and `random.Random`.
    """
    thread = threading.get_ident()
    drawn: set[int] = set()

    def derived(given: Any) -> Any:
        return derived_seed(trial_seed, given) if threading.get_ident() == thread else given

    def reseeding(seed: Callable[..., Any]) -> Callable[..., Any]:
        def reseed(*values: Any, **options: Any) -> Any:
            changed = {name: derived(value) for name, value in options.items()}
            given = values if values or options else (None,)  # without a seed Python takes the clock's
            return seed(*map(derived, given), **changed)

        return reseed

    def noting(draw: Callable[..., Any]) -> Callable[..., Any]:
        def note(*values: Any, **options: Any) -> Any:
            number = draw(*values, **options)
            if isinstance(number, int | np.integer):
                drawn.add(int(number))
            return number

        return note

    replacements: dict[tuple[Any, str], Callable[..., Any]] = {
        (each, "seed"): reseeding for each in (random, np.random)
    }
    replacements |= {(random, name): noting for name in ("randint", "randrange", "getrandbits")}
    replacements[np.random, "randint"] = noting
    if "tensorflow" in sys.modules:  # Keras sets its seed on JAX, too, where it is installed
        replacements[sys.modules["tensorflow"].random, "set_seed"] = reseeding
    with _replaced(replacements), replacing_fixed_seeds(lambda seed: seed if seed in drawn else derived(seed)):
        yield


def derived_seed(trial_seed: int, given: Any) -> int:
    """Return the seed in [0, 2³¹) that takes the place of a given one, usually a whole number."""
    if isinstance(given, int | np.integer):
        words = [int(given) & 0xFFFFFFFF, abs(int(given)) >> 32, int(given < 0)]
    else:
        words = list(repr(given).encode())
    return int(np.random.SeedSequence([trial_seed, *words]).generate_state(1)[0]) >> 1


@contextmanager
def _replaced(replacements: dict[tuple[Any, str], Callable[..., Any]]) -> Iterator[None]:
    """Replace attributes by what a function makes of them."""
    before = {place: getattr(*place) for place in replacements}
    for (owner, name), replace in replacements.items():
        setattr(owner, name, replace(before[owner, name]))
    try:
        yield
    finally:
        for (owner, name), value in before.items():
            setattr(owner, name, value)
