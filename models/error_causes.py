"""The cause of an exception in one line, and the user's line that led to it.

Keras puts the cause below "Exception encountered when calling …", TensorFlow below a list of nodes, and AutoGraph at
the end of a listing of the user's code. A trial's message, a log line and a terminal have room for one line.
"""

import re
import traceback
from collections.abc import Iterator
from pathlib import Path

CAUSE_LENGTH = 500  # characters; the whole text is in the traceback

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_CALLING = re.compile(r"Exception encountered when calling (?P<layer>.+?)\.?")
_NOISE = re.compile(
    r"Graph execution error:|Detected at node .*|<stack traces unavailable>|Stack trace for op definition:?.*"
    r"|\d+ root error\(s\) found\.|.*Error encountered:|File \".*|\[\[\{\{node .*|Arguments received by .*|• .*"
    r"|-{8,}|\^+"
)
_SYMBOLIC = re.compile(
    r"symbolic `?tf\.Tensor|SymbolicTensor|KerasTensor is symbolic|'KerasTensor' object|Tracer|Concretization"
)
_ROOT_ERROR = re.compile(r"\(\d+\) \w+:\s+")
_LAST_LINE_OF_CODE = re.compile(r"(?P<type>[A-Z]\w*(?:Error|Exception|Warning)): (?P<text>.+)")


def cause_of(error: BaseException) -> str:
    """Return `Type: cause` in one line, with the layer or function where Keras names it."""
    kind, (text, where) = type(error).__name__, _cause(str(error))
    return f"{kind}: {where}{text.removeprefix(f'{kind}: ') or 'no message'}"[:CAUSE_LENGTH]


def users_line(error: BaseException, folder: Path) -> str:
    """Return `line 7 of net.py` for the last line in a folder's own files that led to the error; empty if none did.

    Files of installed packages within the folder (a virtual environment) are not the user's.
    """
    folder = folder.resolve()
    for each in _chain(error):
        if isinstance(each, SyntaxError) and each.filename and is_own_file(Path(each.filename), folder):
            return f"line {each.lineno} of {Path(each.filename).name}"
        frames = [
            frame for frame in traceback.extract_tb(each.__traceback__) if is_own_file(Path(frame.filename), folder)
        ]
        if frames:
            return f"line {frames[-1].lineno} of {Path(frames[-1].filename).relative_to(folder)}"
    return ""


def described(error: BaseException, folder: Path) -> str:
    """Return the cause of an error, and the last line in a folder's own files that led to it."""
    line = users_line(error, folder)
    return f"{cause_of(error)}{f' ({line})' if line else ''}"


def eager_remedy(error: BaseException) -> str:
    """Return what to write instead of code that needs the values of tensors, as a suffix; empty for other errors."""
    if not _SYMBOLIC.search(f"{type(error).__name__}: {error}"):
        return ""
    told = "the model is compiled, whatever run_eagerly is, and has no values while its program is traced"
    return f"; {told}: use keras.ops, such as ops.sort for np.sort, ops.where for if, and ops.map for a loop over rows"


def _cause(text: str) -> tuple[str, str]:
    """The cause's text, and where Keras says that it was raised, as a prefix."""
    lines = [line.strip() for line in _ANSI.sub("", text).strip().splitlines()]
    if lines and lines[0] == "in user code:":
        found = [match for line in lines if (match := _LAST_LINE_OF_CODE.fullmatch(line))]
        return (f"{found[-1]['type']}: {found[-1]['text']}" if found else lines[-1]), ""
    where = ""
    for line in lines:
        if match := _CALLING.fullmatch(line):
            where = f"{match['layer']}: "
        elif line and not _NOISE.fullmatch(line):
            return _ROOT_ERROR.sub("", line), where
    return (lines[0] if lines else ""), ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error's causes, the first one first."""
    chain: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in chain:
        chain.append(each)
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return reversed(chain)


def is_own_file(file: Path, folder: Path) -> bool:
    """True if a file is in the folder or below it, and not of an installed package there (a virtual environment)."""
    return file.is_relative_to(folder) and "site-packages" not in file.relative_to(folder).parts
