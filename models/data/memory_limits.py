"""The memory that the limits on this process leave: of its control groups (cgroups), and of its address space."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

PROCESS = Path("/proc/self")
_OCTAL = re.compile(r"\\(\d{3})")  # how mountinfo writes a space or a backslash


def room_within_limits() -> float:
    """Return the bytes that the least of all limits on this process leaves; infinite where nothing limits it."""
    return min(room_of_groups(PROCESS), room_of_addresses())


def room_of_groups(process: Path) -> float:
    """Return the bytes that the control groups of a process leave, given its folder in /proc."""
    try:  # names of folders may be in any encoding
        membership = (process / "cgroup").read_text(encoding="utf-8", errors="surrogateescape")
        mounts = (process / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # not Linux
        return math.inf
    return min((group.room() for group in groups_with_memory(membership, mounts)), default=math.inf)


def address_space() -> float:
    """Return the bytes of addresses that this process may have (`ulimit -v`); infinite without a limit."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return math.inf
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    return math.inf if allowed == resource.RLIM_INFINITY else allowed


def room_of_addresses() -> float:
    """Return the bytes of addresses that this process may still take; infinite without a limit."""
    allowed = address_space()
    return allowed if math.isinf(allowed) else max(0, allowed - psutil.Process().memory_info().vms)


@dataclass(frozen=True)
class Version:
    """The names of one version of control groups in /proc and in the files of a group."""

    file_system: str
    controller: str  # as /proc/self/cgroup and the options of the mount list it; none in version 2
    limits: tuple[str, ...]  # the second is soft: above it, the kernel slows the group instead of ending a process
    used: str
    cache: tuple[str, ...]  # in memory.stat: files that the kernel drops when it needs room


FIRST = Version(
    "cgroup",
    "memory",
    ("memory.limit_in_bytes",),
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)
SECOND = Version("cgroup2", "", ("memory.max", "memory.high"), "memory.current", ("inactive_file", "active_file"))


@dataclass(frozen=True)
class Group:
    """The folder of a control group."""

    folder: Path
    version: Version

    def room(self) -> float:
        """Return the bytes that the group's processes may still take; infinite where it has no limit."""
        limit = min((_number(self.folder / name) for name in self.version.limits), default=math.inf)
        used = _number(self.folder / self.version.used)
        if math.isinf(limit) or math.isinf(used):  # the root of version 2 has neither file
            return math.inf
        return max(0, limit - max(0, used - self._cache()))

    def _cache(self) -> float:
        """Return the bytes of files that the kernel keeps for the group, and drops when it needs room."""
        try:
            lines = (self.folder / "memory.stat").read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return 0
        counts = (line.partition(" ") for line in lines)
        return sum(float(count) for name, _, count in counts if name in self.version.cache and count.isdecimal())


def groups_with_memory(membership: str, mounts: str) -> Iterator[Group]:
    """Yield the groups whose limits of memory count: the process's own and all above it that can be seen from here.

    Texts are those of /proc/self/cgroup and /proc/self/mountinfo. In a container, a group may be mounted as the root.
    """
    for line in mounts.split("\n"):  # not splitlines: a name may hold other ends of lines
        about, _, of_system = line.partition(" - ")
        version = _version(of_system)
        own = None if version is None else _own_group(membership, version)
        if version is None or own is None:
            continue
        root, mounted = (_OCTAL.sub(_decoded, word) for word in about.split()[3:5])
        below = own.relative_to(root) if own.is_relative_to(root) and ".." not in own.parts else PurePosixPath()
        for path in (below, *below.parents) if below.parts else (below,):
            yield Group(Path(mounted) / path, version)


def _version(of_system: str) -> Version | None:
    """Return the version of control groups that a mount shows, if they have memory.

    `of_system` are type, source and options; the options of other file systems may hold spaces (9p, below Windows).
    """
    words = of_system.split()
    if words[:1] == [SECOND.file_system]:
        return SECOND
    return FIRST if words[:1] == [FIRST.file_system] and FIRST.controller in words[-1].split(",") else None


def _own_group(membership: str, version: Version) -> PurePosixPath | None:
    """Return the path of the process's group below the root of its hierarchy."""
    for line in membership.split("\n"):
        _, _, group = line.partition(":")
        controllers, _, path = group.partition(":")
        if path and version.controller in controllers.split(","):
            return PurePosixPath(path)
    return None


def _number(file: Path) -> float:
    try:
        text = file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:  # the kernel counts no memory here
        return math.inf
    return float(text) if text.isdecimal() else math.inf  # "max", and what no kernel writes


def _decoded(octal: re.Match[str]) -> str:
    return chr(int(octal[1], 8))
