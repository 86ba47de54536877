"""Where the prepared data of a study is, and what later steps need to know of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class PreparedData:
    """Where the prepared data lies, and what the later steps need to know of it."""

    folder: Path
    version: str
    task: str
    classes: tuple[Any, ...] | None
    input_shape: tuple[int, ...]
    output_size: int
    sizes: dict[str, int]
    findings: tuple[str, ...]
