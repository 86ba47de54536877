"""A model of a search computes its products of matrices in one thread, whatever the number before."""

from threadpoolctl import threadpool_info, threadpool_limits

from nightune.tuning.search.one_thread import one_thread


def threads() -> set[int]:
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def test_products_are_computed_in_one_thread_and_then_in_as_many_as_before() -> None:
    with one_thread():
        pass  # the libraries are loaded
    with threadpool_limits(2, user_api="blas"):
        before = threads()
        with one_thread():
            within = threads()
        assert (before, within, threads()) == ({2}, {1}, {2})
