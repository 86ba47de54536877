"""Build the models that a study can have, before the first trial: what fails there fails in every trial."""

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.models.data.dataset import Dataset
from nightune.models.errors import InputError
from nightune.models.networks.architectures import architecture_keys
from nightune.models.recipe.params import read_recipe, resolve
from nightune.models.serving.input_trees import plain_shape
from nightune.models.techniques.keys import Key
from nightune.models.techniques.losses import TrainingSettings
from nightune.models.user_code import is_reference
from nightune.tasks.changed_models import changed_model_problems
from nightune.tasks.measured_heads import refuse_measures
from nightune.tasks.prepare_data import weighted_options
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.prove_reopening import prove_reopening, searched_options
from nightune.tasks.prove_training import prove_training
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.trial.crash_log import is_supervised, open_crash_log
from nightune.tasks.trial.limits import watched
from nightune.tuning.analysis.failures import failure_signature
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.search.domains import is_same
from nightune.tuning.search.midpoint import highest_point, lowest_point, middle_point
from nightune.tuning.search.search_space import Dimension
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Params, Value
from nightune.vocabulary import (
    ARCHITECTURE,
    CHANGES,
    DEFAULT_ARCHITECTURE,
    MODEL_PREFIX,
    shown,
)

if TYPE_CHECKING:
    from nightune.models.networks.heads import Head
    from nightune.models.networks.training_rows import TrainingRows
    from nightune.models.networks.trial_build import TrialBuild

logger = logging.getLogger("nightune")

PLACES = (middle_point, lowest_point, highest_point)
READ = (MODEL_PREFIX, "training.")  # prefixes of the params that decide on a model and its loss
LIMIT_OPTIONS = 10  # of all parameters of one architecture that are built one by one


@dataclass(frozen=True)
class Builds:
    """How many different models were built, and which of them could not be, although others could.

    `heads` has for each architecture what its outputs are, and the loss for them; `sizes` its shapes and parameters.
    """

    count: int
    findings: tuple[str, ...]
    heads: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, str] = field(default_factory=dict)


def build_before_training(store: Store, study: Study, data: PreparedData) -> tuple[str, ...]:
    """Refuse a study whose models cannot be built or do not open again, and return findings on models.

    StudyError as in `build_models` and `prove_reopening`.

    After a build or an engine's choice that took the process down nothing is built here: the trials report it.
    """
    from nightune.models.backend import load_keras  # noqa: PLC0415 - Keras takes seconds
    from nightune.models.data.storage import open_dataset  # noqa: PLC0415 - imports pandas for tables

    crash_log = open_crash_log(store.root, study.name)
    if crash_log.engine_crashes():
        return ()
    load_keras(store.compiled)
    logger.info("building the study's models …")
    with crash_log.choosing_engine(), watched(study.limits, crash_log.record_limit if is_supervised() else None):
        dataset = open_dataset(data.folder)
        builds = build_models(study, dataset, store.compiled)
        prove_training(study, dataset, architectures(study))
        prove_reopening(study, dataset, architectures(study))
    for finding in builds.findings:
        logger.warning("%s", finding)
    settled = [f"{architecture}: {said}" for architecture, said in builds.heads.items() if is_reference(architecture)]
    for line in settled:
        logger.info("%s", line)
    return (*builds.findings, *settled)


def build_models(study: Study, dataset: Dataset, compiled: Path | None = None) -> Builds:
    """Build each architecture with the middle and both ends of its parameters, and once with each of their options.

    StudyError if no model of an architecture can be built or has a head that fits the data: each of its trials would
    fail. What fails only in some places, or with one of the options, is a finding: its trials fail, others succeed.
    Imports Keras.
    """
    from nightune.models.backend import load_keras  # noqa: PLC0415 - Keras takes seconds

    load_keras(compiled)
    from nightune.models.networks.training_rows import TrainingRows  # noqa: PLC0415 - Keras

    rows = TrainingRows.of(dataset)
    builder = _Builder(study, replace(rows, are_weighted=rows.are_weighted or bool(weighted_options(study))))
    problems: list[Problem] = []
    findings: list[str] = []
    for architecture in architectures(study):
        found = list(_corner_problems(builder, architecture))
        said = [] if found else _option_findings(builder, architecture)
        found = found or list(_repetition_problems(builder, architecture))
        found = found or _dropout_problems(builder, architecture)
        problems += found
        findings += [] if found else said
    if problems:
        raise StudyError(str(study.path), list(dict.fromkeys(problems)))
    heads = [(builder.architectures[key], build.head) for key, build in builder.built.items() if build.head is not None]
    refuse_measures(study, dataset, heads)
    return Builds(len(builder.built), tuple(dict.fromkeys([*findings, *builder.remarks])), builder.heads, builder.sizes)


