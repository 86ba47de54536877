"""Arrays beside `x` and `y` with one value per row: `group`, `time` and `part`, which split them, and `weight`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.columns.reading import Choices
from nightune.models.data.parts import WEIGHTS, keras_parts, read_parts
from nightune.models.data.splits import Split
from nightune.models.errors import InputError
from nightune.vocabulary import unknown_name

if TYPE_CHECKING:
    import pandas as pd

KEY, COLUMN = "data.source", "data.split.column"
INPUTS = ("x", "X", "inputs")  # the names of the array of inputs
_REQUIRED = {"x": INPUTS, "y": ("y", "Y", "targets")}
KINDS = {"group": "group", "time": "time", "part": "fixed"}  # the kind of split that reads the array of a name
ARRAYS = (*_REQUIRED, "weight", *KINDS)
_REORDERED = (
    "have the same labels of rows in another order; return {}, or reset both with reset_index(drop=True) if their rows "
    "belong together as they are"
)


@dataclass(frozen=True, eq=False)
class SplitByKeys:
    """A split with the values that it reads, one per row, and what was settled without the study."""

    split: Split
    column: "pd.Series[Any] | None"
    findings: tuple[str, ...] = ()


def known_names(given: Iterable[Any], source: str) -> list[str]:
    """Return the names of arrays that are read: those of `ARRAYS`, or Keras' names of the arrays of each split."""
    held = list(given)
    parts = keras_parts(held)
    return [name for names in parts.values() for name in names] if parts else list(find_names(held, source).values())


def find_names(given: Iterable[Any], source: str) -> dict[str, str]:
    """Return the names under which a dictionary or a file holds `x` and `y`, and of the other arrays that it has."""
    held = [str(name) for name in given]
    found = {name: next((each for each in names if each in held), None) for name, names in _REQUIRED.items()}
    for name, each in found.items():
        if each is None:
            other = _REQUIRED[name][-1]
            raise InputError(
                KEY,
                f"{source} needs an array {name!r} (or {other!r}); it is a dict or file of arrays that holds {held} "
                "(a function returns arrays (x, y), a dictionary with x and y, or a DataFrame)",
            )
    weights = [name for name in WEIGHTS if name in held]
    if len(weights) > 1:
        raise InputError(KEY, f"{source} holds weights twice, as {weights[0]!r} and {weights[1]!r}; leave one out")
    own = ({"weight": weights[0]} if weights else {}) | {name: name for name in KINDS if name in held}
    return {name: each for name, each in found.items() if each} | own


def read_keys(held: Mapping[Any, Any], inputs: Any, count: int, source: str) -> "dict[str, pd.Series[Any]]":
    """Read group and time, as far as given: one number, text or date for each of the `count` rows."""
    return {name: _read_key(held[name], name, inputs, count, source) for name in KINDS if name in held}


def _read_key(values: Any, name: str, inputs: Any, count: int, source: str) -> "pd.Series[Any]":
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables and arrays with such keys

    refuse_other_order(inputs, values, source, name)
    array = values.to_numpy() if isinstance(values, pd.DataFrame) else values
    shape = np.shape(array)
    if shape not in ((count,), (count, 1)):
        raise InputError(KEY, f"{source}: {name} has shape {shape}; one value for each of {count} rows is needed")
    flat = array.array if isinstance(array, pd.Series) else np.asarray(array).reshape(-1)
    column: pd.Series[Any] = pd.Series(flat, name=name)
    if name == "time" and not (pd.api.types.is_numeric_dtype(column) or column.dtype.kind == "M"):
        return _as_times(column, source)
    return column


def _as_times(column: "pd.Series[Any]", source: str) -> "pd.Series[Any]":
    """Read dates of Python, and texts in the form 2026-01-31: no key of a study settles other forms for arrays."""
    import pandas as pd  # noqa: PLC0415

    try:
        return pd.to_datetime(column, format="ISO8601", utc=True)
    except (ValueError, TypeError) as error:
        raise InputError(
            KEY,
            f"{source}: time holds {column.iloc[0]!r}; return numbers, dates (datetime64), or texts in the form "
            "2026-01-31",
        ) from error


