"""Tell whether a worker sees the files of the flow, and whether it is on the same machine."""

import uuid
from dataclasses import dataclass
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")  # Linux: one value a machine, in all its containers
MARK = "sent/mark.txt"


@dataclass(frozen=True)
class Mark:
    """A file that the flow has written, its text, and what identifies the flow's machine."""

    file: Path
    text: str
    machine: str


def leave_mark(store_root: Path) -> Mark:
    """Write a file with a random text into the store's folder; return the mark."""
    file, text = store_root / MARK, uuid.uuid4().hex
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return Mark(file, text, machine())


def sees(mark: Mark) -> bool:
    """Return whether this process sees the file that the flow has written."""
    try:
        return mark.file.read_text(encoding="utf-8") == mark.text
    except OSError:
        return False


def machine() -> str:
    """Return what identifies this machine until it starts again."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return str(uuid.getnode())
