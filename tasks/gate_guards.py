"""The guards of the promotion gate beside the gain, and what a verdict notes about the compared models."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.serving.columns import USUAL_FORMS
from nightune.models.serving.input_trees import ArrayTree, equal_arrays
from nightune.models.techniques.losses import HAS_PARAMETERS
from nightune.tasks.tracking.registry.model_folder import parts_of
from nightune.tuning.analysis.metric_gain import Side, compare_sides
from nightune.tuning.analysis.paired_gain import Gain, Losses
from nightune.tuning.analysis.promotion_gate import Guard
from nightune.tuning.analysis.resampling import TestRows
from nightune.tuning.study.sections import OF_MODEL, Limits, PromotionSection

if TYPE_CHECKING:
    from nightune.models.data.dataset import UnsealedExamples
    from nightune.models.serving.predictor import Predictor


def check_same_inputs(inputs: ArrayTree, test: "UnsealedExamples") -> Guard:
    """Check that a version's preprocessing gives the prepared inputs of the test rows."""
    is_same = equal_arrays(inputs, test.inputs)
    verb = "give" if is_same else "do not give"
    return Guard("raw rows", is_same, f"raw rows {verb} the inputs of training after preprocessing", is_vital=True)


def check_finite(losses: Losses) -> Guard:
    """Check the losses of all models, (models, rows); NaN of the first one, which would serve, is vital."""
    broken = int((~np.isfinite(losses)).any(axis=0).sum())
    text = f"outputs are not finite in {broken} of {losses.shape[1]} rows" if broken else "all outputs are finite"
    return Guard("finite outputs", not broken, text, is_vital=bool(~np.isfinite(losses[0]).all()))


def check_size(size_bytes: int, rules: PromotionSection) -> Guard:
    """Check the size of the version's folder against `[promotion] size_limit_mb`."""
    size, limit = size_bytes / 1e6, rules.size_limit_mb
    known = "no limit" if limit is None else f"limit {limit:g} MB"
    return Guard("size", limit is None or size <= limit, f"{size:.3g} MB ({known})")


def check_latency(latency: float, rules: PromotionSection) -> Guard:
    """Check the milliseconds per row against `[promotion] latency_limit_ms`."""
    limit = rules.latency_limit_ms
    known = "no limit" if limit is None else f"limit {limit:g} ms"
    return Guard("latency", limit is None or latency <= limit, f"{latency:.3g} ms per row ({known})")


def check_limits(folder: Path, predictor: "Predictor", raw: Any, limits: Limits) -> list[Guard]:
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


def check_schema(candidate: dict[str, Any], champion: dict[str, Any]) -> Guard:
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
    problems += _other_heads(candidate, champion)
    if candidate.get("target_shape") != champion.get("target_shape"):
        now_before = [each.get("target_shape") or "rows" for each in (candidate, champion)]
        problems.append("predictions of shape {} instead of {}".format(*now_before))
    if candidate.get("quantiles") != champion.get("quantiles"):
        before_now = [each.get("quantiles") or "one number" for each in (champion, candidate)]
        problems.append(f"predictions were {before_now[0]}, but are {before_now[1]} now")
    problems += _other_parameters(candidate, champion) or _lost_names(candidate, champion)
    text = f"schema differs from the champion's: {'; '.join(problems)}" if problems else "same inputs as the champion's"
    return Guard("schema", not problems, text)


def _other_parameters(candidate: dict[str, Any], champion: dict[str, Any]) -> list[str]:
    """Return how predictions differ if a version answers parameters of a loss, whose meaning is that loss's."""
    before, now = (
        f"{each['outputs']} of the loss {each.get('loss')}" if each.get(HAS_PARAMETERS) else "quantities of the target"
        for each in (champion, candidate)
    )
    return [] if before == now else [f"predictions were {before}, but are {now} now"]


def _other_heads(candidate: dict[str, Any], champion: dict[str, Any]) -> Iterator[str]:
    """Yield how the heads of two versions differ: lost ones, other tasks and shapes, lost labels."""
    now = {head["name"]: head for head in candidate.get("heads", ())}
    for before in champion.get("heads", ()):
        name, head = before["name"], now.get(before["name"])
        if head is None:
            yield f"head {name!r} is not predicted any more"
            continue
        for what, key in (("task", "task"), ("shape", "target_shape"), ("quantiles", "quantiles")):
            if head.get(key) != before.get(key):
                was, now_is = (each.get(key) or "none" for each in (before, head))
                yield f"the {what} of head {name!r} was {was}, but is {now_is} now"
        yield from (f"{problem} by head {name!r}" for problem in _lost_names(head, before))


def _lost_names(candidate: dict[str, Any], champion: dict[str, Any]) -> Iterator[str]:
    for what, key in (("label", "classes"), ("column", "outputs")):
        lost = [repr(name) for name in champion.get(key) or () if name not in (candidate.get(key) or ())]
        if lost and (what == "column") == (candidate["task"] == "regression"):
            yield f"{what} {lost[0]} is not predicted any more"


def _written_kind(column: dict[str, Any]) -> str:
    """Return the kind of a column, with the form of its texts unless it is that of other readers of tables."""
    form = column.get("form", "")
    return str(column["kind"]) if form in USUAL_FORMS else f"{column['kind']} written like {form}"


def check_serving_model(ours: Side, theirs: Side, rows: TestRows, rules: PromotionSection) -> Guard:
    """Check the model that would serve: the gate compares configurations, but it must not be significantly worse."""
    gain = compare_sides(ours.serving, theirs.serving, rows, rules.confidence, seed=2)
    is_worse = gain.high < 0
    verb = "is" if is_worse else "is not"
    text = f"the serving model {verb} significantly worse than the champion's (gain {gain.gain:.4g})"
    return Guard("the model itself", not is_worse, text)


def note_equal_models(losses: Losses) -> list[str]:
    """Say that the interval has no variance over seeds if the models of all seeds have equal losses."""
    if len(losses) == 1 or not np.allclose(losses, losses[0], rtol=1e-5, atol=1e-6):  # up to rounding
        return []
    return [f"the {len(losses)} models of other seeds predict the same: the interval covers the test rows, not seeds"]


def note_few_models(gain: Gain) -> list[str]:
    """Say that the variance over seeds is uncertain if one side has a single model."""
    if min(gain.challenger_models, gain.opponent_models) > 1:
        return []
    counts = f"{gain.challenger_models} models to {gain.opponent_models}"
    return [f"few models on one side ({counts}): seed variance is uncertain, so small gains cannot be significant"]
