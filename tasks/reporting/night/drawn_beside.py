"""Draw pictures in another process, which starts while the night is read, and draws while the page is.

The library that draws has an engine for scripts, which takes 0.3 s to start and keeps Python's lock meanwhile.
"""

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from nightune.models.program_cache import processor_count
from nightune.tasks.child_pipe import ChildPipe, served_pipe
from nightune.tasks.reporting.night.stills import Still

COMMAND = "from nightune.tasks.reporting.night.drawn_beside import serve; serve()"
FIRST = {"mark": "text", "data": {"values": [{"x": 1}]}, "encoding": {"text": {"field": "x"}}}  # starts the engine

Png = Callable[[], bytes]


@contextmanager
def drawn_beside() -> Iterator[Callable[[Still], Png]]:
    """Yield a function that begins to draw a figure as a PNG picture, by a process that starts with the block.

    What it returns waits for the picture. What that process cannot draw is drawn in this one, with its errors; so is
    all on a single processor, and where no process can be started.
    """
    child = None if processor_count() == 1 else _started()
    if child is None:
        yield lambda still: lambda: still.png
        return
    requests = ThreadPoolExecutor(1, "draws pictures")

    def begin(still: Still) -> Png:
        asked = requests.submit(_answer, child, still)
        return lambda: asked.result() or still.png

    try:
        yield begin
    finally:
        child.end()
        requests.shutdown()
        child.close()


def serve() -> None:
    """In the child: draw the specifications that arrive, until their pipe ends, or one cannot be drawn."""
    requests, answers = served_pipe()
    _ = Still(FIRST).png
    with suppress(EOFError):
        while True:
            answers.write(pickle.dumps(Still(pickle.load(requests)).png))
            answers.flush()


def _started() -> ChildPipe | None:
    """Start the process that draws; None where the system allows no more processes, files or memory."""
    with suppress(OSError):
        return ChildPipe(COMMAND)
    return None


def _answer(child: ChildPipe, still: Still) -> bytes:
    """Return the picture that the process draws; nothing if it has ended, which leaves the rest to this process."""
    with suppress(OSError, EOFError, pickle.UnpicklingError):
        child.send(dict(still.spec))
        answer: bytes = child.receive()
        return answer
    return b""
