"""A recipe: all settings of one training, typed and checked."""

from dataclasses import dataclass, field, replace
from typing import Any

from nightune.models.techniques.batch_sizes.settings import BatchSizeSettings
from nightune.models.techniques.keys import NO_NAMES
from nightune.models.techniques.learning_rates.learning_rates import LearningRateSettings
from nightune.models.techniques.losses import TrainingSettings
from nightune.models.techniques.optimizers.optimizers import OptimizerSettings
from nightune.models.techniques.penalties.penalties import PenaltySettings
from nightune.models.techniques.precision import PrecisionSettings
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.techniques.weight_decays.weight_decays import WeightDecaySettings

FINE_TUNING = "fine_tuning"  # in the facts of a snapshot


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
    is_fine_tuning: bool = False  # the second phase of a training whose first one froze layers

    @property
    def fine_tuned(self) -> "Recipe":
        """The recipe of the second phase."""
        return replace(self, is_fine_tuning=True)

    @property
    def as_built(self) -> "Recipe":
        """The recipe of a model whose layers are trained or not as its function made them."""
        return replace(self, is_fine_tuning=False, training=replace(self.training, freeze=NO_NAMES))

    @property
    def phase_facts(self) -> dict[str, int]:
        """What a snapshot says of the phase; nothing in the first one, or the only one."""
        return {FINE_TUNING: 1} if self.is_fine_tuning else {}

    @property
    def phases(self) -> "tuple[Recipe, ...]":
        """The recipes of the phases."""
        return (self, self.fine_tuned) if self.training.second_phase else (self,)

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
