"""Store the points that a model proposed on the sweep's run: a resumed sweep trains these, whatever was retried since.

The points of one round are a pure function of the results before it, but these may change: failed trials are tried
again, and libraries round differently on another machine.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import optional_file
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.trial import Expectation, Params

Proposals = Mapping[int, Sequence[Params]]  # by the number of the first trial of their round
Expectations = Mapping[int, Sequence[Expectation | None]]  # of these points, by the same numbers

_EXPECTATIONS = TypeAdapter(dict[int, list[Expectation | None]])


def write_proposals(store: Store, sweep: Sweep, proposals: Proposals) -> None:
    """Write all rounds of the sweep so far; the tag, the number of points, is set last and marks them complete."""
    content = {str(first): [dict(point) for point in points] for first, points in proposals.items()}
    client(store).log_dict(sweep.run_id, content, names.PROPOSALS_FILE)
    client(store).set_tag(sweep.run_id, names.PROPOSED, str(sum(map(len, proposals.values()))))


def are_recorded(store: Store, sweep: Sweep) -> bool:
    """Return whether points were recorded, even if their file is damaged since."""
    return names.PROPOSED in client(store).get_run(sweep.run_id).data.tags


def read_proposals(store: Store, sweep: Sweep) -> Proposals:
    """Return the points of each round; empty if there are none, or the file is damaged, which is warned of."""
    if not are_recorded(store, sweep):
        return {}
    return optional_file(store, sweep.run_id, names.PROPOSALS_FILE, parse_proposals) or {}


def write_first_points(store: Store, sweep: Sweep, points: Sequence[Params], of_portfolio: int) -> Proposals:
    """Record the points that a sweep begins with, the last of them those of the portfolio; return them as proposals."""
    proposals = {0: points}
    if of_portfolio:
        client(store).set_tag(sweep.run_id, names.OF_PORTFOLIO, str(of_portfolio))
    write_proposals(store, sweep, proposals)
    return proposals


def count_of_portfolio(store: Store, sweep: Sweep) -> int:
    """Return how many of the points that a sweep begins with are the portfolio's."""
    count = client(store).get_run(sweep.run_id).data.tags.get(names.OF_PORTFOLIO, "0")
    return int(count) if count.isdecimal() else 0


def write_expectations(store: Store, sweep: Sweep, expectations: Expectations) -> None:
    """Write what was expected of all rounds so far; before their points, which are marked complete."""
    content = _EXPECTATIONS.dump_python({first: list(each) for first, each in expectations.items()}, mode="json")
    client(store).log_dict(sweep.run_id, {str(first): each for first, each in content.items()}, names.EXPECTATIONS_FILE)


def read_expectations(store: Store, sweep: Sweep) -> Expectations:
    """Return what was expected of the points of each round; empty for rounds of earlier versions, or a damaged file."""
    files = {file.path for file in client(store).list_artifacts(sweep.run_id)}
    if names.EXPECTATIONS_FILE not in files:
        return {}
    return optional_file(store, sweep.run_id, names.EXPECTATIONS_FILE, _EXPECTATIONS.validate_json) or {}


def parse_proposals(text: str) -> Proposals:
    """Read proposals from the text of their file; ValueError if it is damaged."""
    return TypeAdapter(dict[int, list[dict[str, Any]]]).validate_json(text)
