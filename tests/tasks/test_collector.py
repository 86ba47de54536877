"""The collector is paused while any block runs, and runs afterwards if it ran before."""

import gc
from collections.abc import Iterator

import pytest

from nightune.tasks.tracking.store.collector import collector_paused


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_blocks_within_blocks_pause_the_collector_until_the_last_one_ends() -> None:
    with collector_paused():
        with pytest.raises(ValueError, match="a fault"), collector_paused():
            raise ValueError("a fault")
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_process_without_the_collector_stays_without() -> None:
    gc.disable()
    with collector_paused():
        pass
    assert not gc.isenabled()
