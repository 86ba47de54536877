"""Choose the engine of a sweep before its first trial."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nightune.models.data.dataset import Dataset
from nightune.models.errors import InputError
from nightune.models.recipe.recipe import Recipe
from nightune.models.training import reported_names
from nightune.models.training.engine import Engine
from nightune.vocabulary import unknown_name

if TYPE_CHECKING:
    from nightune.models.engines.costs import PlannedWork

REQUESTS = ("auto", "compiled", "fit")


@dataclass(frozen=True)
class EngineChoice:
    """Which engine trains a sweep, and why; for a compiled engine, how well it agrees with `fit`."""

    name: str
    reason: str
    agreement: str = ""


def choose_engine(
    request: str,
    recipes: Sequence[Recipe],
    dataset: Dataset,
    folder: Path,
    make: Callable[[str], Engine] | None = None,
    work: "PlannedWork | None" = None,
    known: str = "",
) -> EngineChoice:
    """Choose the engine for the recipes of a sweep; it stays the same for the whole sweep.

    `auto` chooses the backend's compiled engine if it supports the recipes and trains two of them as `fit` does, unless
    `fit` trains the planned `work` in clearly less time. `make` returns the engine of a name that will train the sweep:
    programs that the check compiles then serve the trials. `known`: how well the engines agreed when an earlier sweep
    asked the same, with the same work; recipes are then only looked at.
    InputError if no model of the recipes has embeddings for the ids of the data, or none can be trained.
    """
    if request not in REQUESTS:
        raise InputError("engine", unknown_name(request, REQUESTS))
    from nightune.models.engines.own_steps import refuse_untrainable_models  # noqa: PLC0415 - Keras takes seconds
    from nightune.models.engines.verification import compare_engines, refuse_unknown_ids  # noqa: PLC0415 - as above

    refuse_unknown_ids(recipes, dataset, folder)
    if request == "fit":
        return EngineChoice("fit", reported_names.AS_ASKED)
    comparison = compare_engines(recipes, dataset, folder, make, work if request == "auto" else None, known)
    if comparison.cost is not None:
        return EngineChoice("fit", comparison.cost)
    if comparison.refusal is None:
        asked = f"{reported_names.AS_ASKED}; " if request == "compiled" else ""
        found_by = ", as an earlier sweep found" if known else ""
        return EngineChoice(comparison.engine, f"{asked}{comparison.agreement}{found_by}", comparison.agreement)
    if comparison.is_broken:
        refuse_untrainable_models(recipes, dataset, folder)
    if request == "compiled":
        raise InputError("engine", f"'compiled' is not possible: {comparison.refusal} (allowed: auto, fit)")
    return EngineChoice("fit", comparison.refusal)


def expected_engine(recipes: Sequence[Recipe], dataset: Dataset, folder: Path) -> str:
    """Return which engine `auto` will choose and why, as far as it shows without training.

    InputError as in `choose_engine`. Imports Keras.
    """
    from nightune.models.engines.verification import refusals_of_compiled, refuse_unknown_ids  # noqa: PLC0415 - as above

    refuse_unknown_ids(recipes, dataset, folder)
    engine, refusals = refusals_of_compiled(recipes, dataset, folder)
    return f"fit · {'; '.join(refusals)}" if refusals else f"{engine} · if two of the trials match fit's at the start"
