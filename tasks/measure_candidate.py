"""Measure a confirmed winner and the champion on the sealed test rows: the one place that opens them."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.dataset import Purpose
from nightune.models.errors import InputError
from nightune.tasks.tracking.registry.model_folder import folder_bytes, parts_of
from nightune.tasks.tracking.registry.registry import Version, fetch_version
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.trials.checkpoints import fetch_checkpoint
from nightune.tuning.analysis.paired_gain import Gain, Losses, compare
from nightune.tuning.analysis.promotion_gate import Guard
from nightune.tuning.study.sections import PromotionSection

if TYPE_CHECKING:
    from nightune.models.data.dataset import Dataset, UnsealedExamples
    from nightune.models.networks.row_losses import Truth
    from nightune.models.serving.predictor import Predictor

logger = logging.getLogger("nightune")


@dataclass(frozen=True)
class Contender:
    """A configuration before the gate: a version's folder, and the files of its other models, other seeds apart."""

    folder: Path
    siblings: tuple[Path, ...]


@dataclass(frozen=True)
class Evidence:
    """What was measured. `gain` is None without a champion that could be compared, `baseline` where losses are not."""

    measure: str
    gain: Gain | None
    baseline: Gain | None
    guards: tuple[Guard, ...]
    metrics: dict[str, float]
    notes: tuple[str, ...]


def champion_contender(store: Store, version: Version, folder: Path) -> Contender:
    """Fetch the champion, and of its siblings those that are still there."""
    files = []
    for number, run_id in enumerate(json.loads(version.tags.get(names.SIBLINGS, "[]"))):
        place = folder / f"sibling-{number}"
        place.mkdir(parents=True)
        try:
            files.append(fetch_checkpoint(store, run_id, place))
        except Exception as error:  # MLflow's, an object store's or the disk's: the comparison goes on with fewer
            logger.warning("champion version %d · a sibling's model is gone (%s)", version.number, type(error).__name__)
    return Contender(fetch_version(store, version, folder / "version"), tuple(files))


def measure(
    dataset: "Dataset",
    objective: str,
    rules: PromotionSection,
    candidate: Contender,
    champion: Contender | None,
    record: Callable[[], None],
) -> Evidence:
    """Open the test split once, and measure both sides on the same rows; `record` notes the read."""
    from nightune.models.networks.row_losses import all_metrics, latency_ms, measure_of, trivial_losses, truth  # noqa: PLC0415 - Keras
    from nightune.models.serving.predictor import Predictor  # noqa: PLC0415

    test = dataset.test.open(Purpose.GATE, record)
    raw = test.inputs if test.table is None else test.table
    name, wanted = measure_of(objective, dataset.task), truth(dataset, test)
    predictor = Predictor.open(parts_of(candidate.folder))
    inputs = predictor.inputs(raw)
    losses = _losses(candidate, inputs, wanted, name)
    guards = [
        _same_inputs(inputs, test),
        _finite(losses),
        _size(folder_bytes(candidate.folder), rules),
        _latency(latency_ms(predictor, raw), rules),
    ]
    notes: list[str] = []
    gain = baseline = None
    is_finite = bool(np.isfinite(losses).all())
    if is_finite:
        guess = trivial_losses(dataset, wanted, name)[None]
        baseline = compare(losses, guess, rules.confidence, seed=1, opponent_is_fixed=True)
    if champion is not None:
        their, said, found = _champion_losses(champion, predictor, raw, wanted, name)
        guards += found
        notes += said
        if their is not None and is_finite:
            gain = compare(losses, their, rules.confidence, seed=0)
            guards.append(_itself(losses, their, rules))
            notes += _few_models(gain)
    return Evidence(name, gain, baseline, tuple(guards), all_metrics(predictor, inputs, test.targets), tuple(notes))


def _losses(contender: Contender, inputs: np.ndarray, wanted: "Truth", measure: str) -> Losses:
    """(models, rows): the version's own model first, then its siblings."""
    from nightune.models.networks.row_losses import row_losses  # noqa: PLC0415 - Keras
    from nightune.models.serving.predictor import Predictor  # noqa: PLC0415

    parts = parts_of(contender.folder)
    return np.stack(
        [row_losses(Predictor.open(parts, file), inputs, wanted, measure) for file in (None, *contender.siblings)]
    )


