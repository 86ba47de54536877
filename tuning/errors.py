"""Problems of a study file, each with its key and what is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass

SHOWN_PROBLEMS = 40


@dataclass(frozen=True)
class Problem:
    """One mistake: its key, and a message that says what is wrong and what is allowed."""

    key: str
    message: str


class SweepFailedError(Exception):
    """A sweep that ended early, since its first trials failed with one cause. The text says which, and what to do."""


class StudyError(Exception):
    """An invalid study. The text has one line per problem: `FILE: KEY: what is wrong`."""

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


def _one_line(text: str) -> str:
    """Keep text of a study file from breaking the format of the message or filling the screen."""
    plain = "".join(character if character.isprintable() else "?" for character in text)
    return plain if len(plain) <= 1000 else f"{plain[:999]}…"
