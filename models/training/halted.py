"""Trainings that halted at a rung, kept in memory for when they are promoted; what does not fit is trained again."""

from collections import OrderedDict

from nightune.models.training.engine import COMPILED_ENGINES, Engine
from nightune.models.training.loop import Halted, Outcome

KEPT_BYTES = 2**29
COPIES = 4  # weights, up to two slots each, and the best epoch's
ORDER_BYTES = 8  # an example's place in a plan, which a state keeps


class HaltedTrainings:
    """The last ones, by name. Only compiled states are kept: they are arrays, where `fit` has a traced model each."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._limit = kept_bytes
        self._kept: OrderedDict[str, tuple[Halted, int]] = OrderedDict()

    def keep(self, name: str, engine: Engine, outcome: Outcome) -> None:
        """Keep a training if it has halted, and let the oldest go for it."""
        if outcome.halted is None or engine.name not in COMPILED_ENGINES:
            return
        size = COPIES * sum(weight.nbytes for weight in outcome.weights) + ORDER_BYTES * outcome.examples
        self._kept[name] = (outcome.halted, size)
        while sum(size for _, size in self._kept.values()) > self._limit:
            self._kept.popitem(last=False)

    def take(self, name: str, until: int) -> Halted | None:
        """Return a training that may go on to this epoch, once; None where it is to begin anew."""
        halted, _ = self._kept.pop(name, (None, 0))
        return halted if halted is not None and halted.controller.epoch < until else None
