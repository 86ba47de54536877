"""Processes of ours that must not outlive the one that started them."""

import ctypes
import os
import signal
import sys
import threading
import time

from nightune.settings import SERVED_BY, SUPERVISOR, read_settings

SET_PARENT_DEATH_SIGNAL = 1  # prctl(2), PR_SET_PDEATHSIG


def follow(parent: int) -> None:
    """Let this process end as soon as its parent has ended, however it ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def follow_server() -> bool:
    """Let a night end with the process that serves it, and by its word alone; False for any other night.

    Ctrl-C reaches all processes of a terminal: the one that serves takes it, and ends its nights.
    """
    parent = read_settings().served_by
    if parent is not None:
        del os.environ[SERVED_BY]
        os.environ[SUPERVISOR] = str(parent)  # it starts a night again that a trial has taken down
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        follow(parent)
    return parent is not None


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
