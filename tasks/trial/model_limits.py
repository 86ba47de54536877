"""Enforce a study's limits on the model of a trial: its size before it is trained, its latency afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nightune.tuning.study.sections import Limits
from nightune.tuning.trial import Trial

if TYPE_CHECKING:
    import numpy as np

    from nightune.models.data.dataset import Dataset
    from nightune.models.training.engine import Engine
    from nightune.models.training.loop import Outcome


class OverLimitError(Exception):
    """The model is over the limit that the text names: it is not trained."""


@dataclass(frozen=True)
class ModelLimits:
    """The limits of a trial's model, and its costs as far as they are measured, by the names of the limits."""

    limits: Limits
    asked: tuple[str, ...] = ()  # costs that are objectives: measured without a limit
    costs: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, trial: Trial, limits: Limits, asked: tuple[str, ...] = ()) -> "ModelLimits":
        """Return the limits of a trial; after the search there are none, since its configuration was measured there."""
        return cls(limits, asked) if trial.is_searched else cls(Limits())

    def refuse_weights(self, weights: "Sequence[np.ndarray]") -> None:
        """Measure parameters and size of a model that is built; OverLimitError if it is over a limit."""
        if not self.limits.of_model and not self.asked:
            return
        from nightune.models.networks.model_costs import costs_of_weights  # noqa: PLC0415 - Keras

        self.costs.update(costs_of_weights(weights))
        if said := self.limits.exceeded(self.costs):
            raise OverLimitError(said)

    def problem_of_latency(self, engine: "Engine", outcome: "Outcome", dataset: "Dataset") -> str:
        """Measure the latency of a trained model on the CPU; return what is over its limit, empty without a limit."""
        is_asked = self.limits.latency_ms is not None or "latency_ms" in self.asked
        if not is_asked or not outcome.best_epoch:
            return ""
        from nightune.models.networks.model_costs import cpu_latency_ms  # noqa: PLC0415 - Keras
        from nightune.models.serving.predictor import Predictor  # noqa: PLC0415

        def opened() -> Any:
            described = {**dataset.description, **engine.head(outcome.recipe).description}
            return Predictor(engine.model(outcome.recipe, outcome.weights), dataset.preprocessing, described)

        self.costs["latency_ms"] = cpu_latency_ms(opened, dataset.raw_example)
        return self.limits.exceeded(self.costs)
