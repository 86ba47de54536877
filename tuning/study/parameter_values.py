"""The values of a parameter of a study file: its domain, valid for its key, and the values in the key's kind."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nightune.tuning.errors import Problem
from nightune.tuning.search.domains import Choice, Range, is_among, range_problems
from nightune.tuning.study.parameters import TABLES, Parameter
from nightune.tuning.study.table_values import CHANGES_KIND, native_table
from nightune.tuning.study.vocabulary import KeySpec
from nightune.tuning.trial import Value
from nightune.vocabulary import shown, suggestion

LISTS = ("numbers", "names")  # kinds of keys whose values are lists


def read_domain(parameter: Parameter, key: KeySpec) -> Iterator[Range | Choice | Problem]:
    """Yield the domain of a parameter, or its problems: every option and both ends must be valid for the key."""
    if parameter.options is not None:
        options = parameter.options
        is_name = key.kind == "names" and len(options) == 1
        if key.kind in LISTS and not is_name and not any(isinstance(option, list | dict) for option in options):
            options = (list(options),)  # one list of numbers or names is a value, not options
        yield from _read_options(parameter.name, options, key)
        return
    problems = list(_range_problems(parameter.fields, key))
    yield from (replace(problem, key=f"{parameter.name}{problem.key}") for problem in problems)
    if not problems:
        yield _range(parameter.fields, key)


def value_problems(value: object, key: KeySpec) -> list[str]:
    """Return the problems of one value of a key, with the nearest spelling and the allowed values."""
    if isinstance(value, dict) and _is_table_of_heads(value, key):
        problem = key.problem(value)
        return [f"{problem} ({key.allowed})"] if problem else []
    if key.kind in TABLES and isinstance(value, dict):
        if key.kind != CHANGES_KIND and not _is_plain([*value.values()]):
            remedy = "to search the weight of a class, list tables: [{ no = 1, yes = 5 }, { no = 1, yes = 20 }]"
            return [f"{shown(value)} holds other values than numbers; {remedy}"]
    elif not _is_plain(value):
        return [f"{shown(value)} is not a value (allowed: numbers, texts, true, false, and lists of them)"]
    problem = key.problem(value)
    if not problem:
        return []
    near = suggestion(value, key.options) if isinstance(value, str) else ""
    return [f"{problem}{near} ({key.allowed})"]


def native(value: Any, key: KeySpec) -> Value:
    """Convert a valid value to the kind of the key: 1 becomes 1.0 for a float key."""
    if key.kind in ("float", "integer") and not isinstance(value, str):  # "none" of a number that may be None stays
        return float(value) if key.kind == "float" else int(value)
    if key.is_by_head and isinstance(value, dict):
        return {head: [*map(float, each)] if isinstance(each, list) else each for head, each in sorted(value.items())}
    if key.kind == "numbers":
        return [float(each) for each in value]
    if key.kind == "names":
        return value if value == key.default else [value] if isinstance(value, str) else list(value)
    read: Value = native_table(value, key.kind) if isinstance(value, dict) else value
    return read


def _is_table_of_heads(table: Mapping[str, Any], key: KeySpec) -> bool:
    """True for a table by the names of heads; weights of classes are words there, or tables of plain numbers."""
    values = list(table.values())
    if key.kind != "class_weight":
        return key.is_by_head or (key.kind == "head_weights" and _is_plain(values))
    tables = [[*each.values()] for each in values if isinstance(each, dict)]
    return bool(values) and all(isinstance(each, str | dict) for each in values) and all(map(_is_plain, tables))


def _read_options(name: str, written: Sequence[object], key: KeySpec) -> Iterator[Choice | Problem]:
    messages = [message for option in written for message in value_problems(option, key)]
    options = [] if messages else [native(option, key) for option in written]
    twice = [option for place, option in enumerate(options) if is_among(option, options[:place])]
    messages += [f"the option {shown(option)} is given twice" for option in twice]
    yield from (Problem(name, message) for message in messages)
    if not messages:
        yield Choice(tuple(options))


def _range_problems(fields: Mapping[str, Any], key: KeySpec) -> Iterator[Problem]:
    """Yield the problems of a range; the keys are relative to the parameter's name."""
    if key.kind in ("option", "boolean", "text", *LISTS, *TABLES):
        yield Problem("", f"a range is only for numbers; give the options as a list ({key.allowed})")
        return
    types = list(_type_problems(fields))
    yield from types
    if types:
        return
    integer = fields.get("integer", key.kind == "integer")
    if key.kind == "integer" and not integer:
        yield Problem(".integer", f"false, but this key needs whole numbers ({key.allowed})")
    low, high = (_end(fields[end], integer) for end in ("low", "high"))
    for message in range_problems(low, high, fields.get("scale", "linear"), integer, fields.get("steps")):
        yield Problem("", message)
    for name, end in (("low", low), ("high", high)):
        yield from (Problem(f".{name}", message) for message in value_problems(end, key))


def _type_problems(fields: Mapping[str, Any]) -> Iterator[Problem]:
    for field, value in fields.items():
        if field in ("low", "high") and not (_is_number(value) and _is_plain(value)):
            yield Problem(f".{field}", f"{shown(value)} is not a {'finite ' * _is_number(value)}number")
        if field == "scale" and not isinstance(value, str):
            yield Problem(".scale", f"{shown(value)} is not a text (known: linear, log)")
        if field == "integer" and not isinstance(value, bool):
            yield Problem(".integer", f"{shown(value)} is not true or false")
        if field == "steps" and (isinstance(value, bool) or not isinstance(value, int)):
            yield Problem(".steps", f"{shown(value)} is not a whole number (allowed: from 2)")


def _range(fields: Mapping[str, Any], key: KeySpec) -> Range:
    integer = fields.get("integer", key.kind == "integer")
    low, high = (_end(fields[end], integer) for end in ("low", "high"))
    return Range(low, high, fields.get("scale", "linear"), integer, fields.get("steps"))


def _end(number: float, integer: bool) -> int | float:
    """Convert an end of a range to its kind; a fraction is kept, to be refused later."""
    if not integer:
        return float(number)
    return int(number) if float(number).is_integer() else number


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_plain(value: object) -> bool:
    """True for values of params: no dates, tables, numbers of more than 64 bits or infinities."""
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    if isinstance(value, bool | str):
        return True
    if isinstance(value, int):
        return value.bit_length() < 64
    return isinstance(value, float) and value - value == 0.0
