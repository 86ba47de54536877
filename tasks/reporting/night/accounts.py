"""What the last parts of the report tell beside the trials: what the sweep cost."""

from dataclasses import dataclass

from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.ledgers import read_ledger
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.analysis.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Accounts:
    """The records of these parts; None where a sweep of an earlier version lacks one."""

    ledger: Ledger | None = None


def read_accounts(store: Store, study: str, sweep: Sweep) -> Accounts:
    """Read the records; damaged ones are left out with a warning."""
    return Accounts(ledger=read_ledger(store, sweep))
