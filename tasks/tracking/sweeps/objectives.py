"""Record the objectives of a study of several on the sweep's run, and read them back."""

import json
from typing import TYPE_CHECKING

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import Record
from nightune.vocabulary import DIRECTIONS

if TYPE_CHECKING:
    from nightune.tuning.study.objective import Objective


def further_tags(objective: "Objective") -> dict[str, str]:
    """Return the tag with names and directions of all objectives; none for a study of one."""
    pairs = [(objective.name, objective.direction), *((each.name, each.direction) for each in objective.further)]
    return {names.OBJECTIVES: json.dumps(pairs)} if objective.further else {}


def read_further(record: Record) -> tuple[tuple[str, str], ...]:
    """Read names and directions of the objectives after the first; DamagedRecordError if they are not as written."""
    text = record.tags.get(names.OBJECTIVES)
    if text is None:
        return ()
    try:
        pairs = [(str(name), str(direction)) for name, direction in json.loads(text)]
    except (ValueError, TypeError):
        record.refuse(names.OBJECTIVES, text, "a JSON list of names with directions")
    if any(direction not in DIRECTIONS for _, direction in pairs):
        record.refuse(names.OBJECTIVES, text, f"directions: {', '.join(DIRECTIONS)}")
    return tuple(pairs[1:])
