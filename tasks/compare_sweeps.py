"""Compare two sweeps of a study."""

from collections.abc import Sequence

from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.find_sweeps import find_two_sweeps
from nightune.tasks.tracking.trials.compared import read_compared
from nightune.tuning.analysis.sweep_comparison import Difference, compare_nights


def compare_sweeps(store: Store, study: str, sweep_ids: Sequence[str] | None = None) -> Difference:
    """Compare two named sweeps of a study, or its last two, in chronological order."""
    before, after = find_two_sweeps(store, study, sweep_ids)
    return compare_nights(read_compared(store, before), read_compared(store, after))
