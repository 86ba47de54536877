"""What a person gave that cannot be used."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A mistake in what a study asks for: the study file's key, and a message that holds the remedy."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(key, message)
        self.key = key
        self.message = message

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


def unknown_name(given: str, known: Iterable[str], kind: str = "") -> str:
    """Say that a name is unknown, with the nearest spelling and the names there are (30 at most)."""
    names = list(known)
    near = difflib.get_close_matches(given, names, n=1)
    folded = [name for name in names if name.strip().casefold() == given.strip().casefold()]
    guess = (folded or near or [""])[0]
    hint = f"; did you mean {guess!r}?" if guess else ""
    more = f", and {len(names) - 30} more" if len(names) > 30 else ""
    listed = ", ".join(names[:30]) + more if names else "none"
    return f"unknown {kind + ' ' if kind else ''}{given!r}{hint} (known: {listed})"
