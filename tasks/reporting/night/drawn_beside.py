"""Draw pictures in another process, which starts while the night is read, and draws while the page is.

The library that draws has an engine for scripts, which takes 0.3 s to start and keeps Python's lock meanwhile.
"""

import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from nightune.models.program_cache import processor_count
from nightune.tasks.child_environment import child_environment
from nightune.tasks.reporting.night.stills import Still

COMMAND = "from nightune.tasks.reporting.night.drawn_beside import serve; serve()"
IGNORED = ("SIGINT", "SIGTERM")  # a terminal and a service send them to all processes: this one ends with its pipe
FIRST = {"mark": "text", "data": {"values": [{"x": 1}]}, "encoding": {"text": {"field": "x"}}}  # starts the engine

Png = Callable[[], bytes]


@contextmanager
def drawn_beside() -> Iterator[Callable[[Still], Png]]:
    """Yield a function that begins to draw a figure as a PNG picture, by a process that starts with the block.

    What it returns waits for the picture. What that process cannot draw is drawn in this one, with its errors; so is
    all on a single processor, and where no process can be started.
    """
    process = None if processor_count() == 1 else _started()
    if process is None:
        yield lambda still: lambda: still.png
        return
    requests = ThreadPoolExecutor(1, "draws pictures")

    def begin(still: Still) -> Png:
        asked = requests.submit(_answer, process, still)
        return lambda: asked.result() or still.png

    try:
        yield begin
    finally:
        process.kill()
        process.wait()
        requests.shutdown()
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):  # a request that an ended process did not take is still in the buffer
                _stream(stream).close()


def serve() -> None:
    """In the child: draw the specifications that arrive, until their pipe ends, or one cannot be drawn."""
    for name in IGNORED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # what a library prints is no answer
    _ = Still(FIRST).png
    with suppress(EOFError):
        while True:
            answers.write(pickle.dumps(Still(pickle.load(sys.stdin.buffer)).png))
            answers.flush()


def _started() -> "subprocess.Popen[bytes] | None":
    """Start the process that draws; None where the system allows no more processes, files or memory."""
    with suppress(OSError):
        return subprocess.Popen(
            [sys.executable, "-P", "-c", COMMAND],  # -P: the working folder may hold modules
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
        )
    return None


def _answer(process: "subprocess.Popen[bytes]", still: Still) -> bytes:
    """Return the picture that the process draws; nothing if it has ended, which leaves the rest to this process."""
    with suppress(OSError, EOFError, pickle.UnpicklingError):
        requests = _stream(process.stdin)
        requests.write(pickle.dumps(dict(still.spec)))
        requests.flush()
        answer: bytes = pickle.load(_stream(process.stdout))
        return answer
    return b""


def _stream(stream: Any) -> Any:
    assert stream is not None
    return stream
