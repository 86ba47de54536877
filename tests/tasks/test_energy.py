"""Counters of energy are read as the machine has them."""

from pathlib import Path

import pytest

from nightune.tasks.reporting.energy import Counter, Meter, _packages


def zone(folder: Path, number: str, microjoules: int, name: str = "package-0") -> Path:
    place = folder / f"intel-rapl:{number}"
    place.mkdir(parents=True)
    for file, text in {"name": name, "energy_uj": microjoules, "max_energy_range_uj": 100_000_000}.items():
        (place / file).write_text(f"{text}\n")
    return place / "energy_uj"


def test_packages_are_counted_across_the_end_of_their_counters(tmp_path: Path) -> None:
    counted = zone(tmp_path, "0", 90_000_000)
    zone(tmp_path, "0:0", 1_000_000, "core")  # a part of the package
    seconds = [0.0]
    meter = Meter(_packages(tmp_path), lambda: seconds[0])
    counted.write_text("95000000")
    seconds[0] = 11.0
    meter.poll()
    counted.write_text("3000000")  # begun again at 100 J
    assert meter.joules() == pytest.approx(13.0)
    assert meter.names == "processor"


def test_counters_are_polled_every_ten_seconds_at_most() -> None:
    seconds, read = [0.0], [0]

    def joules() -> float:
        read[0] += 1
        return 0.0

    meter = Meter([Counter("GPU", joules)], lambda: seconds[0])
    for _ in range(5):
        seconds[0] += 3.0
        meter.poll()
    assert read[0] == 2


def test_energy_is_not_known_without_a_counter_or_after_a_failed_reading(tmp_path: Path) -> None:
    assert Meter([]).joules() is None
    counted = zone(tmp_path, "0", 1)
    meter = Meter(_packages(tmp_path))
    counted.unlink()
    assert meter.joules() is None
    assert meter.names == ""


def test_a_counter_that_this_user_may_not_read_is_left_out(tmp_path: Path) -> None:
    zone(tmp_path, "0", 1).unlink()
    assert _packages(tmp_path) == []
