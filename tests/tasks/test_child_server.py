"""A server in a child process that ends beside what follows."""

import signal
import subprocess
import sys
import threading

from nightune.tasks.child_server import ChildServer

SLOW = (
    "import signal, sys\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(sys.stdin.read() != ''))\n"
    "print('up', flush=True); signal.pause()"
)


def test_a_server_ends_beside_the_process_which_waits_for_it_at_its_exit() -> None:
    process = subprocess.Popen([sys.executable, "-c", SLOW], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    before = set(threading.enumerate())
    ChildServer("a slow server", process, "", "").stop_beside()
    (waiting,) = set(threading.enumerate()) - before
    assert (process.poll(), waiting.daemon) == (None, False)
    process.stdin.close()  # what it waits for before it ends
    process.stdout.close()
    waiting.join()
    assert process.returncode in (0, -signal.SIGTERM)
