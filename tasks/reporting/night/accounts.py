"""The records behind the last parts of the report: the data, the changes since the night before, and the cost."""

from dataclasses import dataclass, replace

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import DamagedRecordError
from nightune.tasks.tracking.store.records import warn_of_damage
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.ledgers import read_ledger
from nightune.tasks.tracking.sweeps.profiles import DataNews, DataProfile, compare_with_earlier, read_profile
from nightune.tasks.tracking.sweeps.sweeps import Sweep, all_sweeps
from nightune.tasks.tracking.trials.compared import read_compared
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.analysis.changes import Change
from nightune.tuning.analysis.ledger import Ledger
from nightune.tuning.analysis.sweep_comparison import Difference, compare_nights
from nightune.tuning.trial import TrialResult

CODE = "code of the study"


@dataclass(frozen=True, slots=True)
class Accounts:
    """The records of these parts; None where a sweep of an earlier version lacks one.

    `since` is the comparison with the sweep before this one; None in the first night of a study.
    """

    ledger: Ledger | None = None
    audits: tuple[TrialResult, ...] = ()
    profile: DataProfile | None = None
    news: DataNews | None = None
    since: Difference | None = None


def read_accounts(store: Store, study: str, sweep: Sweep) -> Accounts:
    """Read the records; damaged ones are left out with a warning."""
    profile = read_profile(store, sweep)
    return Accounts(
        ledger=read_ledger(store, sweep),
        audits=tuple(finished_trials(store, sweep, names.AUDIT).values()),
        profile=profile,
        news=None if profile is None else compare_with_earlier(store, sweep, profile),
        since=_since(store, study, sweep),
    )


def _since(store: Store, study: str, sweep: Sweep) -> Difference | None:
    earlier = [each for each in all_sweeps(store, study) if each.number < sweep.number]
    if not earlier:
        return None
    try:
        found = compare_nights(read_compared(store, earlier[-1]), read_compared(store, sweep))
    except DamagedRecordError as error:
        warn_of_damage(str(error))
        return None
    codes = [client(store).get_run(each.run_id).data.tags.get(names.CODE) for each in (earlier[-1], sweep)]
    is_known = None not in codes and codes[0] != codes[1]
    return replace(found, changes=(Change(CODE, *codes), *found.changes)) if is_known else found
