"""Parameters of a study file: a value, a list of options or a range, with or without conditions."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nightune.tuning.errors import Problem
from nightune.tuning.search.domains import Choice, Range, is_among, range_problems
from nightune.tuning.study.table_values import CHANGES, flat_table, native_table
from nightune.tuning.study.vocabulary import KeySpec
from nightune.tuning.trial import Value
from nightune.vocabulary import listing, shown, suggestion

RANGE_FIELDS = ("low", "high", "scale", "integer", "steps")
LISTS = ("numbers", "names")  # kinds of keys whose values are lists
TABLES = ("class_weight", "head_weights", CHANGES)  # kinds of keys whose values are tables
FORMS = ("value", "options", "low", "high")
FIELDS = (*FORMS, "scale", "integer", "steps", "when")


@dataclass(frozen=True)
class WrittenCondition:
    """A `when` as written: its key, and a value or a list of values for each name in it."""

    key: str
    values: Mapping[str, object]


@dataclass(frozen=True)
class Parameter:
    """A parameter as written: its options or the fields of its range, and its conditions.

    A parameter given by cases has one parameter per case, with the condition of the case.
    """

    name: str
    options: tuple[object, ...] | None
    fields: Mapping[str, object]
    when: tuple[WrittenCondition, ...] = ()
    cases: tuple["Parameter", ...] = ()

    @property
    def all_options(self) -> tuple[object, ...]:
        """The options, including those of all cases."""
        return self.options or tuple(option for case in self.cases for option in case.all_options)


def read_parameters(
    prefix: str, table: Mapping[str, Any], names: Mapping[str, KeySpec], when: tuple[WrittenCondition, ...] = ()
) -> Iterator[Parameter | Problem]:
    """Yield the parameters in a table of names, flat, in their order.

    A table is a parameter if it has a field of parameters, or if its name is one of `names`; every other table is a
    namespace. For a key whose values may be tables, it is such a value if no field of parameters holds another one.
    """
    if "when" in table:
        condition = _read_condition(f"{prefix}when", table["when"])
        if isinstance(condition, Problem):
            yield condition
        else:
            when = (*when, condition)
    for name, value in table.items():
        full = f"{prefix}{name}"
        if name == "when":
            continue
        if full in names and _are_values(value, names[full]):
            yield _read_plain(full, value, when)
        elif isinstance(value, list) and value and all(isinstance(case, dict) for case in value):
            yield from _read_cases(full, value, when)
        elif not isinstance(value, dict):
            yield _read_plain(full, value, when)
        elif full in names or (value.keys() & set(FORMS) and not _is_group(full, names)):
            yield from _read_table(full, value, when)
        else:
            yield from read_parameters(f"{full}.", value, names, when)


def _are_values(written: object, key: KeySpec) -> bool:
    """True for a table of classes or heads, also for one without numbers, and for a list of options with such tables.

    Classes may be named like fields: `{ low = 1, high = 5 }` are weights of two classes. Heads may if one is not.
    """
    if not isinstance(written, dict | list):
        return False
    tables = [each for each in (written if isinstance(written, list) else [written]) if isinstance(each, dict)]
    if key.is_by_head:
        return all(table.keys() - set(FIELDS) for table in tables)
    if key.kind not in TABLES:
        return False
    return all(not isinstance(table.get(field), dict | list | str) for table in tables for field in FIELDS)


def _is_group(name: str, names: Collection[str]) -> bool:
    """True for the common part of known names: `penalty` of `penalty.kind`, which is no parameter itself."""
    return any(each.startswith(f"{name}.") for each in names)


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
        if key.kind != CHANGES and not _is_plain([*value.values()]):
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
    if key.kind in ("float", "integer"):
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


def _read_condition(key: str, written: object) -> WrittenCondition | Problem:
    if not isinstance(written, dict) or not written:
        return Problem(key, f'{shown(written)} is not a condition (write {{ NAME = ["one value", "another"] }})')
    return WrittenCondition(key, dict(flat_table("", written)))


def _read_plain(name: str, value: object, when: tuple[WrittenCondition, ...]) -> Parameter | Problem:
    if value == []:
        return Problem(name, "has no options; give at least one, or remove it")
    return Parameter(name, tuple(value) if isinstance(value, list) else (value,), {}, when)


def _read_table(
    name: str, table: Mapping[str, Any], when: tuple[WrittenCondition, ...]
) -> Iterator[Parameter | Problem]:
    problems = [
        Problem(f"{name}.{field}", f"unknown field{suggestion(field, FIELDS)} ({listing(FIELDS)})")
        for field in table
        if field not in FIELDS
    ]
    if "when" in table:
        condition = _read_condition(f"{name}.when", table["when"])
        if isinstance(condition, Problem):
            problems.append(condition)
        else:
            when = (*when, condition)
    problems += _form_problems(name, table)
    yield from problems
    if "options" in table and isinstance(table["options"], list) and table["options"]:
        yield Parameter(name, tuple(table["options"]), {}, when)
    elif "value" in table:
        yield Parameter(name, (table["value"],), {}, when)
    elif "low" in table and "high" in table:
        yield Parameter(name, None, {field: table[field] for field in RANGE_FIELDS if field in table}, when)


def _read_cases(
    name: str, tables: Sequence[Mapping[str, Any]], when: tuple[WrittenCondition, ...]
) -> Iterator[Parameter | Problem]:
    """Read a list of tables, each for some values of the same other parameter."""
    cases: list[Parameter] = []
    problems: list[Problem] = []
    for number, table in enumerate(tables, start=1):
        found = list(_read_table(f"{name}[{number}]", table, ()))
        cases += [each for each in found if isinstance(each, Parameter)]
        problems += [each for each in found if isinstance(each, Problem)]
        if "when" not in table:
            problems.append(Problem(f"{name}[{number}].when", "missing; each case needs a condition"))
    yield from problems
    if problems:
        return
    controllers = {controller for case in cases for condition in case.when for controller in condition.values}
    if len(controllers) > 1:
        yield Problem(name, f"has cases on {' and '.join(sorted(controllers))}; all cases must depend on one parameter")
        return
    (controller,) = controllers
    values = [value for case in cases for value in case_values(case)]
    twice = [value for place, value in enumerate(values) if value in values[:place]]
    yield from (Problem(name, f"{controller} {shown(value)} is in two cases; keep one") for value in twice)
    if not twice:
        yield Parameter(name, None, {}, (*when, WrittenCondition(f"{name}.when", {controller: values})), tuple(cases))


def case_values(case: Parameter) -> list[object]:
    """Return the values of the controlling parameter for which a case applies."""
    (values,) = case.when[0].values.values()
    return values if isinstance(values, list) else [values]


def _form_problems(name: str, table: Mapping[str, Any]) -> list[Problem]:
    forms = [form for form in ("value", "options") if form in table]
    forms += ["a range"] if any(field in table for field in RANGE_FIELDS) else []
    problems = []
    if not forms:
        problems.append(Problem(name, "has no value (allowed: one of value, options, or low and high)"))
    if len(forms) > 1:
        problems.append(Problem(name, f"is given as {' and '.join(forms)}; choose one"))
    if forms == ["a range"]:
        missing = [field for field in ("low", "high") if field not in table]
        problems += [Problem(f"{name}.{field}", "missing; a range has low and high") for field in missing]
    options = table.get("options", [None])
    if not isinstance(options, list):
        problems.append(Problem(f"{name}.options", f"{shown(options)} is not a list"))
    elif not options:
        problems.append(Problem(name, "has no options; give at least one, or remove it"))
    return problems


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
