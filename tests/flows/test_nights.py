"""Real nights: a served study runs on schedule twice, is killed, and runs again. Takes minutes: `make nights`."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.serving import Served, spans

pytestmark = pytest.mark.nights


@pytest.fixture
def served(small_study: Path, store_root: Path, tmp_path: Path) -> Iterator[Served]:
    assert store_root.is_dir()
    service = Served([small_study], tmp_path / "serve.log")
    service.start()
    yield service
    service.stop()


def test_a_served_study_runs_twice_without_overlap_and_again_after_a_kill(served: Served) -> None:
    served.wait(lambda: len(served.in_state("Completed")) >= 2)
    served.wait(lambda: served.in_state("Running"))
    (killed,) = served.in_state("Running")
    served.process.kill()
    served.process.wait()
    served.start()
    served.wait(lambda: len(served.in_state("Completed")) >= 3)
    assert [run["id"] for run in served.in_state("Crashed")] == [killed["id"]]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans(served.in_state("Completed"))))
    searches = served.ask("flow_runs/filter", flows={"name": {"any_": ["tune"]}})
    assert [run["state_name"] for run in searches].count("Crashed") <= 1
    assert [run["state_name"] for run in searches].count("Running") <= 1  # the next night closes that of the killed one
    limits = served.ask("v2/concurrency_limits/filter", limit=10)
    assert sum(limit["active_slots"] for limit in limits) <= 1
