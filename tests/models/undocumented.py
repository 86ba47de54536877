"""A mark for tests of names that a library does not document: such a test fails with the name and its purpose."""

import functools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Test = Callable[..., None]


@dataclass(frozen=True)
class Name:
    """A name that we use, its purpose, and the function of ours that uses it, dotted from `nightune.models`."""

    library: str
    name: str
    purpose: str
    used_in: str


NAMES: list[Name] = []
BATCH = np.ones((4, 3), np.float32)


def undocumented(library: str, name: str, purpose: str, used_in: str) -> Callable[[Test], Test]:
    """Fail the test for any error, with the library, the name, its purpose and its place."""
    known = Name(library, name, purpose, used_in)
    NAMES.append(known)

    def mark(test: Test) -> Test:
        @functools.wraps(test)
        def run(*arguments: Any, **options: Any) -> None:
            try:
                test(*arguments, **options)
            except Exception as error:
                pytest.fail(
                    f"{library}: `{name}` is missing or does something else.\n"
                    f"We need it for {purpose}: nightune.models.{used_in}.\n{type(error).__name__}: {error}"
                )

        return run

    return mark


def net(*stack: Any) -> Any:
    """A model of the layers, for rows of three numbers."""
    import keras

    return keras.Sequential([keras.Input((3,)), *stack])


def saved_member(model: Any, folder: Path, name: str) -> bytes:
    """One member of the file that Keras saves for the model."""
    model.save(folder / "model.keras")
    with zipfile.ZipFile(folder / "model.keras") as archive:
        return archive.read(name)
