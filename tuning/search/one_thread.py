"""Products of matrices in one thread: those of a search's model are small, and threads wait for each other in loops."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute the matrix products of the block in one thread of this process; after it, in as many as before.

    So that a round takes half the time on two processors, and its points do not depend on their number: threads divide
    sums, and round them otherwise.
    """
    import scipy.linalg  # noqa: F401, PLC0415 - only libraries that are loaded are limited; takes a moment
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - as scikit-learn, which brings it

    with threadpool_limits(1, user_api="blas"):
        yield
