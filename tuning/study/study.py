"""A study: a question, the data, the search space and the budget, read from one TOML file."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, GetPydanticSchema
from pydantic_core import core_schema

from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.search.distinct import point_count
from nightune.tuning.search.grid import GRID_LIMIT, grid_size
from nightune.tuning.search.guidance import NO_GUIDANCE, Guidance
from nightune.tuning.search.methods import EARLIER_DEFAULT
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.portfolio import is_shipped
from nightune.tuning.search.samplers import Sampler
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.study.budgets import FIRST_ROUND, brackets, trial_count, without_repeats
from nightune.tuning.study.data_section import SHARES, DataSection, Split, is_file_of_table
from nightune.tuning.study.ends import total_epochs_problem
from nightune.tuning.study.full_trainings import rung_problems, why_in_full, with_possible_rungs
from nightune.tuning.study.generations import population_problems
from nightune.tuning.study.objective import Objective
from nightune.tuning.study.population import POPULATION
from nightune.tuning.study.rounds import bracket_points, drawn_points, draws, is_proposed
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.study.section import Section, read_section
from nightune.tuning.study.section_content import data_content, dimension_content, objective_content, search_content
from nightune.tuning.study.sections import ConfirmationSection, Heading, Limits, PromotionSection
from nightune.tuning.study.space_sections import SECTIONS, read_space
from nightune.tuning.study.toml_text import read_tables
from nightune.tuning.study.vocabulary import KeySpec, Vocabulary
from nightune.tuning.trial import Bracket, Params, Value, trial_key
from nightune.vocabulary import COLUMN_SPLIT_KINDS, listing, nearest_name, suggestion

__all__ = [
    "DataSection",
    "KeySpec",
    "Limits",
    "Objective",
    "Problem",
    "SearchSection",
    "Split",
    "Study",
    "StudyError",
    "Vocabulary",
    "load_study",
    "training_seed",
]

HEADING = tuple(Heading.model_fields)
KNOWN = (*HEADING, "data", *SECTIONS, "search", "objective", "limits", "confirmation", "promotion")

# The space checks itself at construction; pydantic has no schema for its recursive values.
CheckedSpace = Annotated[SearchSpace, GetPydanticSchema(lambda *_: core_schema.is_instance_schema(SearchSpace))]


class Study(BaseModel):
    """One checked study. `path` is its file; paths in it are relative to the file's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    question: str
    seed: int
    data: DataSection
    space: CheckedSpace
    search: SearchSection
    objective: Objective
    limits: Limits = Limits()
    path: Path
    confirmation: ConfirmationSection | None = None  # None: the file has no such section
    promotion: PromotionSection = PromotionSection()
    repeats_points: bool = False  # draws points anew, as sweeps of earlier versions did in spaces of few points
    first_round: int = FIRST_ROUND  # trials, where the first round has a size of its own; sweeps keep theirs
    earlier_lengths: tuple[int, ...] = ()  # of the sweep that is extended: numbers of trials

    @property
    def content(self) -> dict[str, Any]:
        """All settings that affect the results of trials, as plain values in canonical form."""
        return {
            "seed": self.seed,
            "data": data_content(self.data),
            "space": {name: dimension_content(dimension) for name, dimension in self.space.by_name.items()},
            "search": search_content(self.search),
            "objective": objective_content(self.objective),
            **({"limits": self.limits.of_model} if self.limits.of_model else {}),
        }

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that identify the content, independent of the layout of the file."""
        return trial_key(self.content)

    @property
    def brackets(self) -> tuple[Bracket, ...]:
        """The budget as data."""
        search = self.search if self.repeats_points else without_repeats(self.search, self.space)
        return brackets(search, self.space, self.first_round, self.earlier_lengths)

    def with_trials(self, trials: int) -> "Study":
        """Return the study with this number of trials."""
        return self.model_copy(update={"search": self.search.model_copy(update={"trials": trials})})

    @property
    def as_earlier(self) -> "Study":
        """The study as earlier versions read it, which had another default method."""
        earlier = {"method": EARLIER_DEFAULT, "smallest_epochs": None} if self.search.is_default else {}
        return self.model_copy(update={"search": self.search.model_copy(update=earlier)})

    @property
    def why_in_full(self) -> str:
        """Why an automatic search trains all trials in full; empty if it has rungs, and for other methods."""
        return why_in_full(self.search, self.objective, self.space)

    @property
    def trial_count(self) -> int:
        """The number of trials of a sweep."""
        return trial_count(self.brackets)

    @property
    def point_count(self) -> int | None:
        """The number of points of the space, at least as many as trials if there are more; None: any number.

        None also for a grid, and for a population: its members have further values, and may begin alike.
        """
        is_any = self.search.method in ("grid", POPULATION)
        return None if is_any else point_count(self.space, self._asked_trials)

    @property
    def repeats(self) -> str:
        """What to know if the study asks for more trials than its space has points; empty otherwise."""
        points = self.point_count
        if points is None or points >= self._asked_trials:
            return ""
        if points == 1:
            return f"the space has one point: its {self._asked_trials} trials differ only in their seeds"
        asked = f"search.trials: {self._asked_trials}, but the space has {points} points"
        if self.search.method == "hyperband" or self.repeats_points:
            return f"{asked}: some are trained several times"
        return f"{asked}: each is tried once (for more trials, widen a range or add a parameter)"

    @property
    def draw(self) -> Sampler:
        """The sampler of the study's method; it repeats no point of a space of few, unless `repeats_points` is set."""
        return draws(self.search, self.repeats_points)

    def points(
        self,
        bracket: Bracket,
        observations: Sequence[Observation],
        sweep: int,
        kept: Sequence[Params] = (),
        guidance: Guidance = NO_GUIDANCE,
    ) -> list[dict[str, Value]]:
        """Return the points of a bracket of a sweep, as `bracket_points` does."""
        seed = self.sweep_seed(sweep)
        if self.repeats_points and not is_proposed(self.search, bracket):
            return drawn_points(self.draw, self.space, bracket, seed, kept)
        return bracket_points(self.search, self.space, bracket, observations, seed, kept, guidance)

    @property
    def _asked_trials(self) -> int:
        return trial_count(brackets(self.search, self.space))

    def sweep_seed(self, sweep: int) -> tuple[int, int]:
        """Return the seed for drawing the sweep's trials."""
        return (self.seed, sweep)


