"""Columns of paths of images: relative ones start at the folder of the table, or of the study for a function."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.models.data.contents import Arrays, Table
from nightune.models.data.files.image_losses import remarks_on_levels
from nightune.models.data.settings import DataSettings
from nightune.models.user_code import is_reference

if TYPE_CHECKING:
    import pandas as pd


def with_image_paths(content: Table | Arrays, settings: DataSettings, folder: Path) -> Table | Arrays:
    """Return a table with whole paths in its columns of images; anything else as it is."""
    if not settings.images or not isinstance(content, Table):
        return content
    source = folder if is_reference(settings.source) else (folder / Path(settings.source).expanduser()).parent
    frame = from_folder(content.frame, list(settings.images), source)
    remarks = [
        f"column {name!r}: {remark}"
        for name in settings.images
        if name in frame.columns
        for remark in remarks_on_levels(_files(frame[name]), f"data.images.{name}")
    ]
    return replace(content, frame=frame, findings=(*content.findings, *remarks))


def _files(column: "pd.Series[Any]") -> Iterator[Path | bytes]:
    for cell in column:
        if isinstance(cell, str) and cell:
            yield Path(cell)
        elif isinstance(cell, bytes):
            yield cell


def from_folder(table: "pd.DataFrame", names: Sequence[str], folder: Path) -> "pd.DataFrame":
    """Return a table in which the paths of some columns start at a folder; bytes and gaps stay as they are."""

    def whole(value: Any) -> Any:
        return str((folder / value).resolve()) if isinstance(value, str) and value else value

    held = {name: table[name].astype(object).map(whole) for name in names if name in table.columns}
    return table.assign(**held) if held else table
