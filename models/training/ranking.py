"""The rows that rank trials, where a study sets some apart from those that stop trainings."""

import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.networks.heads import read_head
from nightune.models.networks.metrics import metrics
from nightune.models.training.engine import Engine
from nightune.models.training.loop import Outcome
from nightune.vocabulary import VALIDATION_PREFIX

BATCH = 1024


def ranking_objective(engine: Engine, outcome: Outcome, dataset: Dataset, monitor: str) -> float:
    """Return the monitored metric of the best epoch's weights on the ranking split; NaN where no epoch was finite."""
    if dataset.ranking_apart is None or outcome.best_epoch == 0:
        return outcome.objective
    inputs, targets = dataset.ranking_apart.inputs, dataset.ranking_apart.targets
    model = engine.model(outcome.recipe, outcome.weights)
    head = read_head(model, dataset.task, dataset.output_size, np.asarray(inputs[:2]))
    parts = [model.predict_on_batch(inputs[start : start + BATCH]) for start in range(0, len(inputs), BATCH)]
    measured = metrics(dataset.task, np.concatenate(parts), targets, head.is_logits)
    return measured[monitor.removeprefix(VALIDATION_PREFIX)]
