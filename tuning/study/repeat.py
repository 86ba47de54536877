"""Write the study that trains the params of one trial again: all of them fixed, with new seeds."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nightune.tuning.study.edit import inline, with_value
from nightune.tuning.study.space_sections import SECTIONS
from nightune.tuning.trial import Params, Value
from nightune.vocabulary import CHANGES

TRIALS = 3  # with a seed each
SPLIT = ("data", "split")
REPLACED = ("name", "search", *SECTIONS)  # keys and sections of the study


@dataclass(frozen=True)
class Seeds:
    """The seed of a study, on which its trials depend, and that of its split, if the study's text gives it none."""

    of_trials: int
    of_split: int


def repeating_study(text: str, question: str, seeds: Seeds, epochs: int, params: Params) -> str | None:
    """Return the text of a study with another question and other seeds, whose only point are these complete params.

    A param that is None is the default of a model's parameter, and left out.
    Data, their split, objective and what follows the search stay as in `text`; the name is left to the file. None if
    that cannot be written into the text.
    """
    edited: str | None = text
    params = {name: value for name, value in params.items() if value is not None}
    written: list[tuple[tuple[str, ...], Any]] = [(("question",), question), (("seed",), seeds.of_trials)]
    if "seed" not in tomllib.loads(text).get("data", {}).get("split", {}):
        written.append(((*SPLIT, "seed"), seeds.of_split))
    for path, value in [*written, *(((name,), None) for name in REPLACED)]:
        is_there = edited is not None and path[0] in tomllib.loads(edited)
        if edited is not None and (value is not None or is_there):
            edited = with_value(edited, path, value)
    if edited is None:
        return None
    whole = "\n".join([edited.rstrip(), *_sections(epochs, params)]) + "\n"
    return whole if _has_all(whole, params) else None


def _sections(epochs: int, params: Params) -> Iterator[str]:
    prefixes = {prefix: section for section, prefix in SECTIONS.items() if prefix}
    held: dict[str, dict[str, Value]] = {section: {} for section in SECTIONS}
    for name, value in params.items():
        prefix = next((each for each in prefixes if name.startswith(each)), "")
        held[prefixes.get(prefix, "space")][name.removeprefix(prefix)] = value
    changes = held["training"].pop(CHANGES.removeprefix("training."), None)
    for section, values in held.items():
        if values:
            yield from ("", f"[{section}]", *(f"{name} = {_fixed(value)}" for name, value in values.items()))
    yield from ("", "[search]", 'method = "random"', f"trials = {TRIALS}", f"epochs = {epochs}")
    if isinstance(changes, Mapping):
        yield from ("", f"[{CHANGES}]", *(_change(epoch, changes[epoch]) for epoch in sorted(changes, key=int)))


def _fixed(value: Value) -> str:
    """Return a value as the only option of a parameter: a list would be its options."""
    return inline([value] if isinstance(value, list) else value)


def _change(epoch: str, values: Any) -> str:
    return f"{epoch} = {{ {', '.join(f'{name} = {inline(value)}' for name, value in values.items())} }}"


def _has_all(text: str, params: Params) -> bool:
    """True if the text is TOML with a value for each of the params."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return all(_is_given(tables, name) for name in params)


def _is_given(tables: Mapping[str, Any], name: str) -> bool:
    section = next((each for each, prefix in SECTIONS.items() if prefix and name.startswith(prefix)), "space")
    held: Any = tables.get(section)
    for part in name.removeprefix(SECTIONS[section]).split("."):
        held = held.get(part) if isinstance(held, Mapping) else None
    return held is not None
