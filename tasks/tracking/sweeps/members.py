"""Store the new members of a population on the sweep's run, so that a resumed sweep trains the same ones."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import optional_file
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.search.population import NewMember

Members = Mapping[int, Sequence[NewMember]]  # by the number of the first trial of their generation

_ROWS = TypeAdapter(dict[int, list[dict[str, Any]]])


def write_members(store: Store, sweep: Sweep, members: Members) -> None:
    """Write the new members of all generations so far."""
    content = {str(first): [asdict(member) for member in each] for first, each in members.items()}
    client(store).log_dict(sweep.run_id, content, names.MEMBERS_FILE)


def read_members(store: Store, sweep: Sweep) -> Members:
    """Return the new members of each generation; empty without any, or if the file is damaged, which is warned of."""
    files = {file.path for file in client(store).list_artifacts(sweep.run_id)}
    if names.MEMBERS_FILE not in files:
        return {}
    return optional_file(store, sweep.run_id, names.MEMBERS_FILE, parse_members) or {}


def parse_members(text: str) -> Members:
    """Read members from the text of their file; ValueError if it is damaged."""
    try:
        return {first: [NewMember(**row) for row in rows] for first, rows in _ROWS.validate_json(text).items()}
    except TypeError as error:
        raise ValueError(f"not the members of a population: {error}") from error
