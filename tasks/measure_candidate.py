"""Measure a confirmed winner and the champion on the sealed test rows; `opened_alone.py` reads the same ones."""

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.dataset import Purpose
from nightune.models.errors import InputError
from nightune.models.serving.columns import USUAL_FORMS
from nightune.models.serving.input_trees import ArrayTree, equal_arrays
from nightune.models.serving.predictor import MODEL, model_of
from nightune.tasks.gate_question import Question
from nightune.tasks.threshold_problems import threshold_notes
from nightune.tasks.tracking.registry.model_folder import folder_bytes, parts_of
from nightune.tasks.tracking.registry.registry import Version, fetch_version
from nightune.tasks.tracking.store.errors import StoreError, StoreLostError
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.trials.checkpoints import fetch_checkpoint, why_unopened
from nightune.tuning.analysis.metric_gain import Side, UndefinedMetricError, compare_sides
from nightune.tuning.analysis.metric_values import MetricValues
from nightune.tuning.analysis.paired_gain import Gain, Losses
from nightune.tuning.analysis.promotion_gate import Guard
from nightune.tuning.analysis.resampling import TestRows
from nightune.tuning.study.sections import OF_MODEL, Limits, PromotionSection

if TYPE_CHECKING:
    from nightune.models.data.dataset import Dataset, UnsealedExamples
    from nightune.models.networks.heads import Head
    from nightune.models.networks.own_metrics import OwnMetric
    from nightune.models.serving.predictor import Predictor

logger = logging.getLogger("nightune")

NO_LIMITS = Limits()
UNOPENED = "the champion cannot be opened"


@dataclass(frozen=True)
class Contender:
    """A configuration to compare: a version's folder, and the files of its models from other seeds.

    `problem` says why a champion's files cannot be read; empty if they can.
    """

    folder: Path
    siblings: tuple[Path, ...]
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Asked:
    """The metric that is compared, the study's objective, and the head of the candidate with its loss.

    `own` is the user's function, if the objective is one. `limits` are those of the study, `report` its other metrics.
    """

    metric: str
    head: "Head"
    own: "OwnMetric | None" = None
    limits: Limits = NO_LIMITS
    report: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """The measurements. `gain` is None without a comparable champion; `baseline`, too, if nothing can be compared.

    `values` are those of the study's metric, None if `baseline` is.
    """

    measure: str
    gain: Gain | None
    baseline: Gain | None
    guards: tuple[Guard, ...]
    metrics: dict[str, float]
    notes: tuple[str, ...]
    values: MetricValues | None = None


def champion_contender(store: Store, version: Version, folder: Path) -> Contender:
    """Fetch the champion and those of its siblings that still exist; its files may be missing or not Nightune's."""
    files = []
    for number, run_id in enumerate(version.siblings):
        place = folder / f"sibling-{number}"
        place.mkdir(parents=True)
        try:
            files.append(fetch_checkpoint(store, run_id, place))
        except Exception as error:  # of MLflow, an object store or the disk: compare fewer models
            logger.warning("champion version %d · a sibling cannot be read (%s)", version.number, type(error).__name__)
    try:
        fetched = fetch_version(store, version, folder / "version")
    except StoreLostError:
        raise
    except StoreError as error:
        return Contender(folder, (), problem=str(error))
    is_ours = model_of(parts_of(fetched)).exists()
    problem = "" if is_ours else f"version {version.number} has no {MODEL}: Nightune did not make it"
    return Contender(fetched, tuple(files), problem)


def does_champion_open(store: Store, version: Version) -> bool:
    """Return whether the champion can be opened now."""
    from nightune.models.serving.predictor import Predictor  # noqa: PLC0415 - Keras

    with tempfile.TemporaryDirectory() as folder:
        champion = champion_contender(store, version, Path(folder))
        try:
            return not champion.problem and Predictor.open(parts_of(champion.folder)) is not None
        except MemoryError:
            raise
        except Exception:  # as in _champion_losses
            return False


