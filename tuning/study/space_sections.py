"""The sections of a study file with parameters: model, space and stopping form one search space."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from nightune.tuning.errors import Problem
from nightune.tuning.search.domains import Cases, Choice, Domain, Range
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace
from nightune.tuning.study.conditions import Written, make_dimensions, missing_parameters, natives, read_conditions
from nightune.tuning.study.parameter_values import read_domain
from nightune.tuning.study.parameters import Parameter, case_values, read_parameters
from nightune.tuning.study.presets import expand
from nightune.tuning.study.vocabulary import ArchitectureName, KeySpec, KnownKeys, Vocabulary
from nightune.vocabulary import ARCHITECTURE, MODEL_PREFIX, listing, shown, suggestion

SECTIONS = {
    "model": MODEL_PREFIX,
    "space": "",
    "stopping": "stopping.",
    "training": "training.",
}  # section → prefix of its names


def read_space(tables: Mapping[str, Any], vocabulary: Vocabulary, method: object) -> tuple[SearchSpace, list[Problem]]:
    """Return the search space of a study and its problems; with problems, the space is empty."""
    known, given = _known_keys(tables, vocabulary)
    tables, customary = expand(tables, given, vocabulary)
    parameters, problems = _read_parameters(tables, known)
    problems += [Problem(ARCHITECTURE, refusal) for refusal in known.refusals]
    domains: dict[str, Domain] = {}
    for parameter in parameters.values():
        for found in _read_domain(parameter, known, method):
            if isinstance(found, Problem):
                problems.append(found)
            else:
                domains[parameter.name] = found
    broken = {problem.key for problem in problems}
    sound = {name: domain for name, domain in domains.items() if name not in broken}
    written = Written(parameters, sound, known, optional=customary)
    own: dict[str, tuple[Condition, ...]] = {}
    for condition in read_conditions(written):
        if isinstance(condition, Problem):
            problems.append(condition)
        else:
            own[condition[0]] = condition[1]
    written = replace(written, own=own)
    problems += missing_parameters(written)
    made = list(make_dimensions(written))
    problems += [each for each in made if isinstance(each, Problem)]
    dimensions = [each for each in made if isinstance(each, Dimension)]
    return SearchSpace(() if problems else tuple(dimensions)), list(dict.fromkeys(problems))


def _known_keys(tables: Mapping[str, Any], vocabulary: Vocabulary) -> tuple[KnownKeys, set[str]]:
    """Find the architectures first, because they determine the keys of [model]; also return the given names."""
    architecture = ArchitectureName(vocabulary.default_architecture)
    first_pass = _all_parameters(tables, {**vocabulary.keys, ARCHITECTURE: architecture})
    written = {each.name: each for each in first_pass if isinstance(each, Parameter)}
    if ARCHITECTURE not in written:
        return vocabulary.with_architectures([vocabulary.default_architecture]), set(written)
    options = written[ARCHITECTURE].all_options
    names = [option for option in options if isinstance(option, str) and option]
    return vocabulary.with_architectures(dict.fromkeys(names)), set(written)


def _read_parameters(tables: Mapping[str, Any], known: KnownKeys) -> tuple[dict[str, Parameter], list[Problem]]:
    parameters: dict[str, Parameter] = {}
    problems = []
    for found in _all_parameters(tables, known.keys):
        if isinstance(found, Problem):
            problems.append(found)
        elif found.name in parameters:
            problems.append(Problem(found.name, f"given twice{_homes(found.name)}; keep one"))
        else:
            parameters[found.name] = found
    if ARCHITECTURE not in parameters:
        default = known.keys[ARCHITECTURE].default
        parameters[ARCHITECTURE] = Parameter(ARCHITECTURE, (default,), {})
    return parameters, problems


def _all_parameters(tables: Mapping[str, Any], keys: Mapping[str, KeySpec]) -> Iterator[Parameter | Problem]:
    for section, prefix in SECTIONS.items():
        table = tables.get(section, {})
        if isinstance(table, dict):
            yield from read_parameters(prefix, table, keys)
        else:
            yield Problem(section, f"{shown(table)} is not a table (write [{section}])")


def _read_domain(parameter: Parameter, known: KnownKeys, method: object) -> Iterator[Domain | Problem]:
    key = known.find(parameter.name)
    if key is None:
        yield _unknown(parameter.name, known)
    elif parameter.cases:
        yield from _read_cases(parameter, key, known, method)
    else:
        yield from _read_plain(parameter, key, method)


def _read_plain(parameter: Parameter, key: KeySpec, method: object) -> Iterator[Range | Choice | Problem]:
    for found in read_domain(parameter, key):
        yield found
        if isinstance(found, Range) and found.steps is None and method == "grid":
            yield Problem(parameter.name, "a range needs steps for a grid; add steps = 5, or give a list of options")


def _read_cases(parameter: Parameter, key: KeySpec, known: KnownKeys, method: object) -> Iterator[Domain | Problem]:
    """Yield the domain of all cases, or their problems; conditions are checked elsewhere."""
    (controller,) = parameter.when[-1].values
    found = [(case, list(_read_plain(case, key, method))) for case in parameter.cases]
    problems = [each for _, results in found for each in results if isinstance(each, Problem)]
    yield from problems
    domains = [(case, each) for case, results in found for each in results if not isinstance(each, Problem)]
    if not problems:
        yield Cases(
            controller, tuple((natives(controller, case_values(case), known), domain) for case, domain in domains)
        )


def _unknown(name: str, known: KnownKeys) -> Problem:
    """Suggest the nearest parameter, and list those of the same namespace, or all."""
    space, dot, last = name.rpartition(".")
    siblings = [each for each in known.keys if dot and each.startswith(f"{space}.")]
    near = suggestion(name, known.keys)
    if siblings:  # compared without the common prefix, which would make all of them similar
        tails = [each.removeprefix(f"{space}.") for each in siblings]
        near = suggestion(last, tails).replace("mean '", f"mean '{space}.")
    return Problem(name, f"unknown parameter{near} ({listing(siblings or known.keys)})")


def _homes(name: str) -> str:
    """Name the two possible sections, if the name has a section of its own."""
    home = next((section for section, prefix in SECTIONS.items() if prefix and name.startswith(prefix)), None)
    return f" (allowed: in [{home}] or in [space])" if home else ""
