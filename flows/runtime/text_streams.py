"""Let standard output and standard error take every text, whatever the encoding and the reader of the stream."""

import codecs
import io
import json
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

HANDLER = "nightune_plain"
RAISING = ("strict", "surrogateescape", "backslashreplace")  # what Python sets; a person's own choice is kept
PLAIN = {
    **{"…": "...", "×": "x", "→": "->", "←": "<-", "±": "+/-", "≤": "<=", "≥": ">="},
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
    **dict.fromkeys("│┃║", "|"),
    **dict.fromkeys("·–—−─━═╸╺╶╴", "-"),
}


def show_every_text() -> None:
    """Replace characters that the encoding of an output stream lacks by similar ones, instead of an exception."""
    codecs.register_error(HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in RAISING:
            stream.reconfigure(errors=HANDLER)


@contextmanager
def outlive_reader() -> Iterator[None]:
    """Drop what is printed on standard output after the reader of its pipe has ended, as `head` does.

    The command and its exit code are those without a pipe. Other errors, as of a full disk, are raised.
    """
    before = sys.stdout
    if isinstance(before, io.TextIOWrapper) and not before.isatty():
        with suppress(io.UnsupportedOperation):  # a stream without a file
            raw = _Pipe(before.fileno(), "w", closefd=False)
            sys.stdout = io.TextIOWrapper(
                io.BufferedWriter(raw),
                encoding=before.encoding,
                errors=before.errors,
                line_buffering=before.line_buffering,
                write_through=before.write_through,
            )
    try:
        yield
    finally:
        ours, sys.stdout = sys.stdout, before
        if ours is not None:
            ours.flush()


class _Pipe(io.FileIO):
    """A file that takes everything once its reader has ended."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def json_text(value: dict[str, Any]) -> str:
    """Return one line of JSON that standard output can encode without loss."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return json.dumps(value, ensure_ascii=True)
    return text


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte of a file's name that is no text: print the byte, as Python does
        return bytes([ord(character) - 0xDC00]), error.start + 1
    similar = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return PLAIN.get(character, similar or "?"), error.start + 1
