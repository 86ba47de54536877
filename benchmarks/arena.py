"""A data set of the bank on which searches are compared by real trainings: head_to_head.py."""

import json
import os
import statistics
from dataclasses import replace
from functools import cached_property
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")  # before anything imports Keras

import bank
import numpy as np
import portfolio
from bank_data import SOURCES

from nightune.tuning.recorded_curves import RecordedCurves, read_recorded
from nightune.tuning.search.prior_mean import PriorMean
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.simulator import Bank
from nightune.tuning.trial import Params, Value

FOLDER = Path(__file__).parent
EPOCHS = 20
CONFIRMED = 3  # fresh seeds
FAMILY = "mlp"
SPLIT = {"validation": 0.2, "test": 0.25}


class Arena:
    """The study of a data set, its trainings and its judge."""

    def __init__(self, name: str, programs: Path) -> None:
        from nightune.models.backend import load_keras
        from nightune.models.data.dataset import Purpose
        from nightune.tasks.prepare_data import read_dataset

        load_keras(programs)
        study = bank.study_of(FAMILY, name)
        search = study.search.model_copy(update={"epochs": EPOCHS})
        data = study.data.model_copy(update={"split": study.data.split.model_copy(update=SPLIT)})
        self.name, self.study = name, study.model_copy(update={"search": search, "data": data})
        self.dataset = read_dataset(self.study)
        unseen = self.dataset.test.open(Purpose.PREPARATION, lambda: None)
        datasets = {"validation": self.dataset, "test": replace(self.dataset, validation=unseen)}
        self._parts = {part: (bank.engine_for(self.study, each), each) for part, each in datasets.items()}
        self._confirmed: dict[str, float] = {}

    @property
    def space(self) -> SearchSpace:
        """The space of the bank's dense networks."""
        space: SearchSpace = self.study.space
        return space

    @cached_property
    def first(self) -> list[dict[str, Value]]:
        """The portfolio that is chosen on the other data sets."""
        sources = portfolio.sources_of(self._recorded, SOURCES[self.name].task, self.name)
        return [dict(self._recorded.points[place]) for place in portfolio.portfolio(self._recorded, sources)]

    @cached_property
    def prior(self) -> PriorMean:
        """The recorded configurations with their scores on the other data sets."""
        return portfolio.prior(self._recorded, self.space, SOURCES[self.name].task, self.name)

    @cached_property
    def _recorded(self) -> RecordedCurves:
        return read_recorded(FOLDER / "results" / "bank.npz")[FAMILY]

    def bank(self, seed: int) -> Bank:
        """Return a bank whose curves are trained when they are asked for, each trial with a seed of its own."""
        return Bank(self.space, "minimize", lambda point, trial: self.curve(point, 1000 * seed + trial))

    def curve(self, point: Params, seed: int, part: str = "validation") -> list[float]:
        """Return the loss of a part by epoch; NaN for all of a point that contradicts itself."""
        from nightune.models.recipe.params import read_recipe
        from nightune.models.training.loop import train
        from nightune.tasks.propose_trials import complete_params

        engine, dataset = self._parts[part]
        how = {"epochs": EPOCHS, "monitor": "val_loss", "direction": "minimize"}
        try:
            recipe = read_recipe(complete_params(self.study, point))
            curve = train(engine, recipe, dataset, seed=seed, **how).curves["val_loss"]
        except ValueError:
            curve = []
        return [*curve, *[float("nan")] * (EPOCHS - len(curve))]

    def confirmed(self, point: Params) -> float:
        """Return the mean loss on test rows over fresh seeds, each at the epoch of the best validation."""
        key = json.dumps(point, sort_keys=True)
        if key not in self._confirmed:
            found = []
            for seed in range(CONFIRMED):
                fresh = 10**6 + seed
                best = int(np.nanargmin(self.curve(point, fresh)))
                found.append(self.curve(point, fresh, "test")[best])
            self._confirmed[key] = statistics.fmean(found)
        return self._confirmed[key]
