"""Keep the programs that XLA compiles for TensorFlow in the store, for later processes.

TensorFlow reads and writes a folder of programs, fails if one of them is damaged, and does not expect other writers.
Therefore each process has a folder of its own, with links to the programs whose digest is right, and publishes what it
adds. Programs run on the kind of processor, and with the version of TensorFlow, that compiled them.
"""

import atexit
import hashlib
import os
import platform
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

FLAGS, FLAG = "TF_XLA_FLAGS", "--tf_xla_persistent_cache_directory="
MAXIMUM_BYTES = 2**28  # of all programs; the oldest are deleted first
FREE_BYTES = 2**30  # of the disk; with less, programs are not kept
DIGEST_LENGTH = 32
_LIVE = "live"

_caches: list["ProgramCache"] = []  # of this process


class ProgramCache:
    """The published programs of one kind of processor, and this process' own folder."""

    def __init__(self, shared: Path, own: Path) -> None:
        self._shared, self.own = shared, own
        self._known = {file.name for file in own.iterdir()}

    def publish(self) -> None:
        """Copy the programs that are new in this process' folder to the shared one; without disk space, leave it."""
        for file in self.own.iterdir():
            if file.name in self._known or file.suffix != ".pb":
                continue
            self._known.add(file.name)
            with suppress(OSError):
                content = file.read_bytes()
                part = self._shared / f".{file.name}.{os.getpid()}"
                part.write_bytes(content)
                part.replace(self._shared / f"{_digest(content)}-{file.name}")


def keep_programs(folder: Path) -> None:
    """Let TensorFlow keep compiled programs below the folder; call before it is imported.

    A folder that the user has set is left alone. Nothing is kept where the disk cannot be written or is almost full.
    """
    given = [flag for flag in os.environ.get(FLAGS, "").split() if not flag.startswith(FLAG + str(folder))]
    if any(flag.startswith(FLAG) for flag in given):
        return
    with suppress(OSError):
        shared = folder / processor_kind()
        shared.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(shared).free < FREE_BYTES:
            return
        _remove_left_folders(shared)
        own = Path(tempfile.mkdtemp(prefix=f"{_LIVE}-{socket.gethostname()}-{os.getpid()}-", dir=shared))
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        if any(character.isspace() for character in str(own)):  # flags are separated by blanks
            return
        for program in _valid_programs(shared):
            name = own / program.name[DIGEST_LENGTH + 1 :]
            with suppress(FileExistsError):
                _link(program, name)
        _caches.append(ProgramCache(shared, own))
        os.environ[FLAGS] = " ".join([*given, FLAG + str(own)])


def publish_programs() -> None:
    """Publish the programs that this process has compiled since the last call."""
    for cache in _caches:
        with suppress(OSError):
            cache.publish()


def processor_count() -> int:
    """Return the number of processors that this process may use, at least 1."""
    allowed = getattr(os, "sched_getaffinity", None)  # on Linux
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def processor_kind() -> str:
    """Return the kind of processor and software for which a program of TensorFlow is valid."""
    flags = [line for line in _processor_lines() if line.startswith(("flags", "Features"))][:1]
    parts = [platform.machine(), *flags, os.environ.get("XLA_FLAGS", "")]
    return f"tensorflow-{metadata.version('tensorflow')}-{_digest(chr(10).join(parts).encode())[:12]}"


def _processor_lines() -> list[str]:
    with suppress(OSError):
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    return [platform.processor()]


def _valid_programs(shared: Path) -> Iterator[Path]:
    """Yield the programs whose content has the digest of its name, and delete the others and the oldest."""
    programs = sorted(shared.glob("*-*.pb"), key=lambda file: file.stat().st_mtime, reverse=True)
    total = 0
    for program in programs:
        content = program.read_bytes()
        total += len(content)
        if total > MAXIMUM_BYTES or program.name[:DIGEST_LENGTH] != _digest(content):
            program.unlink(missing_ok=True)
        else:
            yield program


def _remove_left_folders(shared: Path) -> None:
    """Delete the folders of processes of this machine that were killed."""
    for folder in shared.glob(f"{_LIVE}-{socket.gethostname()}-*"):
        process = folder.name.removeprefix(f"{_LIVE}-{socket.gethostname()}-").split("-")[0]
        try:
            os.kill(int(process), 0)
        except (ProcessLookupError, ValueError):
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:  # another user's process
            continue


def _link(file: Path, name: Path) -> None:
    """Link a file to another name, or copy it where the file system has no links."""
    try:
        name.hardlink_to(file)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(file, name)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=DIGEST_LENGTH // 2).hexdigest()
