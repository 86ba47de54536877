"""Store the findings about a sweep's data on its run: a tag for MLflow's pages, and a file to read back."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nightune.tasks.tracking.store import names
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
    with tempfile.TemporaryDirectory() as folder:
        path = client(store).download_artifacts(sweep.run_id, names.FINDINGS_FILE, folder)
        return tuple(map(str, json.loads(Path(path).read_text(encoding="utf-8"))["data"]))
