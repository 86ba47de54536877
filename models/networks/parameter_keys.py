"""The keys of a study that the parameters of a model function are, by their annotations and defaults."""

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any, Literal

from nightune.models.techniques.keys import NO_VALUE, Key, NoValue
from nightune.vocabulary import KeyKind

UNIONS = (typing.Union, types.UnionType)  # int | None, Optional[int]


def annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations, texts resolved where that is possible: each alone, as others may name what is missing."""
    source: Any = function.__init__ if inspect.isclass(function) else function
    scope, hints = getattr(inspect.unwrap(source), "__globals__", {}), dict[str, Any]()
    for name, hint in getattr(source, "__annotations__", {}).items():
        with suppress(NameError, TypeError, AttributeError, SyntaxError):
            hints |= typing.get_type_hints(types.SimpleNamespace(__annotations__={name: hint}), scope, None, True)
    return hints


def is_key(parameter: inspect.Parameter) -> bool:
    """True if a study can contain the default of a parameter; one with another default is no key."""
    return _is_plain(_plain(parameter.default))


def is_no_value(value: Any, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> bool:
    """True if a study's value of a parameter, or an array that is given, is the "none" that stands for None."""
    return isinstance(value, str) and value == NO_VALUE and key_of(parameter, hints).no_value == "None"


def key_of(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Key:
    """Return the key of a parameter by its annotation, among those of its function, and its default."""
    hint = hints.get(parameter.name, parameter.annotation)
    is_unknown = hint in (inspect.Parameter.empty, Any, object) or isinstance(hint, str)
    if is_unknown and parameter.default is None:
        hint = str | None  # the default alone tells no type: a text is not excluded
    return _as_key(hint, _plain(parameter.default))


def _as_key(hint: Any, default: Any) -> Key:
    """Return the key of a parameter. If it may be None, that is "none" in a study, unless it may be a text as well."""
    if typing.get_origin(hint) is Annotated:
        stated = [note for note in hint.__metadata__ if isinstance(note, Key)]
        return replace(stated[0], default=default) if stated else _as_key(hint.__origin__, default)
    alternatives = [*_alternatives(hint)]
    others = [each for each in alternatives if each is not types.NoneType]
    if others and len(others) < len(alternatives):
        key = _as_key(typing.Union[tuple(others)], default)  # noqa: UP007 - of types that are known at run time
        return replace(key, no_value=_no_value(key, others))
    if typing.get_origin(hint) is Literal:
        return Key("option", default, options=typing.get_args(hint))
    if hint is inspect.Parameter.empty and default is not None:
        hint = type(default)
    if hint is float or set(alternatives) == {int, float}:
        return Key("float", float(default) if isinstance(default, int) else default)
    kinds: dict[Any, KeyKind] = {bool: "boolean", int: "integer"}
    return Key(kinds.get(hint, "any"), default)


def _alternatives(hint: Any) -> Iterator[Any]:
    """Yield the types of a union, also of one that is written as a literal: Literal["a", None]."""
    if typing.get_origin(hint) in UNIONS:
        for each in typing.get_args(hint):
            yield from _alternatives(each)
    elif typing.get_origin(hint) is Literal and None in typing.get_args(hint):
        values = tuple(each for each in typing.get_args(hint) if each is not None)
        yield from (*([Literal[values]] if values else []), types.NoneType)
    else:
        yield hint


def _no_value(key: Key, others: Sequence[Any]) -> NoValue:
    """Return what "none" is of a parameter that may be None, or of these types."""
    if NO_VALUE in (key.default, *key.options):
        return "text"
    return "unclear" if key.kind == "any" and any(map(_may_be_text, others)) else "None"


def _may_be_text(hint: Any) -> bool:
    if typing.get_origin(hint) is Annotated:
        return _may_be_text(hint.__origin__)
    if typing.get_origin(hint) is Literal:
        return NO_VALUE in typing.get_args(hint)
    kind = typing.get_origin(hint) or hint
    return not isinstance(kind, type) or kind in (Any, object) or issubclass(kind, str)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _plain(default: Any) -> Any:
    if default is inspect.Parameter.empty:
        return None
    return [_plain(item) for item in default] if isinstance(default, list | tuple) else default
