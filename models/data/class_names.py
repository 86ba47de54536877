"""Names of classes beside labels that are codes: for people who read predictions; they change no model."""

from collections.abc import Sequence
from typing import Any

from nightune.models.errors import InputError

KEY = "data.class_names"


def described_names(names: Sequence[str], are_stated: bool, task: str, classes: Sequence[Any]) -> dict[str, list[str]]:
    """Return the names in the order of the classes, as the description has them; empty without any.

    Those that the study states are one for each class. Those of a source count by code, and are left out for other
    labels. `classes` are empty for a task without, and for several heads.
    """
    if are_stated:
        if len(names) != len(classes):
            held = f"{len(classes)} classes, {list(classes)[:10]}" if classes else f"no classes, but the task {task}"
            raise InputError(KEY, f"{len(names)} names, and the data has {held}; give one for each, in this order")
        if len(set(names)) < len(names):
            raise InputError(KEY, "names a class twice; give each a name of its own")
        return {"class_names": list(names)}
    are_codes = all(isinstance(label, int) and not isinstance(label, bool) for label in classes)
    if not (names and classes and are_codes and 0 <= min(classes) <= max(classes) < len(names)):
        return {}
    return {"class_names": [names[label] for label in classes]}


def names_of(loader: Any) -> tuple[str, ...]:
    """Return the names of classes that a loader of Keras or PyTorch knows; none otherwise."""
    held = getattr(loader, "class_names", None)
    if held is None:
        held = getattr(getattr(loader, "dataset", None), "classes", None)
    names = tuple(held) if isinstance(held, list | tuple) else ()
    return names if all(isinstance(name, str) for name in names) and len(set(names)) == len(names) else ()
