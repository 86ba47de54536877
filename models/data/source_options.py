"""How a source is read: the keys of [data] that only some kinds of sources read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nightune.models.errors import InputError

FUNCTION, IMAGES = "function", "images"
# The kinds of sources that read each key, in words.
READ_BY = {
    "separator": ("csv",),
    "decimal": ("csv",),
    "encoding": ("csv", "json", "jsonl"),
    "query": ("sqlite", "duckdb"),
    "sheet": ("excel",),
    "arrays": ("npz", "npy", "hdf5"),
    "arguments": (FUNCTION,),
    "pad": (FUNCTION,),
    "loader": (FUNCTION,),
    "image_size": (IMAGES,),
    "image_color": (IMAGES,),
}
_WORDS = {
    "separator": "CSV files",
    "decimal": "CSV files",
    "encoding": "CSV and JSON files",
    "query": "SQLite and DuckDB files",
    "sheet": "Excel files",
    "arrays": ".npz, .npy and HDF5 files",
    "arguments": "functions, file.py:function",
    "pad": "functions, file.py:function",
    "loader": "functions, file.py:function",
    "image_size": "folders of images",
    "image_color": "folders of images",
}


@dataclass(frozen=True)
class SourceOptions:
    """The study's choices for one source; an empty one leaves it to the file.

    `separator` " " stands for runs of blanks, and `decimal` is "," or ".". `escape` is no key of a study: the sign
    before a quote within quotes, of another file that is written alike. `query` is SQL, `sheet` a name, `arrays` are
    the names in a file by the names that Nightune reads, and `arguments` those of a function by name. `pad` has the
    `side` at which short rows are filled, and perhaps the `length` of all and the `value`. `loader` says what the
    elements of a loader are, "batches" or "examples". `image_size` is (height, width) in pixels, and `image_color`
    "grey", "rgb" or "rgba".
    """

    separator: str = ""
    decimal: str = ""
    encoding: str = ""
    escape: str = ""
    query: str = ""
    sheet: str = ""
    arrays: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    pad: Mapping[str, Any] = field(default_factory=dict)
    loader: str = ""
    image_size: tuple[int, ...] = ()
    image_color: str = ""

    def refuse_unread(self, kind: str, source: str) -> None:
        """Refuse an option that sources of this kind do not read."""
        for name, kinds in READ_BY.items():
            if getattr(self, name) and kind not in kinds:
                problem = f"it is read only for {_WORDS[name]}; source is {source!r}: remove it"
                raise InputError(f"data.{name}", problem)
