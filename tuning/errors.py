"""What is wrong with a study file, said so that its writer can mend it."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN_PROBLEMS = 40
SHOWN_NAMES = 30
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Problem:
    """One mistake: the key it concerns, and a message that says what is wrong and what is allowed."""

    key: str
    message: str


class StudyError(Exception):
    """A study that cannot be used. Its text has one line a problem: `FILE: KEY: what is wrong`."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        super().__init__(source, tuple(problems))
        self.source = source
        self.problems = tuple(problems)

    def __str__(self) -> str:
        lines = [
            f"{self.source}: {_one_line(problem.key)}: {_one_line(problem.message)}"
            for problem in self.problems[:SHOWN_PROBLEMS]
        ]
        left = len(self.problems) - SHOWN_PROBLEMS
        return "\n".join([*lines, f"{self.source}: and {left} more problems"] if left > 0 else lines)


def suggestion(given: object, known: Iterable[object]) -> str:
    """Return "; did you mean 'x'?" for the nearest of the known names, or nothing if none is near.

    The start or the end of a name is near to it: `min` to `minimize`, `patience` to `stopping.patience`. Of several
    near ones, that which is as long and begins alike is meant: `adamv` is a slip for `adamw`, not for `adam`.
    """
    names = [str(name) for name in known]
    text = str(given)[:SHOWN_CHARACTERS]
    exact = [name for name in names if name.casefold() == text.casefold()]
    tails = [name for name in names if name.endswith((f".{text}", f"_{text}"))]
    starts = [name for name in names if len(text) >= 3 and name.startswith(text)]
    close = difflib.get_close_matches(text, names, n=3)
    ratios = {name: difflib.SequenceMatcher(None, text, name).ratio() for name in close}
    close = [name for name in close if ratios[name] > max(ratios.values()) - 0.1]
    close.sort(key=lambda name: (len(name) != len(text), not name.startswith(text[:2])))
    nearest = [*exact, *tails[:1], *starts[:1], *close]
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def listing(known: Iterable[object], word: str = "known") -> str:
    """Return "known: a, b, c", cut where it would fill the screen."""
    names = [str(name) for name in known]
    more = f", and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return f"{word}: {', '.join(names[:SHOWN_NAMES]) or 'none'}{more}"


def shown(value: object) -> str:
    """Return a value as a message echoes it: texts in quotes, booleans as TOML writes them, long ones cut."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number of more than 64 bits"
    text = repr(value) if isinstance(value, str | int | float | list | dict) else str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def _one_line(text: str) -> str:
    """No text of a study file may break the form of the message or fill the screen."""
    plain = "".join(character if character.isprintable() else "?" for character in text)
    return plain if len(plain) <= 1000 else f"{plain[:999]}…"
