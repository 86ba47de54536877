"""Store the findings about a sweep's data on its run: a tag for MLflow's pages, and a file to read back."""

from collections.abc import Sequence
from typing import Literal

from pydantic import TypeAdapter

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import optional_file
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep


def write_findings(store: Store, sweep: Sweep, findings: Sequence[str]) -> None:
    """Write the findings to the sweep's run, unless there are none; the tag is set last and marks them complete."""
    if not findings:
        return
    client(store).log_dict(sweep.run_id, {"data": list(findings)}, names.FINDINGS_FILE)
    client(store).set_tag(sweep.run_id, names.FINDINGS, "\n".join(findings)[: names.TAG_LENGTH])


def read_findings(store: Store, sweep: Sweep) -> tuple[str, ...]:
    """Return the findings; empty if there are none, or the sweep is of an earlier version that kept none."""
    if names.FINDINGS not in client(store).get_run(sweep.run_id).data.tags:
        return ()
    return optional_file(store, sweep.run_id, names.FINDINGS_FILE, parse_findings) or ()


def parse_findings(text: str) -> tuple[str, ...]:
    """Read findings from the text of their file; ValueError if it is damaged."""
    return tuple(TypeAdapter(dict[Literal["data"], list[str]]).validate_json(text).get("data", []))
