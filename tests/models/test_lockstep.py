"""Trainings side by side: in step, refilled as they end, and left when one of them breaks."""

from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("greenlet")

from nightune.models.engines.compiled.side_by_side import train_side_by_side


class Counting:
    name = "counting"

    def start(self) -> int:
        return 0


def training(epochs: int) -> Any:
    def train(engine: Any) -> tuple[str, int]:
        state = engine.start()
        for plan in range(epochs):
            state = engine.run_epoch(state, plan)
        return engine.name, state

    return train


def one_more(members: Sequence[tuple[int, int]]) -> list[int]:
    return [state + 1 for state, _ in members]


def test_each_training_returns_its_own_result_in_order() -> None:
    results = train_side_by_side(Counting(), [training(epochs) for epochs in (3, 0, 1, 5)], 2, one_more)
    assert results == [("counting", 3), ("counting", 0), ("counting", 1), ("counting", 5)]


def test_places_of_ended_trainings_are_taken_by_the_next() -> None:
    sizes: list[int] = []

    def counted(members: Sequence[tuple[int, int]]) -> list[int]:
        sizes.append(len(members))
        return one_more(members)

    train_side_by_side(Counting(), [training(epochs) for epochs in (4, 1, 1, 1)], 2, counted)
    assert sizes == [2, 2, 2, 1]


def test_an_error_of_a_stack_is_raised_in_its_trainings_only() -> None:
    def train(engine: Any) -> str:
        try:
            engine.run_epoch(1, "bad")
        except ValueError as error:
            return str(error)
        return "trained"

    results = train_side_by_side(Counting(), [train, training(1)], 2, lambda members: [ValueError("no room"), 1])
    assert results == ["no room", ("counting", 1)]


def test_waiting_trainings_are_left_when_one_breaks_or_is_interrupted() -> None:
    left: list[str] = []

    def waits(engine: Any) -> None:
        try:
            engine.run_epoch(0, 0)
        except BaseException:
            left.append("abandoned")
            raise

    def breaks(engine: Any) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        train_side_by_side(Counting(), [waits, breaks], 2, one_more)

    def interrupted(members: Sequence[tuple[int, int]]) -> list[int]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_side_by_side(Counting(), [waits], 2, interrupted)
    assert left == ["abandoned", "abandoned"]
