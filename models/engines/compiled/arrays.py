"""The arrays that programs take and return, by their names. Both backends walk named tuples as they walk tuples."""

from typing import Any, NamedTuple

Arrays = list[Any]


class State(NamedTuple):
    """All that a trial changes while it trains."""

    trainable: Arrays  # weights
    rest: Arrays  # other variables: moving statistics, states of random streams
    slots: Arrays  # of the optimizer


class Data(NamedTuple):
    """The data set; targets as the head wants them."""

    inputs: Any
    targets: Any
    validation: Any  # inputs


class Batch(NamedTuple):
    """Examples that are computed at once."""

    inputs: Any
    targets: Any
    weights: Any  # each example's share of the batch's mean, or one for all; 0 for padding


class Update(NamedTuple):
    """What one update takes beside state and data."""

    numbers: Any  # as `Program.numbers` returns them
    order: Any  # of the epoch's examples, padded
    bounds: Any  # (2,) int32: where the batch starts in the order, and its size
    rates: Any  # (3,) float32: learning rate, shrink, and momentum where it follows the rate


class Updates(NamedTuple):
    """What consecutive updates of an epoch take beside state and data."""

    numbers: Any
    order: Any
    bounds: Any  # (updates, 2)
    rates: Any  # (updates, 3)
    span: Any  # int32: the first update, the end (exclusive), and whether to validate then, where a call decides it

    def at(self, place: Any) -> Update:
        """Return one of the updates."""
        return Update(self.numbers, self.order, self.bounds[place], self.rates[place])
