"""Names of classes by study, beside prepared data: studies on the same data may name its classes in different ways."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from nightune.models.data.class_names import described_names
from nightune.models.data.dataset import Dataset
from nightune.models.data.whole_files import replace_text

FOLDER, NAMES = "class_names", "class_names"  # in the folder of the data; in a description


def keep_names(dataset: Dataset, folder: Path, study: str) -> None:
    """Write the names of classes that a study or its source has given; an empty list for none."""
    file = folder / FOLDER / f"{study}.json"
    names = dataset.description.get(NAMES, [])
    if _held(file) == names:
        return
    file.parent.mkdir(exist_ok=True)
    replace_text(file, json.dumps(names, ensure_ascii=False))


def names_for(dataset: Dataset, folder: Path, study: str, stated: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of classes as a version's description has them; empty without any.

    Those that the study states, else those that were kept for it. Data of an earlier version has none for any study:
    those of its description, then. InputError for stated ones that do not fit.
    """
    has_classes = dataset.task in ("binary", "multiclass") and "heads" not in dataset.description
    if stated:
        return described_names(stated, True, dataset.task, (has_classes and dataset.classes) or ())
    kept = _held(folder / FOLDER / f"{study}.json")
    names = dataset.description.get(NAMES, []) if kept is None else kept
    return {NAMES: names} if names else {}


def _held(file: Path) -> list[str] | None:
    with suppress(OSError, ValueError):  # missing, or damaged
        names: list[str] = json.loads(file.read_text(encoding="utf-8"))
        return names
    return None
