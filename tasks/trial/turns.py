"""Run the trainings of a cohort on an engine: in turn, or side by side where the device computes many at once."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nightune.models.training.engine import Engine

Training = Callable[["Engine"], None]


def run_in_turn(engine: "Engine", trainings: Sequence[Training]) -> None:
    """Run the trainings one after the other."""
    for training in trainings:
        training(engine)


def run_side_by_side(engine: "Engine", trainings: Sequence[Training]) -> None:
    """Run the trainings side by side if the device computes many at once, otherwise in turn."""
    if engine.name == "jax":
        from nightune.models.engines.compiled.side_by_side import train_side_by_side  # noqa: PLC0415 - JAX
        from nightune.models.engines.compiled.vmap_stacks import Stacks, stack_members  # noqa: PLC0415

        if (members := stack_members()) > 1:
            train_side_by_side(engine, trainings, members, Stacks(members).run_epochs)
            return
    run_in_turn(engine, trainings)