def measure(
    dataset: "Dataset",
    asked: Asked,
    rules: PromotionSection,
    candidate: Contender,
    champion: Contender | None,
    record: Callable[[], None],
    alone: Callable[[Path, "UnsealedExamples"], Guard],
) -> Evidence:
    """Open the test split once and measure both sides on the same rows; `record` records the read.

    `alone` opens the candidate's folder in a fresh process.
    """
    from nightune.models.networks.row_losses import all_metrics, latency_ms  # noqa: PLC0415 - Keras
    from nightune.models.serving.predictor import Predictor  # noqa: PLC0415

    test = dataset.test.open(Purpose.GATE, record).weighing()  # rows of weight 0 are no evidence
    raw = test.inputs if test.table is None else test.table
    question = Question.of(dataset, test, asked.metric, asked.head, asked.own)
    predictor = Predictor.open(parts_of(candidate.folder))
    inputs = predictor.inputs(raw)
    ours = question.side(parts_of(candidate.folder), candidate.siblings, inputs)
    undefined = question.undefined()
    guards = [
        _same_inputs(inputs, test),
        alone(candidate.folder, test),
        _finite(ours.losses),
        _size(folder_bytes(candidate.folder), rules),
        _latency(latency_ms(predictor, raw), rules),
        *_limits(candidate.folder, predictor, raw, asked.limits),
        *undefined,
    ]
    notes = [*_equal_models(ours.losses), *question.notes(), *threshold_notes(predictor.description)]
    gain = baseline = None
    theirs = None
    if champion is not None:
        theirs, new_notes, found = _champion_side(champion, predictor, raw, question)
        guards += found
        notes += new_notes
    if bool(np.isfinite(ours.losses).all()) and not undefined:
        try:
            baseline, gain = _gains(ours, theirs, question, rules)
        except (UndefinedMetricError, InputError) as error:  # a user's metric may have no value for some predictions
            guards.append(question.incomparable(str(error)))
    if gain is not None and theirs is not None:
        guards.append(_serving_model(ours, theirs, question.rows, rules))
        notes += _few_models(gain)
    own = None if baseline is None else asked.own
    named = [asked.metric, *asked.report]
    metrics = all_metrics(predictor, inputs, test.targets, asked.head, test.weights, named, own)
    values = None if baseline is None else MetricValues.of(asked.metric, question.direction, gain, baseline)
    return Evidence(question.loss, gain, baseline, tuple(guards), metrics, tuple(notes), values)


def _gains(ours: Side, theirs: Side | None, question: Question, rules: PromotionSection) -> tuple[Gain, Gain | None]:
    """Return the gains over the baseline and over the champion, None without a comparable one."""
    rows, confidence = question.rows, rules.confidence
    baseline = compare_sides(ours, question.baseline(), rows, confidence, seed=1, opponent_is_fixed=True)
    return baseline, None if theirs is None else compare_sides(ours, theirs, rows, confidence, seed=0)


def _champion_side(
    champion: Contender, candidate: "Predictor", raw: Any, question: Question
) -> tuple[Side | None, Sequence[str], Sequence[Guard]]:
    """Return the champion's side on the same rows, None if it cannot predict them, with notes and guards."""
    if champion.problem:
        return None, [], [_unopened(champion.problem)]
    try:
        return _compared(champion, candidate, raw, question)
    except MemoryError:
        raise
    except Exception as error:  # what a foreign model, a damaged file or a renamed class raises is up to Keras
        return None, [], [_unopened(why_unopened(error))]


def _compared(
    champion: Contender, candidate: "Predictor", raw: Any, question: Question
) -> tuple[Side | None, Sequence[str], Sequence[Guard]]:
    from nightune.models.serving.predictor import Predictor  # noqa: PLC0415 - Keras

    theirs = Predictor.open(parts_of(champion.folder))
    guards = [_schema(candidate.description, theirs.description)]
    notes = []
    if theirs.description["version"] != candidate.description["version"]:
        notes.append(
            f"the champion was trained on data {theirs.description['version']}, the test rows are of "
            f"{candidate.description['version']}: training rows among them would favour the champion"
        )
    if not guards[0].passed and theirs.description["task"] != candidate.description["task"]:
        return None, notes, guards
    try:
        side = question.side(parts_of(champion.folder), champion.siblings, theirs.inputs(raw))
    except InputError as error:
        return None, notes, [*guards, Guard("champion", False, f"the champion cannot read these rows: {error.message}")]
    if not np.isfinite(side.losses).all():
        return None, notes, [*guards, Guard("champion", False, "the champion's outputs on these rows are not finite")]
    return side, notes, guards


def _unopened(reason: str) -> Guard:
    remedy = "restore another one with `nightune rollback`, or promote in spite of it with --force --because"
    return Guard("champion", False, f"{UNOPENED} ({reason}); {remedy}")


def _same_inputs(inputs: ArrayTree, test: "UnsealedExamples") -> Guard:
    is_same = equal_arrays(inputs, test.inputs)
    verb = "give" if is_same else "do not give"
    return Guard("raw rows", is_same, f"raw rows {verb} the inputs of training after preprocessing", is_vital=True)


def _finite(losses: Losses) -> Guard:
    broken = int((~np.isfinite(losses)).any(axis=0).sum())
    text = f"outputs are not finite in {broken} of {losses.shape[1]} rows" if broken else "all outputs are finite"
    return Guard("finite outputs", not broken, text, is_vital=bool(~np.isfinite(losses[0]).all()))


