"""The keys of [data] that say what becomes of columns of a table: texts, codes, hashed labels and parts of dates."""

from typing import Any

from pydantic_core import PydanticCustomError

from nightune.vocabulary import listing, shown, suggestion, unknown_name

TEXT_FIELDS = {"words": (5000, 3, 10**6), "length": (100, 1, 10**5), "ngrams": (1, 1, 5)}  # default, lowest, highest
TEXT = "a list of columns, or a table such as { comment = { words = 5000, length = 100 } }"
CODES = "a list of columns, or a table of columns and numbers of codes from 2, such as { city = 1000 }"
HASHED = "a list of columns, or a table of columns and numbers of features, such as { city = 32 }"
DATE_PARTS = 'a list of columns, or a table of columns and lists of parts, such as { signup = ["weekday", "hour"] }'
IMAGES = 'a column, a list of columns, or a table such as { photo = { size = [64, 64], color = "rgb" } }'
COLORS = {"grey": 1, "rgb": 3, "rgba": 4}
MOST_PIXELS = 4096  # of a side
MOST_CODES, MOST_HASHED, USUAL_HASHED = 10**7, 4096, 32
PARTS = ("year", "month", "day", "weekday", "hour")


def read_text(given: Any) -> dict[str, dict[str, int]]:
    """Return the words and the length of each column, the usual ones where they are left out."""
    table = _as_table(given, {}, TEXT)
    return {name: _text_fields(name, fields) for name, fields in table.items()}


def read_codes(given: Any) -> dict[str, int]:
    """Return the number of codes of each column; 0: as many as it has values."""
    return _sizes(given, 0, CODES, MOST_CODES)


def read_images(given: Any) -> dict[str, tuple[int, int, int]]:
    """Return height, width and channels of the images of each column."""
    table = _as_table([given] if isinstance(given, str) else given, {}, IMAGES)
    return {name: _image_shape(name, fields) for name, fields in table.items()}


def read_hashed(given: Any) -> dict[str, int]:
    """Return the number of features of each column."""
    return _sizes(given, USUAL_HASHED, HASHED, MOST_HASHED)


def read_date_parts(given: Any) -> dict[str, tuple[str, ...]]:
    """Return the parts of each column of dates, in their order; none: those that vary."""
    table = _as_table(given, [], DATE_PARTS)
    for name, parts in table.items():
        if isinstance(given, dict) and not (isinstance(parts, list | tuple) and parts):
            raise _refusal(f"column {shown(name)}: {shown(parts)} is not a list of parts ({listing(PARTS)})")
        for part in parts:
            if part not in PARTS:
                raise _refusal(f"column {shown(name)}: {unknown_name(part, PARTS, 'part')}")
    return {name: tuple(part for part in PARTS if part in parts) for name, parts in table.items()}


def _sizes(given: Any, usual: int, words: str, most: int) -> dict[str, int]:
    table = _as_table(given, usual, words)
    for name, size in table.items():
        if isinstance(given, dict) and not (_is_whole(size) and 2 <= size <= most):
            raise _refusal(f"column {shown(name)}: {shown(size)} is not a whole number from 2 to {most}")
    return table


def _as_table(given: Any, usual: Any, words: str) -> dict[str, Any]:
    """Return a table of columns for a list of their names."""
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        return dict.fromkeys(given, usual)
    if not isinstance(given, dict):
        raise _refusal(f"{shown(given)} is not {words}")
    return given


def _text_fields(name: str, given: Any) -> dict[str, int]:
    if not isinstance(given, dict):
        raise _refusal(f"column {shown(name)}: {shown(given)} is not a table such as {{ words = 5000, length = 100 }}")
    for field, value in given.items():
        if field not in TEXT_FIELDS:
            near = suggestion(field, TEXT_FIELDS)
            raise _refusal(f"column {shown(name)}: unknown {shown(field)}{near} ({listing(TEXT_FIELDS)})")
        _, low, high = TEXT_FIELDS[field]
        if not (_is_whole(value) and low <= value <= high):
            allowed = f"a whole number from {low} to {high}"
            raise _refusal(f"column {shown(name)}: {field} {shown(value)} is not {allowed}")
    fields = {field: given.get(field, usual) for field, (usual, _, _) in TEXT_FIELDS.items()}
    if fields["ngrams"] == 1:  # so that studies of single words keep their digests
        del fields["ngrams"]
    return fields


def _image_shape(name: str, given: Any) -> tuple[int, int, int]:
    if not isinstance(given, dict):
        raise _refusal(f"column {shown(name)}: {shown(given)} is not a table such as {{ size = [64, 64] }}")
    for field in given:
        if field not in ("size", "color"):
            near = suggestion(field, ("size", "color"))
            raise _refusal(f"column {shown(name)}: unknown {shown(field)}{near} (known: size, color)")
    size, color = given.get("size", [64, 64]), given.get("color", "rgb")
    is_pair = isinstance(size, list | tuple) and len(size) == 2
    if not is_pair or not all(_is_whole(side) and 1 <= side <= MOST_PIXELS for side in size):
        allowed = f"height and width, two whole numbers from 1 to {MOST_PIXELS}"
        raise _refusal(f"column {shown(name)}: size {shown(size)} is not {allowed}")
    if color not in COLORS:
        raise _refusal(f"column {shown(name)}: {unknown_name(color, COLORS, 'color')}")
    return size[0], size[1], COLORS[color]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _refusal(message: str) -> PydanticCustomError:
    return PydanticCustomError("message", "{message}", {"message": message})
