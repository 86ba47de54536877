"""The vocabulary of a study: the models' keys, as far as a study file needs them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from nightune.vocabulary import ARCHITECTURE, DEFAULT_ARCHITECTURE, MODEL_PREFIX, KeyKind, shown

CONTROLLER = "optimizer"  # the key whose value may be the name of a level


class KeySpec(Protocol):
    """One key: its kind, default, options and condition.

    `default_by` contains defaults that replace `default` for certain values of other params.
    """

    @property
    def kind(self) -> KeyKind: ...
    @property
    def default(self) -> object: ...
    @property
    def options(self) -> tuple[object, ...]: ...
    @property
    def when(self) -> Mapping[str, tuple[object, ...]]: ...
    @property
    def default_by(self) -> Mapping[str, Mapping[object, object]]: ...
    @property
    def is_by_head(self) -> bool: ...
    @property
    def allowed(self) -> str: ...
    def problem(self, value: object) -> str | None: ...


@dataclass(frozen=True)
class Vocabulary:
    """All keys except `model.*`, and a function for the keys of an architecture, without the prefix.

    `architecture_keys` raises ValueError for an unknown architecture. `customary` contains, for each level that a study
    can name in place of optimizers, its optimizers and their ranges in the form of a study file.
    """

    keys: Mapping[str, KeySpec]
    architecture_keys: Callable[[str], Mapping[str, KeySpec]]
    default_architecture: str = DEFAULT_ARCHITECTURE
    customary: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    def with_architectures(self, names: Iterable[str]) -> "KnownKeys":
        """Add the keys of the used architectures; messages about unknown ones are collected."""
        specs: dict[str, dict[str, KeySpec]] = {}
        refusals: list[str] = []
        for architecture in names:
            try:
                own = self.architecture_keys(architecture)
            except ValueError as error:
                refusals.append(str(getattr(error, "message", error)))
                continue
            for name, spec in own.items():
                specs.setdefault(name, {})[architecture] = spec
        model = {f"{MODEL_PREFIX}{name}": ArchitectureKey(by_architecture) for name, by_architecture in specs.items()}
        keys = {**self.keys, ARCHITECTURE: ArchitectureName(self.default_architecture), **model}
        return KnownKeys(keys, tuple(refusals))


@dataclass(frozen=True)
class KnownKeys:
    """The full vocabulary of one study, under full names; `refusals` are messages about its architectures."""

    keys: Mapping[str, KeySpec]
    refusals: tuple[str, ...] = ()

    def find(self, name: str) -> KeySpec | None:
        """Return the key of a name; parameters of an unknown model are not checked."""
        if self.refusals and name.startswith(MODEL_PREFIX):
            return self.keys.get(name, _UNCHECKED)
        return self.keys.get(name)

    def default(self, name: str, params: Mapping[str, object]) -> object:
        """Return the default of a key, given these params and the defaults of all others."""
        key = self.keys[name]
        for controller, defaults in key.default_by.items():
            value = params.get(controller, self.keys[controller].default)
            if value in defaults:
                return defaults[value]
        return key.default


@dataclass(frozen=True)
class ArchitectureName:
    """The key `model.architecture`; the models know the names."""

    default: str
    kind: KeyKind = "text"
    options: tuple[object, ...] = ()
    when: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    default_by: Mapping[str, Mapping[object, object]] = field(default_factory=dict)
    is_by_head: bool = False
    allowed: str = "allowed: the name of an architecture, or path/to/file.py:function"

    def problem(self, value: object) -> str | None:
        """Return the problem of a value, or None."""
        return None if isinstance(value, str) and value else f"{shown(value)} is not a text"


@dataclass(frozen=True)
class ArchitectureKey:
    """A key of `model.*`: active for the architectures that have it, and valid for each of them.

    Kind and default are those of the first one.
    """

    by_architecture: Mapping[str, KeySpec]
    is_by_head: bool = False

    @property
    def kind(self) -> KeyKind:
        """The kind that values are converted to."""
        return self._first.kind if self._first else "any"

    @property
    def default(self) -> object:
        """The first architecture's default."""
        return self._first.default if self._first else None

    @property
    def options(self) -> tuple[object, ...]:
        """The options, if the key has any."""
        return self._first.options if self._first else ()

    @property
    def when(self) -> Mapping[str, tuple[object, ...]]:
        """The architectures, and the condition of the first one."""
        if self._first is None:
            return {}
        inner = {f"{MODEL_PREFIX}{name}": values for name, values in self._first.when.items()}
        return {ARCHITECTURE: tuple(self.by_architecture), **inner}

    @property
    def default_by(self) -> Mapping[str, Mapping[object, object]]:
        """The defaults of the first architecture."""
        return self._first.default_by if self._first else {}

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        return self._first.allowed if self._first else "allowed: any value"

    def problem(self, value: object) -> str | None:
        """Return the problem of a value for the first architecture that refuses it, or None."""
        problems = (spec.problem(value) for spec in self.by_architecture.values())
        return next((problem for problem in problems if problem), None)

    @property
    def _first(self) -> KeySpec | None:
        return next(iter(self.by_architecture.values()), None)


_UNCHECKED = ArchitectureKey({})
