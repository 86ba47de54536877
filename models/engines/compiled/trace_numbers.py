"""Numbers for the functions of a trace that are the same in each process, so that kept programs are found again."""

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator

NUMBERS = 2**20  # for one trace
_LOWEST = 2**40  # TensorFlow's own count stays below
_DIGEST_BYTES = 4

_traces: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)  # of this process, by what was traced


def first_number(traced: str) -> int:
    """Return the first number for a trace of a program with arguments of certain shapes, below 2⁶³.

    Another trace of the same in one process gets other numbers: TensorFlow requires different names of functions.
    """
    name = f"{traced} · {next(_traces[traced])}"
    digest = hashlib.blake2b(name.encode(), digest_size=_DIGEST_BYTES).digest()
    return _LOWEST + int.from_bytes(digest, "big") * NUMBERS
