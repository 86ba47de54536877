"""Read the rows that a query gives from a file of SQLite or DuckDB; the file is opened for reading only."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from nightune.models.data.files.extras import imported
from nightune.models.data.files.repeated_names import refuse_repeated
from nightune.models.data.files.typed_tables import first_line, from_arrow
from nightune.models.data.files.whole_numbers import column_of
from nightune.models.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

KEY, QUERY = "data.source", "data.query"
APART = "name them apart: select a.x as a_x, …"
_TABLES = "select name from sqlite_master where type in ('table', 'view') and name not like 'sqlite_%' order by name"

_DUCKDB_TABLES = """
select table_name from duckdb_tables()
union all select view_name from duckdb_views() where not internal order by 1
"""


def read_sqlite(file: Path, query: str) -> "pd.DataFrame":
    """Read the rows of a query, or the only table."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
            tables = [name for (name,) in database.execute(_TABLES)]
            answer = database.execute(query or _all_of(tables, file.name))
            if answer.description is None:
                raise InputError(QUERY, f"{query!r} gives no rows; write one that selects: {_example(tables)}")
            names, rows = [each[0] for each in answer.description], answer.fetchall()
    except (sqlite3.Error, sqlite3.Warning) as error:
        is_database = "not a database" not in str(error) and "malformed" not in str(error)
        said = f"{error} ({_example(tables)})" if is_database and query else str(error)
        raise InputError(QUERY if is_database and query else KEY, f"{file.name}: {said}") from error
    refuse_repeated(names, "the query's answer", APART, QUERY)
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pd.DataFrame({name: column_of(values) for name, values in zip(names, columns, strict=True)})


def read_duckdb(file: Path, query: str) -> "pd.DataFrame":
    """Read the rows of a query, or the only table."""
    duckdb = imported("duckdb", "duckdb", "DuckDB files")
    try:
        with duckdb.connect(str(file), read_only=True) as database:
            tables = [name for (name,) in database.sql(_DUCKDB_TABLES).fetchall()]
            answer = database.sql(query or _all_of(tables, file.name))
            if answer is None:
                raise InputError(QUERY, f"{query!r} gives no rows; write one that selects: {_example(tables)}")
            table = answer.to_arrow_table()
    except duckdb.Error as error:
        is_open = isinstance(error, duckdb.ProgrammingError)
        raise InputError(QUERY if query and is_open else KEY, f"{file.name}: {first_line(error)}") from error
    refuse_repeated(table.column_names, "the query's answer", APART, QUERY)
    return from_arrow(table)


def _all_of(tables: list[str], name: str) -> str:
    if len(tables) == 1:
        return f'select * from "{tables[0]}"'
    held = f"{len(tables)} tables ({', '.join(tables[:10])})" if tables else "no table"
    raise InputError(QUERY, f"{name} holds {held}; write a query" + (f": {_example(tables)}" if tables else ""))


def _example(tables: list[str]) -> str:
    return f'query = "select * from {tables[0]}"' if tables else 'query = "select …"'
