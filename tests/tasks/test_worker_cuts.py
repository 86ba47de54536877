"""What a worker gets next: a cohort of the right size, of a graph key that it holds."""

import pytest

from nightune.tasks.workers.cuts import COHORT_SECONDS, FIRST_TRIALS, MOST_TRIALS, cohort_size, next_graph_key


@pytest.mark.parametrize(
    ("left", "workers", "seconds", "size"),
    [
        (1000, 2, None, FIRST_TRIALS),  # nothing is known yet
        (1000, 2, 0.1, MOST_TRIALS),
        (1000, 2, COHORT_SECONDS / 3, 3),
        (1000, 2, 2 * COHORT_SECONDS, 1),
        (12, 2, 0.1, 3),  # the end is shared
        (1, 64, 0.1, 1),
        (1000, 2, 0.0, MOST_TRIALS),
    ],
)
def test_a_cohort_is_cut_by_time_and_smaller_at_the_end(
    left: int, workers: int, seconds: float | None, size: int
) -> None:
    assert cohort_size(left, workers, seconds) == size


@pytest.mark.parametrize(
    ("held", "of_others", "key"),
    [
        ((), (), "large"),
        (("small",), ("large",), "small"),  # its program is compiled
        ((), ("large",), "middle"),
        ((), ("small", "middle", "large"), "large"),  # all are held by others: the largest group is shared
        (("gone",), ("large", "middle"), "small"),
    ],
)
def test_a_worker_keeps_its_graph_key_and_an_idle_one_takes_from_the_largest_group(
    held: tuple[str, ...], of_others: tuple[str, ...], key: str
) -> None:
    assert next_graph_key({"small": 1, "middle": 5, "large": 9}, held, of_others) == key
