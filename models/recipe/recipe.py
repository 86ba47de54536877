"""A recipe: all settings of one training, typed and checked."""

import json
from dataclasses import dataclass
from typing import Any

from nightune.models.techniques.batch_sizes.settings import BatchSizeSettings
from nightune.models.techniques.learning_rates.learning_rates import LearningRateSettings
from nightune.models.techniques.optimizers.optimizers import OptimizerSettings
from nightune.models.techniques.penalties.penalties import PenaltySettings
from nightune.models.techniques.precision import PrecisionSettings
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.techniques.weight_decays.weight_decays import WeightDecaySettings


@dataclass(frozen=True)
class Recipe:
    """The settings of one training. `model` contains the architecture's parameters, without the prefix `model.`."""

    optimizer: OptimizerSettings
    learning_rate: LearningRateSettings
    batch_size: BatchSizeSettings
    weight_decay: WeightDecaySettings
    penalty: PenaltySettings
    stopping: StoppingSettings
    precision: PrecisionSettings
    architecture: str
    model: dict[str, Any]

    @property
    def measures_gradients(self) -> bool:
        """True if the batch size or the learning rate follows measurements of the gradients."""
        is_full = self.optimizer.is_full_batch
        return not is_full and (self.batch_size.is_measured or self.learning_rate.batch_scaling == "gns")

    @property
    def graph_key(self) -> str:
        """The settings that change the computation graph: trials with equal keys can share one compiled program.

        Rates, strengths and the dropout rate are data. The batch size enters as a bucket: the maximum of the policy,
        rounded up to a power of two.
        """
        model = {name: value != 0 if name == "dropout" else value for name, value in self.model.items()}
        update = f"{self.optimizer.structure}{self.decay_structure}"
        update += " following its hypergradient" if self.learning_rate.hypergradient_strength else ""
        precision = f" · {self.precision.policy}" if self.precision.is_mixed else ""
        model_key = f"{self.architecture} {json.dumps(model, sort_keys=True)}"
        return f"{model_key} · {update} · {self._bucket}{precision}{self.loss_structure}"

    @property
    def decay_structure(self) -> str:
        """The part of the graph key from weight decay: the scope; the strength is data."""
        return " decaying all" if self.weight_decay.scope == "all" else ""

    @property
    def loss_structure(self) -> str:
        """The part of the graph key from the loss: whether labels are smoothed; the amount is data."""
        return " · smoothed labels" if self.penalty.label_smoothing else ""

    @property
    def _bucket(self) -> str:
        if self.optimizer.is_full_batch:
            return "batch all"
        largest = self.stopping.batch_maximum if self.stopping.grows_batches else self.batch_size.largest
        bucket = 1 << (largest - 1).bit_length()
        is_fixed = self.batch_size.policy == "fixed" and not self.stopping.grows_batches
        return f"batch {bucket}" if is_fixed else f"batch up to {bucket}"
