"""Parts of a fixed split: the names that rows give, and arrays of several parts as one."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.contents import Arrays
from nightune.models.errors import InputError
from nightune.models.serving.input_trees import joined_rows, named_arrays, row_count
from nightune.vocabulary import listing

if TYPE_CHECKING:
    import pandas as pd

KEY = "data.source"
WEIGHTS = ("weight", "weights", "sample_weight", "sample_weights")
PART_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
    "ranking": "ranking",
}
_WORDS = ("train", "val", "valid", "validation", "test")  # in names of arrays


def read_parts(column: "pd.Series[Any]", kept: np.ndarray | None = None) -> np.ndarray:
    """Return the split of each row, by names in any case; InputError for missing and unknown ones.

    Without its rows that `kept` leaves out, each part must still have a row: it is not replaced by another in silence.
    """
    names = column.map(lambda value: PART_NAMES.get(str(value).strip().lower()))
    if names.isna().any():
        gaps = int(column.isna().sum())
        unknown = column[names.isna()].dropna().unique()[:5].tolist()
        held = f"{', '.join(map(repr, unknown))} {'is' if len(unknown) == 1 else 'are'} no part" if unknown else ""
        missing = f"{gaps} rows name no part" if gaps else ""
        are_numbers = {str(each) for each in unknown} <= {"0", "1", "2", "0.0", "1.0", "2.0"}
        remedy = "; if 0, 1 and 2 are train, validation and test, name them so" if unknown and are_numbers else ""
        raise InputError(
            "data.split.column",
            f"{column.name!r}: {'; '.join(filter(None, (held, missing)))} ({listing(PART_NAMES)}){remedy}",
        )
    parts: np.ndarray = names.to_numpy(dtype=object)
    if kept is None:
        return parts
    lost = sorted(set(parts) - set(parts[kept]))
    if lost:
        raise InputError("data.target", f"no row of the part {lost[0]!r} has a target; fill it in, or remove the part")
    left: np.ndarray = parts[kept]
    return left


def keras_parts(names: Iterable[Any]) -> dict[str, tuple[str, ...]]:
    """Return the names of inputs and targets of each part, as Keras' files have them: `x_train`, `y_train`, `x_test` …

    The third name is that of the weights, such as `sample_weight_train`, if there are any. Empty unless there is
    `x_train`. InputError where one of two is missing, or a part has two names.
    """
    held = {str(name) for name in names}
    found: dict[str, tuple[str, ...]] = {}
    for word in _WORDS:
        part, pair = PART_NAMES[word], (f"x_{word}", f"y_{word}")
        given = [name for name in pair if name in held]
        if "x_train" not in held or not given:
            continue
        if len(given) == 1:
            missing = next(name for name in pair if name not in held)
            raise InputError(KEY, f"{given[0]!r} needs {missing!r} beside it; it is not among {sorted(held)}")
        if part in found:
            raise InputError(KEY, f"{found[part][0]!r} and {pair[0]!r} are one part; leave one of them out")
        weights = [name for name in (f"{each}_{word}" for each in WEIGHTS) if name in held]
        if len(weights) > 1:
            raise InputError(KEY, f"{weights[0]!r} and {weights[1]!r} are weights of one part; leave one of them out")
        found[part] = (*pair, *weights)
    return found


def join_arrays(parts: Mapping[str, Arrays], source: str) -> Arrays:
    """Return the arrays of several parts as one, with the key `part`; InputError where they do not fit together."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for sources with keys

    first = next(iter(parts.values()))
    for name, each in parts.items():
        for what, one, other in (
            ("inputs", first.inputs, each.inputs),
            ("targets", first.targets, each.targets),
        ):
            if _examples(one, what) != _examples(other, what):
                raise InputError(
                    KEY,
                    f"{source}: {what} of {name!r} are {_form(other)}, and {_form(one)} in {next(iter(parts))!r}; "
                    "the parts must have rows of one form",
                )
        if each.keys.keys() != first.keys.keys() or "part" in each.keys or _column_names(each) != _column_names(first):
            raise InputError(KEY, f"{source}: {name!r} has other names of targets or of keys such as group and part")
    _refuse_some_weights(parts, source)
    keys = {name: pd.concat([each.keys[name] for each in parts.values()], ignore_index=True) for name in first.keys}
    named = np.repeat(list(parts), [row_count(each.inputs) for each in parts.values()])
    return replace(
        first,
        inputs=joined_rows([each.inputs for each in parts.values()]),
        targets=joined_rows([each.targets for each in parts.values()]),
        weights=None
        if first.weights is None
        else np.concatenate([each.weights for each in parts.values() if each.weights is not None]),
        head_weights={
            name: np.concatenate([each.head_weights[name] for each in parts.values()]) for name in first.head_weights
        },
        findings=tuple(dict.fromkeys(finding for each in parts.values() for finding in each.findings)),
        keys={**keys, "part": pd.Series(named, name="part")},
        class_names=_class_names(parts, source),
        has_order=all(each.has_order for each in parts.values()),
        numbers=np.concatenate([np.arange(row_count(each.inputs)) for each in parts.values()]),
    )


def _column_names(arrays: Arrays) -> Any:
    return arrays.target_names, dict(arrays.head_columns)


def _class_names(parts: Mapping[str, Arrays], source: str) -> tuple[str, ...]:
    """Return the names of classes by their numbers; InputError where a number is another class in another part."""
    known: tuple[str, ...] = ()
    for name, each in parts.items():
        differing = [pair for pair in zip(known, each.class_names, strict=False) if pair[0] != pair[1]]
        if differing:
            one, other = differing[0]
            problem = f"class {known.index(one)} is {other!r} in {name!r}, and {one!r} in {next(iter(parts))!r}"
            remedy = "number the classes alike in all parts; folders of images need one for each class, empty ones too"
            raise InputError(KEY, f"{source}: {problem}; {remedy}")
        known = max(known, each.class_names, key=len)
    return known


def _refuse_some_weights(parts: Mapping[str, Arrays], source: str) -> None:
    first = next(iter(parts.values()))
    other = next((name for name, each in parts.items() if each.head_weights.keys() != first.head_weights.keys()), None)
    if other is not None:
        problem = f"{other!r} has weights of other heads than the first part; give each part those of the same heads"
        raise InputError(KEY, f"{source}: {problem}, such as np.ones(rows)")
    lacking = [name for name, each in parts.items() if each.weights is None]
    if lacking and len(lacking) < len(parts):
        named = " and ".join(map(repr, lacking))
        remedy = 'give it weights, too, such as np.ones(len(y)) (average = "rows" in [objective] ignores them there)'
        raise InputError(KEY, f"{source}: {named} has no weights, and other parts have; {remedy}")


def _kind(array: np.ndarray, what: str) -> str:
    """Whole numbers and others are different inputs, but may be the same targets."""
    return array.dtype.name if what == "inputs" else "text" if array.dtype.kind in "US" else "number"


def _examples(arrays: Any, what: str) -> list[tuple[str, tuple[int, ...], str]]:
    """What the rows of all parts must have in common: the names, shapes and kinds of their arrays."""
    return [(name, array.shape[1:], _kind(array, what)) for name, array in named_arrays(arrays)]


def _form(arrays: Any) -> str:
    return ", ".join(f"{name} {array.dtype.name} {array.shape}".strip() for name, array in named_arrays(arrays))
