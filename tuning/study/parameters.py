"""Parameters as a study file writes them: a value, a list of options or a range, with or without conditions."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nightune.tuning.errors import Problem
from nightune.tuning.study.table_values import CHANGES_KIND
from nightune.tuning.study.vocabulary import KeySpec
from nightune.vocabulary import flat_table, listing, name_given_twice, shown, suggestion

RANGE_FIELDS = ("low", "high", "scale", "integer", "steps")
TABLES = ("class_weight", "head_weights", CHANGES_KIND)  # kinds of keys whose values are tables
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


def _read_condition(key: str, written: object) -> WrittenCondition | Problem:
    if not isinstance(written, dict) or not written:
        return Problem(key, f'{shown(written)} is not a condition (write {{ NAME = ["one value", "another"] }})')
    if twice := name_given_twice(written):
        return Problem(key, f"{twice} is given twice; keep one")
    return WrittenCondition(key, flat_table(written))


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
