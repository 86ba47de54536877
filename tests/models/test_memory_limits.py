"""The least limit of memory counts: of any group above a process, of either version, and of its addresses."""

import math
from pathlib import Path

import pytest

from nightune.models.data import memory_limits, placement
from nightune.models.data.memory_limits import (
    FIRST,
    SECOND,
    address_space,
    groups_with_memory,
    room_of_addresses,
    room_of_groups,
)

MOUNT = "31 23 0:28 {root} {mounted} rw,relatime shared:9 - {system}"
MEMORY = "cgroup cgroup rw,memory"


def write_group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n", encoding="ascii")


def process_in(folder: Path, membership: str, mount: str) -> Path:
    process = folder / "proc"
    process.mkdir()
    (process / "cgroup").write_text(f"{membership}\n", encoding="utf-8")
    (process / "mountinfo").write_text(f"{mount}\n", encoding="utf-8")
    return process


def folders(membership: str, mount: str) -> list[tuple[str, object]]:
    return [(group.folder.as_posix(), group.version) for group in groups_with_memory(membership, mount)]


def test_the_own_group_and_all_above_it_count_in_both_versions() -> None:
    second = MOUNT.format(root="/", mounted="/sys/fs/cgroup", system="cgroup2 cgroup2 rw,nsdelegate")
    above = ["/sys/fs/cgroup/a.slice/b", "/sys/fs/cgroup/a.slice", "/sys/fs/cgroup"]
    assert folders("0::/a.slice/b", second) == [(path, SECOND) for path in above]
    first = MOUNT.format(root="/", mounted="/sys/fs/cgroup/memory", system=MEMORY)
    hybrid = "5:cpu,cpuacct:/other\n4:hugetlb,memory:/job\n0::/"
    assert folders(hybrid, first) == [("/sys/fs/cgroup/memory/job", FIRST), ("/sys/fs/cgroup/memory", FIRST)]


@pytest.mark.parametrize("own", ["/docker/abc", "/elsewhere", "/../sibling"])
def test_a_group_that_is_mounted_as_the_root_counts_alone(own: str) -> None:
    mount = MOUNT.format(root="/docker/abc", mounted="/sys/fs/cgroup/memory", system=MEMORY)
    assert folders(f"4:memory:{own}", mount) == [("/sys/fs/cgroup/memory", FIRST)]


def test_names_with_backslashes_and_spaces_are_read() -> None:
    mount = MOUNT.format(root=r"/a\134x2d", mounted=r"/my\040groups", system=MEMORY)
    assert folders(r"4:memory:/a\x2d/b", mount)[0] == ("/my groups/b", FIRST)


def test_mounts_and_groups_without_memory_do_not_count(tmp_path: Path) -> None:
    assert folders("3:cpu:/a", MOUNT.format(root="/", mounted="/cpu", system="cgroup cgroup rw,cpu")) == []
    assert folders("4:memory:/a", MOUNT.format(root="/", mounted="/tmp", system="tmpfs tmpfs rw,memory")) == []
    assert folders("3:cpu:/a", MOUNT.format(root="/", mounted="/memory", system=MEMORY)) == []
    mount = MOUNT.format(root="/", mounted=tmp_path, system="cgroup2 cgroup2 rw")
    assert room_of_groups(process_in(tmp_path, "0::/a", mount)) == math.inf
    assert room_of_groups(tmp_path / "no process") == math.inf


@pytest.mark.parametrize(
    "mount",
    [
        rb"99 23 0:50 / /mnt/c rw - 9p C:\134 rw,aname=drvfs;path=C:\Program Files\Docker Desktop\x;uid=0",
        b"99 23 0:50 / /mnt/caf\xe9 rw - ext4 /dev/sdb rw",
        b"99 23 0:50 / /mnt/a\x0bb rw - ext4 /dev/sdb rw",
        b"99 23 0:50 / /mnt rw",
    ],
)
def test_mounts_with_unusual_names_hide_no_limit(tmp_path: Path, mount: bytes) -> None:
    write_group(tmp_path, memory__max=5000, memory__current=2000)
    process = process_in(tmp_path, "0::/", MOUNT.format(root="/", mounted=tmp_path, system="cgroup2 cgroup2 rw"))
    (process / "mountinfo").write_bytes(mount + b"\n" + (process / "mountinfo").read_bytes())
    assert room_of_groups(process) == 3000


