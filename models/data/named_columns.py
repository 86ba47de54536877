"""Names of columns: texts, and each one once."""

from typing import TYPE_CHECKING

from nightune.models.data.contents import Table
from nightune.models.errors import InputError
from nightune.models.serving.labels import plain_values

if TYPE_CHECKING:
    import pandas as pd

KEY = "data.source"


def tidy(table: "pd.DataFrame", name: str) -> Table:
    """Number the rows from 0, name the columns by texts, and refuse repeated names."""
    if any(level is not None for level in table.index.names):
        table = table.reset_index()
    columns = [str(column) for column in table.columns]
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise InputError(KEY, f"{name} holds several columns named {repeated[0]!r}; rename them")
    has_text_names = all(isinstance(column, str) for column in table.columns)
    named = table.set_axis(columns, axis="columns").reset_index(drop=True)
    plain = {name: values for name in columns if (values := plain_values(named[name])) is not named[name]}
    return Table(named.assign(**plain) if plain else named, has_text_names=has_text_names)