def _champion_losses(
    champion: Contender, candidate: "Predictor", raw: Any, wanted: "Truth", measure: str
) -> tuple[Losses | None, Sequence[str], Sequence[Guard]]:
    """The champion's losses on the same rows, notes, and guards; None where it cannot answer them."""
    from nightune.models.serving.predictor import Predictor  # noqa: PLC0415 - Keras

    theirs = Predictor.open(parts_of(champion.folder))
    guards = [_schema(candidate.description, theirs.description)]
    notes = []
    if theirs.description["version"] != candidate.description["version"]:
        notes.append(
            f"the champion was trained on data {theirs.description['version']}, these rows are of "
            f"{candidate.description['version']}: some may have been among its training rows, which favours it"
        )
    if not guards[0].passed and theirs.description["task"] != candidate.description["task"]:
        return None, notes, guards
    try:
        losses = _losses(champion, theirs.inputs(raw), wanted, measure)
    except InputError as error:
        return None, notes, [*guards, Guard("champion", False, f"the champion cannot read these rows: {error.message}")]
    if not np.isfinite(losses).all():
        return None, notes, [*guards, Guard("champion", False, "the champion's outputs on these rows are not finite")]
    return losses, notes, guards


def _same_inputs(inputs: np.ndarray, test: "UnsealedExamples") -> Guard:
    same = np.array_equal(inputs, test.inputs)
    said = "raw rows become the inputs of training" if same else "raw rows do not become the inputs of training"
    return Guard("raw rows", same, said, is_vital=True)


def _finite(losses: Losses) -> Guard:
    broken = int((~np.isfinite(losses)).any(axis=0).sum())
    said = f"outputs are not finite in {broken} of {losses.shape[1]} rows" if broken else "all outputs are finite"
    return Guard("finite outputs", not broken, said, is_vital=bool(~np.isfinite(losses[0]).all()))


def _size(size_bytes: int, rules: PromotionSection) -> Guard:
    size, limit = size_bytes / 1e6, rules.size_limit_mb
    known = "no limit" if limit is None else f"limit {limit:g} MB"
    return Guard("size", limit is None or size <= limit, f"{size:.3g} MB ({known})")


def _latency(latency: float, rules: PromotionSection) -> Guard:
    limit = rules.latency_limit_ms
    known = "no limit" if limit is None else f"limit {limit:g} ms"
    return Guard("latency", limit is None or latency <= limit, f"{latency:.3g} ms a row ({known})")


def _schema(candidate: dict[str, Any], champion: dict[str, Any]) -> Guard:
    """Whoever calls the champion today must be able to call the candidate: no new column, no other kind or shape."""
    problems = []
    if candidate["task"] != champion["task"]:
        problems.append(f"the task was {champion['task']}, and is {candidate['task']}")
    before = {column["name"]: column["kind"] for column in champion.get("columns", [])}
    now = {column["name"]: column["kind"] for column in candidate.get("columns", [])}
    if bool(before) != bool(now) or (not now and champion["input_shape"] != candidate["input_shape"]):
        problems.append(f"inputs of shape {candidate['input_shape']} instead of {champion['input_shape']}")
    for name in now if before else ():
        if name not in before:
            problems.append(f"column {name!r} is needed, and was not before")
        elif before[name] != now[name]:
            problems.append(f"column {name!r} was a {before[name]}, and is a {now[name]}")
    lost = [repr(label) for label in champion["classes"] or () if label not in (candidate["classes"] or ())]
    if lost and candidate["task"] != "regression":
        problems.append(f"label {lost[0]} is not answered any more")
    said = "; ".join(problems) or "takes what the champion takes"
    return Guard("schema", not problems, f"other schema than the champion's: {said}" if problems else said)


def _itself(losses: Losses, theirs: Losses, rules: PromotionSection) -> Guard:
    """The gate compares configurations; the one model that would serve must at least not be surely worse."""
    gain = compare(losses[:1], theirs[:1], rules.confidence, seed=2)
    worse = gain.high < 0
    said = "the model itself is surely worse than the champion" if worse else "the model itself is not surely worse"
    return Guard("the model itself", not worse, f"{said} (gain {gain.gain:.4g})")


def _few_models(gain: Gain) -> list[str]:
    if min(gain.challenger_models, gain.opponent_models) > 1:
        return []
    counts = f"{gain.challenger_models} models to {gain.opponent_models}"
    return [f"few models on a side ({counts}): what seeds do is hardly known, and small gains cannot be shown"]
