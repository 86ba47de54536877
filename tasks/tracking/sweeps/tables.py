"""Tables of a run that MLflow's pages show."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client

if TYPE_CHECKING:
    from nightune.tuning.trial import Value


def add_table(store: Store, run_id: str, rows: Sequence[Mapping[str, "Value"]], path: str) -> None:
    """Write rows to a run as a table of MLflow's pages, replacing one of the same path."""
    mlflow_client = client(store)
    table = {"columns": list(rows[0]), "data": [[_cell(value) for value in row.values()] for row in rows]}
    mlflow_client.log_dict(run_id, table, path)
    # log_table sets this tag so that the pages show a table; log_table itself would use pandas.
    tables = _listed_tables(mlflow_client.get_run(run_id).data.tags)
    entry = {"path": path, "type": "table"}
    kept = [each for each in tables if each != entry]
    mlflow_client.set_tag(run_id, names.MLFLOW_TABLES, json.dumps([*kept, entry]))


def _listed_tables(tags: Mapping[str, str]) -> list[Any]:
    """Return the tables that a run lists; none if the tag is damaged, since MLflow only shows them."""
    try:
        tables = json.loads(tags.get(names.MLFLOW_TABLES, "[]"))
    except ValueError:
        return []
    return tables if isinstance(tables, list) else []


def _cell(value: "Value") -> "Value":
    """Return a table's cell: lists and tables as text, since MLflow's tables hold plain values."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