def load_study(
    path: Path,
    vocabulary: Vocabulary,
    *,
    seed: int | None = None,
    **search_keys: Any,
) -> Study:
    """Read and check a study file; StudyError lists all problems.

    Arguments override the file: the seed, and keys of `[search]`; None overrides nothing.
    """
    tables = _with_overrides(read_tables(path), seed, search_keys)
    heading, problems = _read_heading(tables, path)
    problems += [
        Problem(name, f"unknown section or key{suggestion(name, KNOWN)} ({listing(KNOWN)})")
        for name in tables
        if name not in KNOWN
    ]
    data, found = _read_data(tables.get("data", {}))
    problems += found
    search_table = tables.get("search", {})
    method = search_table.get("method") if isinstance(search_table, dict) else None
    space, found = read_space(tables, vocabulary, method)
    problems += found
    search, found = read_section(SearchSection, search_table, "search")
    problems += found
    objective, found = read_section(Objective, tables.get("objective", {}), "objective")
    problems += found
    limits, found = read_section(Limits, tables.get("limits", {}), "limits")
    problems += found
    after, found = _read_after_search(tables)
    problems += found
    if not problems and method == "grid":
        problems += _grid_problems(space)
    problems += _start_problems(search)
    if search is not None:
        search = with_possible_rungs(search, objective, space)
        problems += rung_problems(search, objective, space)
    if search is not None and not problems:
        problems += population_problems(search, space)
    if search is not None:
        problems += _end_problems(search, after.get("confirmation"))
    problems = _without_consequences(problems, tables)
    if problems or heading is None or data is None or search is None or objective is None or limits is None:
        raise StudyError(str(path), problems)
    whole = {"data": data, "space": space, "search": search, "objective": objective, "limits": limits, **after}
    return Study(**dict(heading), path=path, **whole)


def _without_consequences(problems: list[Problem], tables: Mapping[str, Any]) -> list[Problem]:
    """Return the problems but those of sections that are there under a misspelled name."""
    meant = {nearest_name(name, KNOWN) for name in tables if name not in KNOWN} - tables.keys()
    return [each for each in problems if each.key.partition(".")[0] not in meant]


