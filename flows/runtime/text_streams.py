"""Let standard output and standard error take every text, whatever the encoding of the terminal or pipe."""

import codecs
import io
import json
import sys
import unicodedata
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
