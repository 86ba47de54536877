"""End child processes with the process that started them."""

import ctypes
import os
import signal
import sys
import threading
import time

from nightune.settings import SERVED_BY, SUPERVISOR, read_settings

SET_PARENT_DEATH_SIGNAL = 1  # prctl(2), PR_SET_PDEATHSIG


def follow(parent: int) -> None:
    """End this process as soon as its parent has ended, also if the parent was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before the signal was set
        os.kill(os.getpid(), signal.SIGKILL)


def follow_server() -> bool:
    """End a night with the process of `serve` that started it; return False for any other night.

    Ctrl-C reaches all processes of a terminal: nights ignore it, and `serve` ends them.
    """
    parent = read_settings().served_by
    if parent is not None:
        del os.environ[SERVED_BY]
        os.environ[SUPERVISOR] = str(parent)  # it restarts a night that a trial has crashed
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        follow(parent)
    return parent is not None


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
