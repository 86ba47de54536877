"""Store how a sweep's data was read and is distributed on its run, and compare it with that of the sweep before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import optional_file
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep, all_sweeps
from nightune.tuning.analysis.drift import DataComparison, Distribution, compare_data

NO_DRIFT, NO_EARLIER = "none", "no sweep before"


@dataclass(frozen=True, slots=True)
class DataProfile:
    """How the data of a sweep was read: its columns, the training rows of each class, and distributions."""

    source: str
    task: str
    sizes: Mapping[str, int]
    split: Mapping[str, Any]
    columns: tuple[Mapping[str, Any], ...] = ()  # of a table, as `nightune check` prints them
    classes: Mapping[str, int] | None = None
    distributions: tuple[Distribution, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class DataNews:
    """The comparison of a sweep's data with that of an earlier sweep."""

    against: Sweep
    comparison: DataComparison


def write_profile(store: Store, sweep: Sweep, text: str) -> DataNews | None:
    """Write the profile, then the tag with the columns that drifted, which marks it whole; return the comparison."""
    client(store).log_text(sweep.run_id, text, names.DATA_PROFILE)
    news = compare_with_earlier(store, sweep, parse_profile(text))
    drifted = NO_EARLIER if news is None else "\n".join(each.name for each in news.comparison.drifted) or NO_DRIFT
    client(store).set_tag(sweep.run_id, names.DRIFT, drifted[: names.TAG_LENGTH])
    return news


def read_profile(store: Store, sweep: Sweep) -> DataProfile | None:
    """Return the profile; None if the sweep is of an earlier version that kept none, or its file is damaged."""
    if names.DRIFT not in client(store).get_run(sweep.run_id).data.tags:
        return None
    return optional_file(store, sweep.run_id, names.DATA_PROFILE, parse_profile)


def compare_with_earlier(store: Store, sweep: Sweep, profile: DataProfile) -> DataNews | None:
    """Compare with the last sweep of the study before this one that has a profile; None without one."""
    study = sweep.id.rpartition("-")[0]
    for earlier in reversed([each for each in all_sweeps(store, study) if each.number < sweep.number]):
        held = read_profile(store, earlier)
        if held is not None:
            return DataNews(earlier, compare_data(held.distributions, profile.distributions))
    return None


def parse_profile(text: str) -> DataProfile:
    """Read a profile from its text; ValueError if it is damaged."""
    return TypeAdapter(DataProfile).validate_json(text)
