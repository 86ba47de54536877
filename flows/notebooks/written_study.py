"""Write a study given as a dictionary, with its data in memory, as files that every command reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tomlkit

from nightune.models.data.array_keys import ARRAYS
from nightune.models.errors import InputError
from nightune.models.serving.preprocessing import as_table, is_table
from nightune.tasks.load_study import problems_of
from nightune.tuning.errors import StudyError

if TYPE_CHECKING:
    import pandas as pd

MARK = "# Written from a dictionary; change the dictionary, not this file.\n"
DATA = "data"


def write_study(study: Mapping[str, Any], data: Any, folder: Path) -> Path:
    """Write NAME.toml, and NAME.parquet or NAME.npz with the data, into the folder; return the study's file.

    The key `name` of the study names the files. `data` is None, a DataFrame, a tuple of arrays (x, y) or
    (x, y, weight), or a dictionary of arrays (x, y, and weight, group, time or part). InputError names the key that
    cannot be written, and files of this name that were not written by this function; StudyError lists the problems of
    the study, which is not written then.
    """
    tables = _plain(study, "study")
    name = tables.get("name")
    if not isinstance(name, str) or not name or Path(name).name != name:
        raise InputError("study.name", f"{name!r}; give the study a name, such as 'first': its files are named by it")
    file = folder / f"{name}.toml"
    if file.exists() and not file.read_text(encoding="utf-8").startswith(MARK):
        raise InputError("study.name", f"{file} is a study of yours; tune it by its path, or choose another name")
    if data is not None:
        section = tables.setdefault(DATA, {})
        if not isinstance(section, dict) or "source" in section:
            raise InputError("study.data.source", "named in the study, and data is given: leave out one of the two")
        section["source"] = f"{name}{'.parquet' if is_table(data) else '.npz'}"
        _refuse_other_data(folder / section["source"], file)
    text = MARK + (_data_mark(section["source"]) if data is not None else "") + tomlkit.dumps(tables)
    problems = problems_of(text, file)
    if problems:
        raise StudyError(str(file), problems)
    if data is not None:
        _write_data(data, folder / section["source"])
    file.write_text(text, encoding="utf-8")
    return file


def _refuse_other_data(place: Path, study: Path) -> None:
    """Refuse to replace a file of data that an earlier call has not written: the study of that call names it."""
    is_ours = study.exists() and _data_mark(place.name) in study.read_text(encoding="utf-8")
    if place.exists() and not is_ours:
        remedy = f"give the study another name, or read that file: source = {place.name!r} in data"
        raise InputError("study.name", f"{place} holds data of yours, which would be replaced; {remedy}")


def _data_mark(name: str) -> str:
    return f"# Its data was written with it: {name}\n"


def _write_data(data: Any, file: Path) -> None:
    """Write the data beside the study."""
    if is_table(data):
        _write_table(as_table(data), file)
        return
    if isinstance(data, tuple | list) and len(data) in {2, 3}:
        data = dict(zip(("x", "y", "weight"), data, strict=False))
    if not isinstance(data, Mapping) or not {"x", "y"} <= set(data) <= set(ARRAYS):
        known = "a DataFrame, (x, y), (x, y, weight), or a dictionary of arrays by these names: " + ", ".join(ARRAYS)
        raise InputError(DATA, f"a {type(data).__name__} of other content; give {known}")
    arrays = {key: np.asarray(value) for key, value in data.items() if not isinstance(value, Mapping)}
    objects = [key for key in data if key not in arrays or arrays[key].dtype == object]
    if objects:
        remedy = "give a DataFrame, or a function of a file that returns them: source = 'data.py:load'"
        raise InputError(DATA, f"{objects[0]!r} is no array of numbers or texts; {remedy}")
    np.savez(file, **arrays)  # type: ignore[arg-type]


def _write_table(table: "pd.DataFrame", file: Path) -> None:
    try:
        table.to_parquet(file, index=False)
    except (ValueError, TypeError) as error:  # ArrowInvalid is a ValueError, ArrowTypeError a TypeError
        reason = str(error).strip().splitlines()[0]
        raise InputError(DATA, f"the DataFrame cannot be written ({reason}); give each column one kind") from error


def _plain(value: Any, key: str) -> Any:
    """Return a value of TOML; a key with points is one of nested tables, as in a file."""
    if isinstance(value, Mapping):
        table: dict[str, Any] = {}
        for name, each in value.items():
            if not isinstance(name, str):
                raise InputError(f"{key}.{name}", "not a text; keys of a study are texts")
            first, *rest = name.split(".")
            held = _plain(each, f"{key}.{name}")
            for part in reversed(rest):
                held = {part: held}
            table[first] = _joined(table.get(first), held, f"{key}.{name}")
        return table
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), key)
    if isinstance(value, list | tuple):
        return [_plain(each, f"{key}[{place}]") for place, each in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str | bool | int | float):
        return value
    remedy = "write the function into a file, and name it: 'models.py:build'" if callable(value) else "leave it out"
    raise InputError(key, f"{value!r} is no text, number, truth value, list or table; {remedy}")


def _joined(held: Any, more: Any, key: str) -> Any:
    """Return two tables of one name as one."""
    if held is None:
        return more
    if not (isinstance(held, dict) and isinstance(more, dict)):
        raise InputError(key, "given twice")
    return held | {name: _joined(held.get(name), each, f"{key}.{name}") for name, each in more.items()}
