"""The objective on the ranking split, for studies that separate it from the validation split."""

import numpy as np

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.networks.named_metrics import Named
from nightune.models.networks.own_metrics import OwnMetric
from nightune.models.serving.input_trees import rows_of
from nightune.models.training.engine import Engine
from nightune.models.training.loop import Outcome
from nightune.vocabulary import VALIDATION_PREFIX

BATCH = 1024


def ranking_objective(
    engine: Engine, outcome: Outcome, dataset: Dataset, monitor: str, own: OwnMetric | None = None
) -> float:
    """Return the monitored metric of the best epoch's weights on the ranking split; NaN if no epoch was finite."""
    if dataset.ranking_apart is None or outcome.best_epoch == 0:
        return outcome.objective
    return _measured(engine, outcome, dataset, dataset.ranking_apart, monitor, own)


def validation_objective(
    engine: Engine, outcome: Outcome, dataset: Dataset, monitor: str, own: OwnMetric | None = None
) -> float:
    """Return a metric of the best epoch's weights on the validation split, which its training did not measure."""
    return _measured(engine, outcome, dataset, dataset.validation, monitor, own)


def _measured(
    engine: Engine, outcome: Outcome, dataset: Dataset, rows: Examples, monitor: str, own: OwnMetric | None
) -> float:
    inputs, targets = rows.inputs, rows.targets
    model = engine.model(outcome.recipe, outcome.weights)
    parts = [
        model.predict_on_batch(rows_of(inputs, slice(start, start + BATCH))) for start in range(0, len(targets), BATCH)
    ]
    named = Named.of([monitor], dataset.task, dataset.description, own)
    measured = engine.head(outcome.recipe).metrics(dataset.task, np.concatenate(parts), targets, rows.weights, named)
    return measured[monitor.removeprefix(VALIDATION_PREFIX)]
