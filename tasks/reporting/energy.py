"""Read the counters of energy that a machine has: of NVIDIA's GPUs (NVML), and of processor packages (Linux, RAPL).

A counter counts everything that ran on its part of the machine. RAPL's counters begin again at 0 after some minutes of
full load, so that they are read at least every ten seconds.
"""

import ctypes
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
NVML = "libnvidia-ml.so.1"
POLL_SECONDS = 10.0


@dataclass
class Counter:
    """One counter. `read` returns joules; it begins again at 0 after `span` joules, if that is set."""

    name: str
    read: Callable[[], float]
    span: float = 0.0

    def __post_init__(self) -> None:
        self._last, self.joules = self.read(), 0.0

    def poll(self) -> None:
        """Add what was used since the last reading."""
        now = self.read()
        self.joules += now - self._last if now >= self._last else now - self._last + self.span
        self._last = now


class Meter:
    """Sums the counters of this machine from now on. Without one, or after a failed reading, energy is not known."""

    def __init__(self, counters: list[Counter], now: Callable[[], float] = time.monotonic) -> None:
        self._counters, self._now, self._polled_at, self._is_sound = counters, now, now(), bool(counters)

    @property
    def names(self) -> str:
        """The parts of the machine that are counted."""
        return ", ".join(dict.fromkeys(each.name for each in self._counters)) if self._is_sound else ""

    def poll(self) -> None:
        """Read the counters, if they were not read for some seconds."""
        if self._is_sound and self._now() - self._polled_at > POLL_SECONDS:
            self._read()

    def joules(self) -> float | None:
        """Return the energy since the start; None if it is not known."""
        if self._is_sound:
            self._read()
        return sum(each.joules for each in self._counters) if self._is_sound else None

    def _read(self) -> None:
        self._polled_at = self._now()
        try:
            for each in self._counters:
                each.poll()
        except (OSError, ValueError):  # a driver that is gone
            self._is_sound = False


def open_meter() -> Meter:
    """Return a meter of the counters that this machine has, and that this user may read."""
    counters: list[Counter] = []
    with suppress(OSError, ValueError, AttributeError):
        counters += _graphics()
    counters += _packages(POWERCAP)
    return Meter(counters)


def _packages(folder: Path) -> list[Counter]:
    found = []
    for zone in sorted(folder.glob("intel-rapl:*")):  # AMD's processors have the same names
        with suppress(OSError, ValueError):
            if zone.name.count(":") == 1 and (zone / "name").read_text().startswith("package"):
                span = _microjoules(zone / "max_energy_range_uj")
                found.append(Counter("processor", partial(_microjoules, zone / "energy_uj"), span))
    return found


def _microjoules(file: Path) -> float:
    return int(file.read_text()) / 1e6


def _graphics() -> Iterator[Counter]:
    library = ctypes.CDLL(NVML)
    count = ctypes.c_uint()
    if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return
    for index in range(count.value):
        device = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) == 0:
            yield Counter("GPU", partial(_millijoules, library, device))


def _millijoules(library: ctypes.CDLL, device: ctypes.c_void_p) -> float:
    value = ctypes.c_ulonglong()
    if library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(value)):
        raise ValueError("the GPU has no counter of energy")
    return value.value / 1000
