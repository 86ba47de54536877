"""Store the importance of a sweep's dimensions on its run: a table for MLflow's pages, and a file to read back."""

import json
from dataclasses import asdict

from pydantic import TypeAdapter

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import optional_file
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.sweeps.tables import add_table
from nightune.tuning.analysis.importance import WhatMattered


def write_importance(store: Store, sweep: Sweep, mattered: WhatMattered) -> None:
    """Write the dimensions to the sweep's run; the tag with the most important is set last and marks them complete."""
    client(store).log_dict(sweep.run_id, asdict(mattered), names.IMPORTANCE)
    if mattered.dimensions:
        add_table(store, sweep.run_id, [asdict(each) for each in mattered.dimensions], names.IMPORTANCE_TABLE)
    first = next((each.name for each in mattered.dimensions if each.share is not None), "unknown")
    client(store).set_tag(sweep.run_id, names.MATTERED_MOST, first)


def read_importance(store: Store, sweep: Sweep) -> WhatMattered | None:
    """Return the importances; None if the sweep is not complete, of an earlier version, or their file is damaged."""
    if names.MATTERED_MOST not in client(store).get_run(sweep.run_id).data.tags:
        return None
    return optional_file(store, sweep.run_id, names.IMPORTANCE, parse_importance)


def parse_importance(text: str) -> WhatMattered:
    """Read the importances from the text of their file; ValueError if it is damaged."""
    return TypeAdapter(WhatMattered).validate_python(json.loads(text))