def _size(size_bytes: int, rules: PromotionSection) -> Guard:
    size, limit = size_bytes / 1e6, rules.size_limit_mb
    known = "no limit" if limit is None else f"limit {limit:g} MB"
    return Guard("size", limit is None or size <= limit, f"{size:.3g} MB ({known})")


def _latency(latency: float, rules: PromotionSection) -> Guard:
    limit = rules.latency_limit_ms
    known = "no limit" if limit is None else f"limit {limit:g} ms"
    return Guard("latency", limit is None or latency <= limit, f"{latency:.3g} ms per row ({known})")


def _limits(folder: Path, predictor: "Predictor", raw: Any, limits: Limits) -> list[Guard]:
    """Check the limits of the study's trials on the model that would serve."""
    if not limits.of_model:
        return []
    from nightune.models.networks.model_costs import costs_of_weights, cpu_latency_ms  # noqa: PLC0415 - Keras
    from nightune.models.serving.predictor import Predictor  # noqa: PLC0415

    costs = costs_of_weights(predictor.model.get_weights())
    if limits.latency_ms is not None:
        costs["latency_ms"] = cpu_latency_ms(lambda: Predictor.open(parts_of(folder)), raw)
    over = limits.exceeded(costs)
    within = ", ".join(
        f"{OF_MODEL[name].format(costs[name])} (limit {limits.of_model[name]:g})" for name in limits.of_model
    )
    return [Guard("limits", not over, over or within)]


def _schema(candidate: dict[str, Any], champion: dict[str, Any]) -> Guard:
    """Check that callers of the champion can call the candidate: no new column, no other kind, form or shape."""
    problems = []
    if candidate["task"] != champion["task"]:
        problems.append(f"the task was {champion['task']}, but is {candidate['task']} now")
    before = {column["name"]: _written_kind(column) for column in champion.get("columns", [])}
    now = {column["name"]: _written_kind(column) for column in candidate.get("columns", [])}
    if bool(before) != bool(now) or (not now and champion["input_shape"] != candidate["input_shape"]):
        problems.append(f"inputs of shape {candidate['input_shape']} instead of {champion['input_shape']}")
    for name in now if before else ():
        if name not in before:
            problems.append(f"column {name!r} is required, but was not before")
        elif before[name] != now[name]:
            problems.append(f"column {name!r} was a {before[name]}, but is a {now[name]} now")
    if candidate.get("target_shape") != champion.get("target_shape"):
        now_before = [each.get("target_shape") or "rows" for each in (candidate, champion)]
        problems.append("predictions of shape {} instead of {}".format(*now_before))
    if candidate.get("quantiles") != champion.get("quantiles"):
        before_now = [each.get("quantiles") or "one number" for each in (champion, candidate)]
        problems.append(f"predictions were {before_now[0]}, but are {before_now[1]} now")
    for what, key in (("label", "classes"), ("column", "outputs")):
        lost = [repr(name) for name in champion.get(key) or () if name not in (candidate.get(key) or ())]
        if lost and (what == "column") == (candidate["task"] == "regression"):
            problems.append(f"{what} {lost[0]} is not predicted any more")
    text = f"schema differs from the champion's: {'; '.join(problems)}" if problems else "same inputs as the champion's"
    return Guard("schema", not problems, text)


def _written_kind(column: dict[str, Any]) -> str:
    """Return the kind of a column, with the form of its texts unless it is that of other readers of tables."""
    form = column.get("form", "")
    return str(column["kind"]) if form in USUAL_FORMS else f"{column['kind']} written like {form}"


def _serving_model(ours: Side, theirs: Side, rows: TestRows, rules: PromotionSection) -> Guard:
    """Check the model that would serve: the gate compares configurations, but it must not be significantly worse."""
    gain = compare_sides(ours.serving, theirs.serving, rows, rules.confidence, seed=2)
    is_worse = gain.high < 0
    verb = "is" if is_worse else "is not"
    text = f"the serving model {verb} significantly worse than the champion's (gain {gain.gain:.4g})"
    return Guard("the model itself", not is_worse, text)


def _equal_models(losses: Losses) -> list[str]:
    """Say that the interval has no variance over seeds if the models of all seeds have equal losses."""
    if len(losses) == 1 or not np.allclose(losses, losses[0], rtol=1e-5, atol=1e-6):  # up to rounding
        return []
    return [f"the {len(losses)} models of other seeds predict the same: the interval covers the test rows, not seeds"]


def _few_models(gain: Gain) -> list[str]:
    if min(gain.challenger_models, gain.opponent_models) > 1:
        return []
    counts = f"{gain.challenger_models} models to {gain.opponent_models}"
    return [f"few models on one side ({counts}): seed variance is uncertain, so small gains cannot be significant"]
