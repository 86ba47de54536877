"""A child process that answers requests one at a time, and ends with its pipe."""

import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any, BinaryIO

from nightune.tasks.child_environment import child_environment

IGNORED = ("SIGINT", "SIGTERM")  # a terminal and a service send them to all processes: a child ends with its pipe


class ChildPipe:
    """A child process of Python that runs a command, and the pipes to it; values are pickled."""

    def __init__(self, command: str) -> None:
        """Start it. OSError where the system allows no more processes, files or memory."""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", command],  # -P: the working folder may hold modules
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
        )

    def send(self, request: Any) -> None:
        """Send a request; OSError if the child has ended."""
        stream = _stream(self.process.stdin)
        stream.write(pickle.dumps(request))
        stream.flush()

    def receive(self) -> Any:
        """Wait for an answer. If the child ends before, EOFError, or whatever pickle raises of a part of an answer."""
        return pickle.load(_stream(self.process.stdout))

    def end(self) -> None:
        """End the child, which ends a wait for its answer."""
        self.process.kill()  # nothing is left to do: an orderly end takes Python half a second
        self.process.wait()

    def close(self) -> None:
        """End the child and close the pipes, when no thread waits for an answer."""
        self.end()
        for stream in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # a request that an ended child did not take is still in the buffer
                _stream(stream).close()


def served_pipe() -> tuple[BinaryIO, BinaryIO]:
    """In the child: return the streams of requests and of answers, and ignore signals that are meant for the parent."""
    for name in IGNORED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    return requests, answers


def _stream(stream: Any) -> Any:
    assert stream is not None
    return stream