def split_by_keys(split: Split, keys: "Mapping[str, pd.Series[Any]]", count: int, source: str) -> SplitByKeys:
    """Settle which of the keys of arrays a split reads; a split without a kind follows the key that is given.

    A time split of arrays without times takes their `count` rows in order, oldest first.
    """
    if split.kind is None:
        return _follow(split, keys, source)
    if split.kind not in KINDS.values():
        return SplitByKeys(split, None, _unread(split, keys, source))
    usual = next(name for name, kind in KINDS.items() if kind == split.kind)
    name = split.column or usual
    if name in keys:
        _refuse_drawing(split, keys)
        return SplitByKeys(replace(split, column=name), keys[name], _unread(replace(split, column=name), keys, source))
    if split.kind == "time" and split.column is None:
        return _in_order(split, keys, count, source)
    if split.column is not None and keys:
        raise InputError(COLUMN, unknown_name(split.column, keys, "array"))
    raise InputError(
        COLUMN,
        f"applies only to tables; {source} holds arrays without {name!r}: give them as an array of one value per row, "
        f'{{"x": x, "y": y, "{usual}": {usual}}} of a function or np.savez(file, x=x, y=y, {usual}={usual})',
    )


def _in_order(split: Split, keys: "Mapping[str, pd.Series[Any]]", count: int, source: str) -> SplitByKeys:
    import pandas as pd  # noqa: PLC0415

    rows = pd.Series(np.arange(count), name="row")
    finding = f"split: {source} holds no 'time'; its rows are taken in their order, oldest first"
    return SplitByKeys(replace(split, column="row"), rows, (finding, *_unread(split, keys, source)))


def _follow(split: Split, keys: "Mapping[str, pd.Series[Any]]", source: str) -> SplitByKeys:
    if not keys:
        return SplitByKeys(split, None)
    if "part" in keys:
        keys = {"part": keys["part"], **keys}
    elif len(keys) > 1:
        named = " and ".join(map(repr, keys))
        kinds = ", ".join(f'"{KINDS[name]}"' for name in keys)
        raise InputError("data.split.kind", f'missing; {source} holds {named}: choose {kinds} or "random"')
    name = next(iter(keys))
    finding = f"split: by {name!r}, which {source} holds; another kind in [data] split overrides it"
    followed = replace(split, kind=KINDS[name], column=name)
    _refuse_drawing(followed, keys)
    return SplitByKeys(followed, keys[name], (finding, *_unread(followed, keys, source)))


def _unread(split: Split, keys: "Mapping[str, pd.Series[Any]]", source: str) -> tuple[str, ...]:
    """Say which of the keys of arrays a split with a kind does not read."""
    unused = [name for name in keys if name != split.column]
    return tuple(f"split: {name!r} of {source} is not read by a {split.kind} split" for name in unused)


def _refuse_drawing(split: Split, keys: "Mapping[str, pd.Series[Any]]") -> None:
    """Refuse to draw rows at random where groups or times say that rows belong together."""
    others = [name for name in keys if name != "part"]
    if split.kind != "fixed" or not others:
        return
    missing = [name for name in ("validation", "test") if name not in read_parts(keys["part"])]
    if missing:
        raise InputError(
            COLUMN,
            f"'part' names no row of {' and '.join(missing)}, and rows drawn at random would separate those of one "
            f"{' or '.join(others)}: name them in 'part', or leave out {' and '.join(others)}",
        )


def key_choices(column: "pd.Series[Any] | None") -> Choices:
    """Take groups of arrays as they are: two spellings are two groups."""
    return Choices((), {}, {}, () if column is None or column.name != "group" else ("group",))


def refuse_other_order(inputs: Any, values: Any, source: str, what: str) -> None:
    """Refuse tables of inputs and values whose labels of rows are the same, in another order; and so among inputs."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    parts = inputs.values() if isinstance(inputs, Mapping) else inputs if isinstance(inputs, list | tuple) else [inputs]
    tables = [each for each in parts if isinstance(each, pd.DataFrame | pd.Series)]
    for each in tables:
        if isinstance(values, pd.DataFrame | pd.Series) and _is_reordered(each.index, values.index):
            raise InputError(KEY, f"{source}: inputs and {what} {_REORDERED.format('y.loc[x.index]')}")
        if _is_reordered(tables[0].index, each.index):
            raise InputError(KEY, f"{source}: several inputs {_REORDERED.format('b.loc[a.index]')}")


def _is_reordered(one: Any, other: Any) -> bool:
    return len(one) == len(other) and not one.equals(other) and one.is_unique and not len(one.difference(other))
