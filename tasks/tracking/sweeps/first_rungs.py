"""Record the first rungs of rounds that adapt them: an interrupted sweep keeps these, whatever was tried again."""

import re
from collections.abc import Mapping

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client


def write_first_rungs(store: Store, run_id: str, first_rungs: Mapping[int, int]) -> None:
    """Write the epochs of the first rung of each such round, by the round's first trial, to the sweep's run."""
    text = ",".join(f"{first}:{epochs}" for first, epochs in first_rungs.items())
    client(store).set_tag(run_id, names.FIRST_RUNGS, text)


def read_first_rungs(text: str) -> tuple[tuple[int, int], ...]:
    """Read the tag, such as `16:3,32:6`; what is not so, changed by hand, is left out."""
    pairs = (re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", each) for each in text.split(","))
    return tuple((int(pair[1]), int(pair[2])) for pair in pairs if pair)
