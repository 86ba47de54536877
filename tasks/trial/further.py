"""Measure the objectives after the first: costs of the model, and metrics of the weights that the first one chose."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nightune.tasks.metric_problems import further_metric
from nightune.tuning.study.study import Study

if TYPE_CHECKING:
    from nightune.models.training.engine import Engine
    from nightune.models.training.loop import Outcome
    from nightune.tasks.trial.trainer import Trainer


def further_values(
    engine: "Engine", outcome: "Outcome", trainer: "Trainer", study: Study, costs: Mapping[str, float]
) -> dict[str, float]:
    """Return the objectives after the first by name, of the weights of the best epoch; empty without a finite epoch.

    Metrics are measured on the rows that rank trials.
    """
    from nightune.models.training.ranking import ranking_objective, validation_objective  # noqa: PLC0415 - Keras

    found: dict[str, float] = {}
    for each in study.objective.further if outcome.best_epoch else ():
        if each.is_cost:
            found[each.name] = costs[each.metric]
        elif trainer.dataset.ranking_apart is not None:
            own = further_metric(study, each)
            found[each.name] = ranking_objective(engine, outcome, trainer.dataset, each.name, own)
        elif each.is_own:
            own = further_metric(study, each)
            found[each.name] = validation_objective(engine, outcome, trainer.dataset, each.name, own)
        else:
            found[each.name] = float(outcome.curves[each.metric][outcome.best_epoch - 1])
    return found
