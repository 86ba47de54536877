"""Describe the prepared data of a study for later steps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightune.models.serving.input_trees import ShapeTree


@dataclass(frozen=True)
class PreparedData:
    """The folder of the prepared data, and its properties that later steps need."""

    folder: Path
    version: str
    task: str
    classes: tuple[Any, ...] | None
    input_shape: ShapeTree
    output_size: int
    sizes: dict[str, int]
    findings: tuple[str, ...]