@pytest.mark.parametrize("text", ["max", "", "-1", "nan", "12 34", "\u00e9"])
def test_a_limit_that_is_no_number_limits_nothing(tmp_path: Path, text: str) -> None:
    process = process_in(tmp_path, "0::/", MOUNT.format(root="/", mounted=tmp_path, system="cgroup2 cgroup2 rw"))
    (tmp_path / "memory.max").write_text(text, encoding="utf-8")
    (tmp_path / "memory.current").write_text("2000\n", encoding="ascii")
    assert room_of_groups(process) == math.inf


def test_the_least_room_of_nested_groups_counts(tmp_path: Path) -> None:
    write_group(tmp_path / "parent/own", memory__max=9000, memory__high="max", memory__current=1000)
    write_group(tmp_path / "parent", memory__max=5000, memory__high="max", memory__current=2000)
    mount = MOUNT.format(root="/", mounted=tmp_path, system="cgroup2 cgroup2 rw")
    process = process_in(tmp_path, "0::/parent/own", mount)
    assert room_of_groups(process) == 3000
    write_group(tmp_path / "parent/own", memory__high=2500)
    assert room_of_groups(process) == 1500
    write_group(tmp_path / "parent/own", memory__current=7000)
    assert room_of_groups(process) == 0


@pytest.mark.parametrize(
    ("version", "limit", "used", "stat"),
    [
        ("cgroup2 cgroup2 rw", "memory.max", "memory.current", "anon 500\ninactive_file 900\nactive_file 600"),
        (
            MEMORY,
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "inactive_file 7\ntotal_inactive_file 900\ntotal_active_file 600\n\ntotal_active_file",
        ),
    ],
)
def test_files_that_the_kernel_can_drop_are_no_use(
    tmp_path: Path, version: str, limit: str, used: str, stat: str
) -> None:
    write_group(tmp_path, **{limit: 5000, used: 2000})
    process = process_in(tmp_path, "4:memory:/\n0::/", MOUNT.format(root="/", mounted=tmp_path, system=version))
    assert room_of_groups(process) == 3000
    write_group(tmp_path, memory__stat=stat)
    assert room_of_groups(process) == 4500


def test_a_limit_of_addresses_counts_as_far_as_it_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    for allowed in (2**50, 2**20):  # more and fewer than a process with NumPy has taken
        monkeypatch.setattr(resource, "getrlimit", lambda kind, allowed=allowed: (allowed, resource.RLIM_INFINITY))
        assert address_space() == allowed
        assert (0 < room_of_addresses() < allowed) if allowed == 2**50 else room_of_addresses() == 0
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert address_space() == room_of_addresses() == math.inf


def test_the_least_of_all_limits_and_of_free_memory_is_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = MOUNT.format(root="/", mounted=tmp_path, system=MEMORY)
    monkeypatch.setattr(memory_limits, "PROCESS", process_in(tmp_path, "4:memory:/", mount))
    write_group(tmp_path, memory__limit_in_bytes=5000, memory__usage_in_bytes=2000)
    assert placement.available_bytes() == 3000
    monkeypatch.setattr(memory_limits, "room_of_addresses", lambda: 70)
    assert placement.available_bytes() == 70
    write_group(tmp_path, memory__limit_in_bytes=2**63 - 4096)
    monkeypatch.setattr(memory_limits, "room_of_addresses", lambda: math.inf)
    assert 2**20 < placement.available_bytes() < 2**60
