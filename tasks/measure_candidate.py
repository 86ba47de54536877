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
from nightune.models.serving.predictor import MODEL, model_of
from nightune.tasks.gate_guards import (
    check_finite,
    check_latency,
    check_limits,
    check_same_inputs,
    check_schema,
    check_serving_model,
    check_size,
    note_equal_models,
    note_few_models,
)
from nightune.tasks.gate_question import Question
from nightune.tasks.threshold_problems import threshold_notes
from nightune.tasks.tracking.registry.model_folder import folder_bytes, parts_of
from nightune.tasks.tracking.registry.registry import Version, fetch_version
from nightune.tasks.tracking.store.errors import StoreError, StoreLostError
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.trials.checkpoints import fetch_checkpoint, why_unopened
from nightune.tasks.trial.interrupts import interrupts_raised
from nightune.tuning.analysis.metric_gain import Side, UndefinedMetricError, compare_sides
from nightune.tuning.analysis.metric_values import MetricValues
from nightune.tuning.analysis.paired_gain import Gain
from nightune.tuning.analysis.promotion_gate import Guard
from nightune.tuning.study.sections import Limits, PromotionSection

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
            with interrupts_raised():
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
            with interrupts_raised():
                return not champion.problem and Predictor.open(parts_of(champion.folder)) is not None
        except MemoryError:
            raise
        except Exception:  # as in _champion_side
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

    `alone` opens the candidate's folder in a fresh process. UnknownIdError, without a recorded read, if an embedding of
    the candidate has no row for an id of the data.
    """
    from nightune.models.networks.embedding_ids import refuse_ids_outside_tables  # noqa: PLC0415 - Keras
    from nightune.models.networks.row_losses import all_metrics, latency_ms  # noqa: PLC0415
    from nightune.models.serving.predictor import Predictor  # noqa: PLC0415

    predictor = Predictor.open(parts_of(candidate.folder))
    refuse_ids_outside_tables(predictor.model, dataset)  # a worker of a cluster does not see those of the test rows
    test = dataset.test.open(Purpose.GATE, record).weighing()  # rows of weight 0 are no evidence
    raw = test.inputs if test.table is None else test.table
    question = Question.of(dataset, test, asked.metric, asked.head, asked.own)
    inputs = predictor.inputs(raw)
    ours = question.side(parts_of(candidate.folder), candidate.siblings, inputs)
    undefined = question.undefined()
    guards = [
        check_same_inputs(inputs, test),
        alone(candidate.folder, test),
        check_finite(ours.losses),
        check_size(folder_bytes(candidate.folder), rules),
        check_latency(latency_ms(predictor, raw), rules),
        *check_limits(candidate.folder, predictor, raw, asked.limits),
        *undefined,
    ]
    notes = [*note_equal_models(ours.losses), *question.notes(), *threshold_notes(predictor.description)]
    nothing: tuple[Side | None, Sequence[str], Sequence[Guard]] = None, (), ()
    theirs, notes_on, guards_of = nothing if champion is None else _champion_side(champion, predictor, raw, question)
    gains = _Gains() if undefined else _gains(ours, theirs, question, rules)
    named, own = [asked.metric, *asked.report], None if gains.baseline is None else asked.own
    return Evidence(
        measure=question.loss,
        gain=gains.over_champion,
        baseline=gains.baseline,
        guards=(*guards, *guards_of, *gains.guards),
        metrics=all_metrics(predictor, inputs, test.targets, asked.head, test.weights, named, own),
        notes=(*notes, *notes_on, *gains.notes),
        values=gains.values(asked, question),
    )


@dataclass(frozen=True)
class _Gains:
    """The gains over the baseline and the champion, None where they cannot be compared, and what they show."""

    baseline: Gain | None = None
    over_champion: Gain | None = None
    guards: tuple[Guard, ...] = ()
    notes: tuple[str, ...] = ()

    def values(self, asked: Asked, question: Question) -> MetricValues | None:
        """Return the values of the study's metric; None if nothing was compared."""
        if self.baseline is None:
            return None
        is_own = asked.own is not None
        return MetricValues.of(asked.metric, question.direction, self.over_champion, self.baseline, is_own)


def _gains(ours: Side, theirs: Side | None, question: Question, rules: PromotionSection) -> _Gains:
    if not np.isfinite(ours.losses).all():
        return _Gains()
    rows, confidence = question.rows, rules.confidence
    try:
        baseline = compare_sides(ours, question.baseline, rows, confidence, seed=1, opponent_is_fixed=True)
        if theirs is None:
            return _Gains(baseline)
        gain = compare_sides(ours, theirs, rows, confidence, seed=0)
    except (UndefinedMetricError, InputError) as error:  # a user's metric may have no value for some predictions
        return _Gains(guards=(question.incomparable(str(error)),))
    return _Gains(baseline, gain, (check_serving_model(ours, theirs, rows, rules),), tuple(note_few_models(gain)))


def _champion_side(
    champion: Contender, candidate: "Predictor", raw: Any, question: Question
) -> tuple[Side | None, Sequence[str], Sequence[Guard]]:
    """Return the champion's side on the same rows, None if it cannot predict them, with notes and guards."""
    if champion.problem:
        return None, [], [_unopened(champion.problem)]
    try:
        with interrupts_raised():
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
    guards = [check_schema(candidate.description, theirs.description)]
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
