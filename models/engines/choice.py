"""Choose the engine of a sweep before its first trial."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nightune.models.data.dataset import Dataset
from nightune.models.errors import InputError
from nightune.models.recipe.recipe import Recipe
from nightune.vocabulary import unknown_name

REQUESTS = ("auto", "compiled", "fit")


@dataclass(frozen=True)
class EngineChoice:
    """Which engine trains a sweep, and why."""

    name: str
    reason: str


def choose_engine(request: str, recipes: Sequence[Recipe], dataset: Dataset, folder: Path) -> EngineChoice:
    """Settle the engine before the first trial, by the recipes that are to be trained; it stays for the whole sweep.

    `auto` takes a compiled engine where there is one that can, and that trains two of the recipes as `fit` does.
    """
    if request not in REQUESTS:
        raise InputError("engine", unknown_name(request, REQUESTS))
    if request == "fit":
        return EngineChoice("fit", "as asked")
    from nightune.models.engines.verification import compare_engines  # noqa: PLC0415 - Keras takes seconds

    comparison = compare_engines(recipes, dataset, folder)
    if comparison.refusal is None:
        return EngineChoice(comparison.engine, comparison.agreement)
    if request == "compiled":
        raise InputError("engine", f"'compiled' is not possible: {comparison.refusal} (allowed: auto, fit)")
    return EngineChoice("fit", comparison.refusal)
