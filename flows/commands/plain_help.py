"""Help that shows texts as they are written, and flags without a type.

Typer reads words in brackets, such as `nightune[dask]`, as markup, and shows `<bool>` for an option without a value.
"""

from typing import Any

from rich.markup import escape
from typer.core import TyperCommand, TyperGroup


class PlainCommand(TyperCommand):
    """A command with plain help."""

    def __init__(self, *given: Any, **named: Any) -> None:
        """Make the command, with its texts escaped."""
        super().__init__(*given, **named)
        _escape(self)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, flags without a type."""
        return _without_types(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """The command line with plain help."""

    def __init__(self, *given: Any, **named: Any) -> None:
        """Make the group, with its texts escaped."""
        super().__init__(*given, **named)
        _escape(self)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, flags without a type."""
        return _without_types(super().get_params(ctx))


def _escape(command: Any) -> None:
    """Escape the texts of a command and of its parameters, so that words in brackets are shown."""
    for each in (command, *command.params):
        for name in ("help", "epilog"):
            if text := getattr(each, name, None):
                setattr(each, name, escape(text))


def _without_types(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params
