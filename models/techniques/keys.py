"""One key of a study file: its type, bounds, default and condition."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from nightune.models.user_code import is_reference
from nightune.vocabulary import CHANGEABLE, DROPOUT, KeyKind, flat_table, listing, name_given_twice, suggestion

NO_NAMES = "none"  # of a key whose values are names
NO_VALUE = "none"  # in a study, whose format has no None, of a parameter that may be None
NoValue = Literal["text", "None", "unclear"]


@dataclass(frozen=True, slots=True)
class Key:
    """The values that a dotted name can have, and when it is active.

    `low` and `high` are closed bounds unless `is_open_low` / `is_open_high`. `when` maps a controlling key to the
    values for which this key is active; an inactive key is absent from a trial's params. `default_by` contains defaults
    that replace `default` for certain values of another key.
    """

    kind: KeyKind
    default: object = None
    low: float | None = None
    high: float | None = None
    is_open_low: bool = False
    is_open_high: bool = False
    options: tuple[object, ...] = ()
    is_by_head: bool = False  # of several heads a table may give each a value: { NAME = value }
    is_open: bool = False  # an option may also be a user's own path/to/file.py:function
    is_silent: bool = False  # a trial's params contain it only where it differs from its default
    no_value: NoValue = "text"  # what "none" is: that text, Python's None, or either of them
    is_kept_if_given: bool = False  # of a silent key: or where a study gives it
    when: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    default_by: Mapping[str, Mapping[object, object]] = field(default_factory=dict)
    meaning: str = ""

    def problem(self, value: object) -> str | None:
        """Return the problem of a value, or None. The caller suggests the nearest of the `options`."""
        if self.is_by_head and isinstance(value, Mapping):
            return self._table_problem(value)
        if self.no_value != "text" and value == NO_VALUE:
            return None if self.no_value == "None" else f"{value!r} may be that text or Python's None"
        if self.kind == "option":
            is_own = self.is_open and isinstance(value, str) and is_reference(value)
            return None if is_own or value in self.options else f"unknown {value!r}"
        if self.kind == "boolean":
            return None if isinstance(value, bool) else f"{value!r} is not true or false"
        if self.kind == "any":
            return None
        checks = {
            "numbers": self._list_problem,
            "names": _names_problem,
            "class_weight": self._class_weight_problem,
            "head_weights": self._head_weights_problem,
            "changes": self._changes_problem,
        }
        return checks.get(self.kind, self._number_problem)(value)

    def default_for(self, params: Mapping[str, object]) -> object:
        """Return the default for these other params."""
        for controller, defaults in self.default_by.items():
            if params.get(controller) in defaults:
                return defaults[params[controller]]
        return self.default

    @property
    def allowed(self) -> str:
        """The allowed values in words, for an error message."""
        if self.no_value == "unclear":
            return 'allowed: any value; for None, annotate it as Literal["a", "b"] | None, and for the text as str'
        none = {"None": f', or "{NO_VALUE}" for None'}.get(self.no_value, "")
        return f"{self._allowed}{none}"

    @property
    def _allowed(self) -> str:
        if self.kind == "option":
            own = ["or path/to/file.py:function"] if self.is_open else []
            return "known: " + ", ".join([*map(str, self.options), *own]) + self._by_head
        if self.kind == "class_weight":
            options = ", ".join(map(str, self.options))
            table = "or a table of classes and numbers from 0, such as { no = 1, yes = 5 }"
            return f"known: {options}, {table}; of several heads a table of these, {{ NAME = value }}"
        if self.kind in _ALLOWED:
            return f"allowed: {_ALLOWED[self.kind]}"
        words = {"integer": "a whole number", "numbers": "a list of ascending numbers"}.get(self.kind, "a number")
        if self.low is not None:
            words += f" {'above' if self.is_open_low else 'from'} {self.low:g}"
        if self.high is not None:
            words += f" {'below' if self.is_open_high else 'up to'} {self.high:g}"
        return f"allowed: {words}{self._by_head}"

    @property
    def _by_head(self) -> str:
        return "; of several heads also a table, { NAME = value }" if self.is_by_head else ""

    def _table_problem(self, table: Mapping[object, object]) -> str | None:
        if not table:
            return "the table is empty"
        one = replace(self, is_by_head=False)
        for name, value in table.items():
            problem = one.problem(value) if isinstance(name, str) else "the name is no text"
            if problem:
                return f"head {name!r}: {problem}"
        return None

    def _head_weights_problem(self, value: object) -> str | None:
        if not isinstance(value, Mapping) or not value:
            return None if value in self.options else f"{value!r} is not a table of heads and numbers"
        for name, weight in value.items():
            if not isinstance(name, str) or self._number_problem(weight):
                return f"head {name!r}: {self._number_problem(weight) or 'the name is no text'}"
        return None  # heads that the table does not name have the weight 1

    def _changes_problem(self, value: object) -> str | None:
        """Name all wrong epochs, names and numbers. The bounds of a number are those of its own key in the recipe."""
        if not isinstance(value, Mapping) or not value:
            return None if value in self.options else f"{value!r} is not a table of epochs and values"
        found = (f"{epoch}: {problem}" for epoch, table in value.items() if (problem := _change_problem(epoch, table)))
        return "; ".join(found) or None

    def _list_problem(self, value: object) -> str | None:
        if not isinstance(value, list | tuple) or not value:
            return f"{value!r} is not a list of numbers"
        problem = next((found for found in map(self._number_problem, value) if found), None)
        is_ascending = problem or all(one < other for one, other in itertools.pairwise(value))
        return problem if is_ascending else f"{value!r} is not in ascending order"

    def _class_weight_problem(self, value: object) -> str | None:
        if not isinstance(value, Mapping):
            return None if value in self.options else f"unknown {value!r}"
        if is_by_head(value):
            return self._heads_problem(value)
        for label, weight in value.items():
            if not isinstance(label, str) or self._number_problem(weight):
                return f"class {label!r}: {self._number_problem(weight) or 'the class is no text'}"
        return None if value else "the table is empty: it names no class"

    def _heads_problem(self, table: Mapping[object, object]) -> str | None:
        for name, value in table.items():
            is_nested = isinstance(value, Mapping) and is_by_head(value)
            problem = "a table in its table" if is_nested else self._class_weight_problem(value)
            if problem or not isinstance(name, str):
                return f"head {name!r}: {problem or 'the name is no text'}"
        return None

    def _number_problem(self, value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{value!r} is not a number"
        if self.kind == "integer" and not float(value).is_integer():
            return f"{value!r} is not a whole number"
        is_low = self.low is not None and (value <= self.low if self.is_open_low else value < self.low)
        is_high = self.high is not None and (value >= self.high if self.is_open_high else value > self.high)
        if not math.isfinite(value):
            return f"{value!r} is not finite"
        if is_low or is_high:
            return f"{value!r} is out of range"
        return None


DROPOUT_RATE = Key("float", low=0.0, high=1.0, is_open_high=True)  # also of functions of users

# By kind of key.
_ALLOWED = {
    "any": "any value",
    "boolean": "true, false",
    "head_weights": "a table of heads and numbers from 0, such as { digit = 1, ink = 0.3 }",
    "changes": "a table of epochs from 2 and their values, such as { 5 = { learning_rate.peak = 0.001 } }",
    "names": 'a name or a pattern, such as "block*", or a list of them',
}


def is_by_head(class_weight: object) -> bool:
    """True for weights of classes of several heads by name: each is a word or a table, and no number."""
    return isinstance(class_weight, Mapping) and any(isinstance(each, str | Mapping) for each in class_weight.values())


def _change_problem(epoch: object, table: object) -> str | None:
    if not isinstance(epoch, str) or not epoch.isascii() or not epoch.isdecimal() or not 2 <= int(epoch) <= 10**6:
        return "not an epoch (a whole number from 2: the first epoch has the values outside this table)"
    if epoch != str(int(epoch)):
        return f"write {int(epoch)}"
    if not isinstance(table, Mapping) or not table:
        return f"{table!r} is not a table of values"
    if twice := name_given_twice(table):
        return f"{twice} is given twice; keep one"
    problems = (_changed_value_problem(name, value) for name, value in flat_table(table).items())
    return "; ".join(filter(None, problems)) or None


def _changed_value_problem(name: str, value: object) -> str | None:
    if value == {}:
        return f"{name}: an empty table changes nothing; remove it"
    if name not in CHANGEABLE:
        return f"{name!r} cannot change within a training{suggestion(name, CHANGEABLE)} ({listing(CHANGEABLE)})"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return f"{name}: {value!r} is not a number"
    out_of_range = DROPOUT_RATE.problem(value) if name == DROPOUT else None
    return out_of_range and f"{name}: {out_of_range} ({DROPOUT_RATE.allowed})"


def _names_problem(value: object) -> str | None:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) and name for name in names):
        return f"{value!r} is neither a name nor a list of names"
    if isinstance(value, list | tuple) and NO_NAMES in value:
        return f'{value!r} holds "{NO_NAMES}", which stands alone: [["a"], "{NO_NAMES}"] are two options'
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    return None if twice is None else f"{twice!r} is given twice"
