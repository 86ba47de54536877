"""Seeds by purpose, derived from one trial's seed, so that one use never affects another."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from nightune.models.library_internals.models import random_states


@dataclass(frozen=True)
class Seeds:
    """Initial weights, the data order and the noise of training (dropout and the like), each in [0, 2³²)."""

    weights: int
    order: int
    dropout: int

    @classmethod
    def from_trial(cls, seed: int) -> "Seeds":
        """Derive the three from a trial's seed, any whole number from 0."""
        return cls(*(int(part) for part in np.random.SeedSequence(seed).generate_state(3)))

    def of_fold(self, number: int) -> "Seeds":
        """Derive the seeds of a fold, counted from 1: a mean over folds is one over initial weights as well."""
        seeds = (self.weights, self.order, self.dropout)
        return Seeds(*(int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) for seed in seeds))


def seed_dropout(model: Any, seed: int) -> None:
    """Seed every random stream of a built model (dropout, noise, augmentation) independently.

    This replaces seeds in the user's code, because replicates with other seeds would otherwise share their noise.
    """
    states = random_states(model)
    # 31 bits: the backends store the states in different integer types.
    for state, value in zip(states, np.random.SeedSequence(seed).generate_state(len(states)) >> 1, strict=True):
        state.assign(np.array([value, 0], dtype=np.int64).astype(str(state.dtype)))