@dataclass
class _Builder:
    """Builds each model once."""

    study: Study
    rows: "TrainingRows"
    built: dict[str, "TrialBuild"] = field(default_factory=dict)
    architectures: dict[str, str] = field(default_factory=dict)  # by the same key
    given: dict[str, tuple[dict[str, Any], TrainingSettings]] = field(default_factory=dict)  # parameters and loss
    unnamed: dict[str, list[str]] = field(default_factory=dict)  # what was read beside the files that count

    def problem(self, architecture: str, point: Params) -> InputError | None:
        """Return why the model of a point cannot be built. Of a point with contradictions the trial reports why."""
        from nightune.models.networks.trial_build import try_build  # noqa: PLC0415 - Keras
        from nightune.models.training.unnamed_reads import unnamed_reads  # noqa: PLC0415 - h5py

        folder = self.study.path.parent
        given = {name: value for name, value in point.items() if name.startswith(READ) and name != CHANGES}
        try:
            known = architecture_keys(architecture, folder)
            complete = resolve(given, known)
            training = read_recipe(complete).training.of_build
        except ValueError:
            return None
        parameters = {
            name.removeprefix(MODEL_PREFIX): value
            for name, value in complete.items()
            if name.startswith(MODEL_PREFIX) and name != ARCHITECTURE
        }
        key = json.dumps([architecture, parameters, asdict(training)], sort_keys=True)
        if key not in self.built:
            with unnamed_reads(architecture, folder) as self.unnamed[key]:
                self.built[key] = try_build(architecture, parameters, training, self.rows, folder)
            self.architectures[key], self.given[key] = architecture, (parameters, training)
        build = self.built[key]
        return build.problem if build.head is None else _contradiction(point, known, build.head)

    @property
    def heads(self) -> dict[str, str]:
        """For each architecture, what was settled of the heads of its models."""
        said: dict[str, dict[str, str]] = {}
        for key, build in self.built.items():
            if build.head is not None:
                plain = re.sub(r"_\d+'", "'", build.head.said)  # numbers that Keras gives to layers without a name
                said.setdefault(self.architectures[key], {}).setdefault(plain, build.head.said)
        return {architecture: "; or ".join(lines.values()) for architecture, lines in said.items()}

    @property
    def sizes(self) -> dict[str, str]:
        """For each architecture, the shapes and the number of parameters of its models."""
        built: dict[str, list[TrialBuild]] = {}
        for key, build in self.built.items():
            if build.head is not None:
                built.setdefault(self.architectures[key], []).append(build)
        return {architecture: _size(builds) for architecture, builds in built.items()}

    @property
    def remarks(self) -> list[str]:
        """What of compilations is not used, by architecture."""
        heads = [(self.architectures[key], build.head) for key, build in self.built.items()]
        read = [f"{self.architectures[key]} {said}" for key, remarks in self.unnamed.items() for said in remarks]
        return [*read, *(f"{name}: {remark}" for name, head in heads if head is not None for remark in head.remarks)]


def _size(builds: Sequence["TrialBuild"]) -> str:
    counts = [build.parameters for build in builds]
    named = ((plain_shape(build.shapes[0]), plain_shape(build.shapes[1])) for build in builds)
    shapes = dict.fromkeys(f"inputs {inputs}, outputs {outputs}" for inputs, outputs in named)
    most = f" to {max(counts):,}" if max(counts) > min(counts) else ""
    frozen = dict.fromkeys(f"{build.frozen:,}" for build in builds if build.frozen)
    said = f", {' or '.join(frozen)} of them frozen at first" if frozen else ""
    return f"{'; '.join(shapes)} · {min(counts):,}{most} parameters{said}"


