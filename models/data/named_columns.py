"""Names of columns: texts, and each one once."""

from typing import TYPE_CHECKING

from nightune.models.data.contents import Table
from nightune.models.data.files.repeated_names import KEY, RENAME, refuse_repeated
from nightune.models.errors import InputError
from nightune.models.serving.labels import plain_values

if TYPE_CHECKING:
    import pandas as pd


def tidy(table: "pd.DataFrame", name: str) -> Table:
    """Number the rows from 0, name the columns by texts, and refuse repeated names."""
    if any(level is not None for level in table.index.names):
        table = table.reset_index()
    columns = [str(column) for column in table.columns]
    refuse_repeated(columns, name)
    if columns.count("") > 1:
        raise InputError(KEY, f"{name} holds {columns.count('')} columns without a name; {RENAME}")
    has_text_names = all(isinstance(column, str) for column in table.columns)
    named = table.set_axis(columns, axis="columns").reset_index(drop=True)
    plain = {name: values for name in columns if (values := plain_values(named[name])) is not named[name]}
    return Table(named.assign(**plain) if plain else named, has_text_names=has_text_names)
