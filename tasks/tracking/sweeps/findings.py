"""Store the findings about a sweep's data and models on its run: a tag for MLflow's pages, and a file to read back."""

from collections.abc import Sequence
from typing import Literal

from pydantic import TypeAdapter

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import optional_file
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep

Subject = Literal["data", "models"]


def write_findings(store: Store, sweep: Sweep, data: Sequence[str], models: Sequence[str] = ()) -> None:
    """Write the findings to the sweep's run, unless there are none; the tag is set last and marks them complete."""
    if not data and not models:
        return
    content = {"data": list(data), **({"models": list(models)} if models else {})}
    client(store).log_dict(sweep.run_id, content, names.FINDINGS_FILE)
    client(store).set_tag(sweep.run_id, names.FINDINGS, "\n".join([*data, *models])[: names.TAG_LENGTH])


def read_findings(store: Store, sweep: Sweep, subject: Subject = "data") -> tuple[str, ...]:
    """Return the findings; empty if there are none, or the sweep is of an earlier version that kept none."""
    if names.FINDINGS not in client(store).get_run(sweep.run_id).data.tags:
        return ()
    found = optional_file(store, sweep.run_id, names.FINDINGS_FILE, parse_findings) or {}
    return tuple(found.get(subject, ()))


def parse_findings(text: str) -> dict[Subject, list[str]]:
    """Read findings from the text of their file; ValueError if it is damaged."""
    return TypeAdapter(dict[Subject, list[str]]).validate_json(text)
