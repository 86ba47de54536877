"""Bundle the script of the report's charts in a process of its own, while the first sweep of a store trains."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightune.flows.runtime.processes import follow
from nightune.tasks.child_environment import child_environment

_CODE = "import sys; from nightune.flows.runtime.charts_ahead import run; run(sys.argv[1], int(sys.argv[2]))"


@contextmanager
def charts_bundled_beside(folder: Path) -> Iterator[None]:
    """Put the script into the folder while the block runs, unless it is there; the report bundles what is missing.

    It takes more than a second of a processor, of which there are usually two. The process ends with the block at the
    latest, and with this process.
    """
    from nightune.tasks.reporting.night.charts_library import is_kept  # noqa: PLC0415 - only where a sweep is reported

    if is_kept(folder):
        yield
        return
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _CODE, str(folder), str(os.getpid())],  # -P: the working folder may hold modules
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()  # it has long ended, or the block was short
        process.wait()


def run(folder: str, parent: int) -> None:
    """In the child: bundle the script, which the folder then holds, unless the parent ends before."""
    from nightune.tasks.reporting.night.charts_library import charts_library  # noqa: PLC0415 - only in the child

    follow(parent)
    charts_library(Path(folder))