def _contradiction(point: Params, known: Mapping[str, Key], head: "Head") -> InputError | None:
    """Return why the techniques of a point do not suit its loss. Of other contradictions the trial reports why."""
    from nightune.models.training.settled_heads import contradiction  # noqa: PLC0415 - Keras

    try:
        return contradiction(read_recipe(resolve(point, known)), head)
    except ValueError:
        return None


def architectures(study: Study) -> list[str]:
    """Return the architectures that the study's trials can have."""
    return [str(value) for value in study.space.options(ARCHITECTURE)] or [DEFAULT_ARCHITECTURE]


def _corner_problems(builder: _Builder, architecture: str) -> Iterator[Problem]:
    """Yield the errors of an architecture of which no model can be built, once for those that are alike."""
    errors = [error for _, error in _corners(builder, architecture, {})]
    if errors and all(errors):
        alike = {failure_signature(error.message): error for error in reversed(errors) if error is not None}
        yield from (Problem(error.key, error.message) for error in reversed(alike.values()))


def _repetition_problems(builder: _Builder, architecture: str) -> Iterator[Problem]:
    """Yield why a user's function cannot be called for each trial: the first problem of all its models."""
    from nightune.models.networks.trial_build import repetition_problem  # noqa: PLC0415 - Keras

    heads = {key: each.head for key, each in builder.built.items() if builder.architectures[key] == architecture}
    built = [key for key, head in heads.items() if head is not None] if is_reference(architecture) else []
    tried: list[tuple[Mapping[str, Any], tuple[str, ...], int]] = []
    for key in built:
        (parameters, training), first = builder.given[key], builder.built[key].build
        kind = parameters, training.frozen, training.second_phase
        if first is None or kind in tried:  # the same with another loss
            continue
        tried.append(kind)
        folder = builder.study.path.parent
        problem = repetition_problem(architecture, parameters, training, builder.rows, folder, first)
        if problem is not None:
            apart = [f"{name} = {shown(value)}" for name, value in parameters.items() if tried[0][0].get(name) != value]
            yield Problem(problem.key, f"with {', '.join(apart)}: {problem.message}" if apart else problem.message)
            return


def _dropout_problems(builder: _Builder, architecture: str) -> list[Problem]:
    keys = [key for key, name in builder.architectures.items() if name == architecture]
    built = [(*builder.given[key], builder.built[key].build) for key in keys]
    return changed_model_problems(builder.study, architecture, builder.rows, built)


def _option_findings(builder: _Builder, architecture: str) -> list[str]:
    """Return what cannot be built of an architecture: at the ends of its parameters, or with one of their options."""
    findings = [_finding(params, error) for params, error in _corners(builder, architecture, {}) if error is not None]
    space = builder.study.space.by_name
    for name, option in searched_options(builder.study)[:LIMIT_OPTIONS]:
        corners = _corners(builder, architecture, {name: option}, first_success=True)
        tried = [(params, error) for params, error in corners if _has(space[name], params, option)]
        failed = [(params, error) for params, error in tried if error is not None]
        if failed and len(failed) == len(tried):
            findings.insert(0, f"no model with {name} = {shown(option)} can be built: {failed[0][1]}")
        else:
            findings += [_finding(params, error) for params, error in failed]
    return findings


def _has(dimension: Dimension, params: Params, option: Value) -> bool:
    """True if the params have the option and their other values allow it."""
    value = params.get(dimension.name)
    return dimension.name in params and is_same(value, option) and dimension.domain.under(params).contains(option)


def _corners(
    builder: _Builder, architecture: str, fixed: Mapping[str, Value], first_success: bool = False
) -> Iterator[tuple[Params, InputError | None]]:
    """Build the middle and the ends of an architecture's parameters; `first_success` stops after a model is built."""
    space, chosen = builder.study.space, dict(fixed)
    if ARCHITECTURE in space.by_name:
        chosen[ARCHITECTURE] = architecture
    places: tuple[Callable[..., dict[str, Value]], ...] = PLACES
    for place in places:
        point = place(space, chosen)
        if point.get(ARCHITECTURE, architecture) != architecture:
            continue
        error = builder.problem(architecture, point)
        yield point, error
        if first_success and error is None:
            return


def _finding(point: Params, error: InputError) -> str:
    values = [f"{name} = {shown(value)}" for name, value in point.items() if name.startswith(MODEL_PREFIX)]
    return f"the model with {', '.join(values)} cannot be built: {error}"
