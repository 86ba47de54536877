"""Store the importance of a sweep's dimensions on its run: a table for MLflow's pages, and a file to read back."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep, add_table
from nightune.tuning.analysis.importance import Edge, Importance, WhatMattered


def write_importance(store: Store, sweep: Sweep, mattered: WhatMattered) -> None:
    """Write the dimensions to the sweep's run; the tag with the most important is set last and marks them complete."""
    client(store).log_dict(sweep.run_id, asdict(mattered), names.IMPORTANCE)
    if mattered.dimensions:
        add_table(store, sweep, [asdict(each) for each in mattered.dimensions], names.IMPORTANCE_TABLE)
    first = next((each.name for each in mattered.dimensions if each.share is not None), "unknown")
    client(store).set_tag(sweep.run_id, names.MATTERED_MOST, first)


def read_importance(store: Store, sweep: Sweep) -> WhatMattered | None:
    """Return the importances, or None if the sweep is not complete or of an earlier version without them."""
    if names.MATTERED_MOST not in client(store).get_run(sweep.run_id).data.tags:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = client(store).download_artifacts(sweep.run_id, names.IMPORTANCE, folder)
        held = json.loads(Path(path).read_text(encoding="utf-8"))
    dimensions = tuple(Importance(**each) for each in held["dimensions"])
    return WhatMattered(dimensions, tuple(Edge(**each) for each in held["edges"]))
