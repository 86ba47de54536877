"""Read CSV files of any usual form as tables."""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nightune.models.data.columns.merged_numbers import merged_numbers
from nightune.models.data.columns.numbers import ambiguous_decimals, recognize_numbers
from nightune.models.data.columns.reading import Texts
from nightune.models.data.columns.recognize import are_texts
from nightune.models.data.columns.written import as_written
from nightune.models.data.files.csv_dialects import Dialect, settle_dialect
from nightune.models.data.files.lost_rows import cut_off, swallowed_rows
from nightune.models.data.files.packed import unpacked
from nightune.models.data.files.repeated_names import RENAME, refuse_repeated
from nightune.models.data.source_options import SourceOptions
from nightune.models.errors import InputError
from nightune.models.serving.number_texts import COMMA, POINT

if TYPE_CHECKING:
    import pandas as pd

KEY = "data.source"
OPTIONS = {"low_memory": False, "keep_default_na": False, "na_values": [""]}


def read_csv_table(
    file: Path, numeric: Mapping[str, str], categorical: Sequence[str], options: SourceOptions
) -> "tuple[pd.DataFrame, Dialect, tuple[str, ...]]":
    """Read a CSV file, packed or not; return also how it is written, and the findings.

    Columns of `numeric` with a form are read as texts, since only their reader knows the separators; columns of
    `categorical`, and digits with zeros in front, are taken as written.
    """
    with unpacked(file) as plain:
        dialect = settle_dialect(plain, options, file.name)
        frame = read_csv(plain, [name for name, form in numeric.items() if form], dialect, file.name)
        frame = as_written(plain, frame, categorical, {**OPTIONS, **dialect.options})
        unsure = cut_off(plain, dialect, len(frame.columns), file.name)
        unsure += swallowed_rows(plain, frame, dialect, file.name)
        unsure += merged_numbers(plain, frame, numeric, {**OPTIONS, **dialect.options})
        unsure += () if dialect.decimal == "," else ambiguous_decimals(plain, frame, dialect.options)
    return frame, dialect, (*dialect.findings, *unsure)


def read_csv(file: Path, texts: Sequence[str] | None, dialect: Dialect, name: str) -> "pd.DataFrame":
    """Read a CSV file; only an empty field is a gap, and the words NA, None and null are texts.

    `texts` are the columns to read as texts; None: all. Errors call the file by its `name`.
    """
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    options = dialect.options
    try:
        header = pd.read_csv(file, header=None, nrows=1, dtype=str, keep_default_na=False, **options)
        _refuse_header(header.iloc[0].tolist(), name)
        types = str if texts is None else dict.fromkeys(texts, str)
        with warnings.catch_warnings():  # without this option, pandas takes a first field too many for a label
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table: pd.DataFrame = pd.read_csv(file, index_col=False, **OPTIONS, **options, dtype=types)  # type: ignore[call-overload]
    except pd.errors.ParserWarning as error:
        remedy = "name every column in the first line, and remove titles above it"
        raise InputError(KEY, f"{name} holds rows with more fields than its header; {remedy}") from error
    except pd.errors.EmptyDataError as error:
        raise InputError(KEY, f"{name} is empty") from error
    except UnicodeError as error:
        raise InputError("data.encoding", f"{dialect.encoding!r} does not read {name} ({error})") from error
    except pd.errors.ParserError as error:
        reason = re.sub(r"^.*C error: ", "", str(error).strip())
        remedy = "remove comments and titles above the header, and quote fields with a separator"
        said = f"{reason}; {remedy}" if reason.startswith("Expected") else reason
        raise InputError(KEY, f"{name} is not a well-formed CSV file: {said}") from error
    return table


def _refuse_header(names: list[str], file: str) -> None:
    is_row = any(re.fullmatch(r"[-+.\d\s]+", name) for name in names if names.count(name) > 1)
    remedy = "its first line looks like a row: write a line of names above it" if is_row else RENAME
    refuse_repeated(names, file, remedy)


def forms_of_decimal_commas(frame: "pd.DataFrame", missing: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Return the columns of a file with decimal commas whose texts, such as 1.250, may be decimals or thousands.

    They are thousands there. `others` are columns whose reading the study settles.
    """
    forms = {}
    for name in frame.columns:
        if name in others or not are_texts(frame[name]):
            continue
        texts = Texts.of(frame[name], missing)
        as_point, as_comma = (recognize_numbers(texts, form) for form in (POINT, COMMA))
        if as_point and as_comma and len(as_comma.gaps) <= len(as_point.gaps):
            forms[str(name)] = COMMA
    return forms
