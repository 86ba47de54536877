"""A least-recently-used cache of programs by key."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

KEPT_PROGRAMS = 32  # each holds a model, its slots and its compiled functions; the least recently used one is removed
P = TypeVar("P")


class ProgramCache(Generic[P]):
    """The programs of the most recently used keys, up to a maximum number."""

    def __init__(self, size: int = KEPT_PROGRAMS) -> None:
        self._size = size
        self._programs: OrderedDict[str, P] = OrderedDict()

    def get(self, key: str, make: Callable[[], P]) -> P:
        """Return the key's program, and create it if it is missing."""
        if key not in self._programs:
            while len(self._programs) >= self._size:
                self._programs.popitem(last=False)
            self._programs[key] = make()
        self._programs.move_to_end(key)
        return self._programs[key]

    def __len__(self) -> int:
        return len(self._programs)
