"""Trainings that halted at a rung, kept in memory until they are promoted; without memory they start again."""

from collections import OrderedDict

from nightune.models.training.engine import COMPILED_ENGINES, Engine
from nightune.models.training.folds import FoldsEngine
from nightune.models.training.loop import Halted, Outcome

KEPT_BYTES = 2**29
COPIES = 4  # of the weights: the current ones, up to two slots each, and the best epoch's
ORDER_BYTES = 8  # per example: its index in the plans that a state keeps


class HaltedTrainings:
    """The latest ones, by name. Only compiled states are kept: they are arrays, those of `fit` are traced models."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._limit = kept_bytes
        self._kept: OrderedDict[str, tuple[Halted, int]] = OrderedDict()

    def keep(self, name: str, engine: Engine, outcome: Outcome) -> None:
        """Keep a training if it has halted, and remove the oldest ones if memory is short."""
        if outcome.halted is None or engine.name not in COMPILED_ENGINES:
            return
        count = engine.training_count if isinstance(engine, FoldsEngine) else 1
        size = count * COPIES * sum(weight.nbytes for weight in outcome.weights) + ORDER_BYTES * outcome.examples
        self._kept[name] = (outcome.halted, size)
        while sum(size for _, size in self._kept.values()) > self._limit:
            self._kept.popitem(last=False)

    def take(self, name: str, until: int) -> Halted | None:
        """Return and remove a training that can resume up to this epoch; None if it must start again."""
        halted, _ = self._kept.pop(name, (None, 0))
        return halted if halted is not None and halted.controller.epoch < until else None