def training_seed(study: Study, sweep: int, number: int, params: Params) -> int:
    """Return the seed of a trial's training, 31 bits, from another stream than the draws of its params.

    If the study reuses results, the seed depends on the params instead of sweep and number: same point, same seed.
    """
    words = [study.seed, sweep, number]
    if study.search.reuse:
        text = json.dumps(params, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        digest = hashlib.sha256(text.encode()).digest()
        words = [study.seed, *np.frombuffer(digest, dtype="<u4").tolist()]
    (stream,) = np.random.SeedSequence(words).spawn(1)
    return int(stream.generate_state(1, np.uint32)[0]) >> 1


def _with_overrides(tables: dict[str, Any], seed: int | None, search_keys: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in search_keys.items() if value is not None}
    search = tables.get("search", {})
    if given and isinstance(search, dict):
        tables = {**tables, "search": {**search, **given}}
    return tables if seed is None else {**tables, "seed": seed}


def _read_heading(tables: Mapping[str, Any], path: Path) -> tuple[Heading | None, list[Problem]]:
    given = {name: tables[name] for name in HEADING if name in tables}
    heading, problems = read_section(Heading, {"name": path.stem, **given}, "")
    if "name" in given:
        return heading, problems
    remedy = '; the name is that of the file: rename the file, or set name = "…"'
    return heading, [Problem(each.key, f"{each.message}{remedy}") if each.key == "name" else each for each in problems]


def _read_data(table: Any) -> tuple[DataSection | None, list[Problem]]:
    """Read the split separately, so that its problems are listed with those of the rest."""
    split: Split | None = None
    problems: list[Problem] = []
    missing = list(_missing_column(table))
    if isinstance(table, dict) and "split" in table:
        split, problems = read_section(Split, table["split"], "data.split")
        table = {name: value for name, value in table.items() if name != "split"}
    data, found = read_section(DataSection, table, "data")
    if data is not None and split is not None:
        data = data.model_copy(update={"split": split})
    return data, [*found, *problems, *missing]


def _missing_column(data: Any) -> Iterator[Problem]:
    """A split by a column of a table needs its name; arrays of a file or a function may hold it themselves."""
    source, split = (data.get("source"), data.get("split")) if isinstance(data, dict) else (None, None)
    is_table = not isinstance(source, str) or is_file_of_table(source)
    if not is_table or not isinstance(split, dict) or "column" in split:
        return
    kind, has_files = split.get("kind"), any(isinstance(split.get(name), str) for name in SHARES)
    if kind in COLUMN_SPLIT_KINDS and not (kind == "fixed" and has_files):
        files = ", or files as validation and test" if kind == "fixed" else ""
        message = f"missing; a {kind} split needs the name of its column{files}"
        yield Problem("data.split.column", message)


def _read_after_search(tables: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Read the sections for the steps after the search, if the file has them."""
    sections: dict[str, Any] = {}
    problems: list[Problem] = []
    kinds: dict[str, type[Section]] = {"confirmation": ConfirmationSection, "promotion": PromotionSection}
    for name, kind in kinds.items():
        if name in tables:
            sections[name], found = read_section(kind, tables[name], name)
            problems += found
    return sections, problems


def _end_problems(search: SearchSection, confirmation: ConfirmationSection | None) -> Iterator[Problem]:
    """The epochs in total include the confirmation: something has to be left for the search."""
    count = 0 if confirmation is None else confirmation.after(trials=1).trainings
    if count and (
        problem := total_epochs_problem(search.total_epochs, search.epochs, count, "the confirmation trains")
    ):
        yield Problem("search.total_epochs", problem)


def _start_problems(search: SearchSection | None) -> Iterator[Problem]:
    if search is not None and search.start == "portfolio" and not is_shipped():
        message = f"{search.start!r}, but no portfolio.json is installed; reinstall nightune, or remove the key"
        yield Problem("search.start", message)


def _grid_problems(space: SearchSpace) -> Iterator[Problem]:
    size = grid_size(space)
    if size > GRID_LIMIT:
        yield Problem("search.method", f"a grid of {size} points is too large (allowed: up to {GRID_LIMIT})")
