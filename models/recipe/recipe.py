"""A recipe: all settings of one training, typed and checked."""

from dataclasses import dataclass, field
from typing import Any

from nightune.models.techniques.batch_sizes.settings import BatchSizeSettings
from nightune.models.techniques.learning_rates.learning_rates import LearningRateSettings
from nightune.models.techniques.losses import TrainingSettings
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
    training: TrainingSettings = field(default_factory=TrainingSettings)

    @property
    def measures_gradients(self) -> bool:
        """True if the batch size or the learning rate follows measurements of the gradients."""
        is_full = self.optimizer.is_full_batch
        return not is_full and (self.batch_size.is_measured or self.learning_rate.batch_scaling == "gns")

    @property
    def largest_batch(self) -> int:
        """The maximum batch size of an update, given enough examples; 0: all examples."""
        if self.optimizer.is_full_batch:
            return 0
        return self.stopping.batch_maximum if self.stopping.grows_batches else self.batch_size.largest
