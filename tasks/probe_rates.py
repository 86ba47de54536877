"""Probe a study before its trials: run a learning-rate range test for each of its optimizers."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from nightune.models.errors import InputError
from nightune.models.recipe.params import KEYS, read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.learning_rates.range_test import RangeTest, RateRange, range_to_test, rising_rates
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.propose_trials import complete_params
from nightune.tasks.reporting.probe_report import PEAK, RateProbe, StudyProbe
from nightune.tasks.step import step
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.probes import log_probe
from nightune.tasks.trial.failure import describe
from nightune.tasks.trial.interrupts import interrupts_raised
from nightune.tuning.search.midpoint import middle_point
from nightune.tuning.study.study import Study
from nightune.tuning.study.suggested_ranges import applies, options_of, parameter_of_ranges, why_no_cases
from nightune.tuning.study.toml_text import read_tables
from nightune.tuning.trial import Params, Value

logger = logging.getLogger("nightune")

# Parameters that a test sets itself or does not use; the others define the update and the model.
_WITHOUT = ("learning_rate.", "weight_decay.", "penalty.", "stopping.", "batch_size.")


@step
def probe_rates(store: Store, study: Study, data: PreparedData, updates: int) -> StudyProbe:
    """Test every optimizer of the study with its data, the midpoint of its space and its seed."""
    from nightune.models.backend import load_keras  # noqa: PLC0415 - imports Keras

    load_keras(store.compiled)
    probes = []
    for optimizer in _optimizers(study):
        probe = _probe(study, data, optimizer, updates)
        logger.log(logging.INFO if probe.range is not None else logging.WARNING, "%s", probe.line)
        probes.append(probe)
    return suggest(study, probes)


def suggest(study: Study, probes: Sequence[RateProbe]) -> StudyProbe:
    """Return the tests with the learning rate's value that searches their ranges in this study."""
    tables = read_tables(study.path)
    found = {probe.optimizer: (probe.range.low, probe.range.high) for probe in probes if probe.range is not None}
    parameter = parameter_of_ranges(study.space, tables, PEAK, found)
    reason = why_no_cases(study.space, tables, PEAK) if len(probes) > 1 and parameter is not None else ""
    notes = [f"{reason}: this is one range that contains those of all optimizers"] if reason else []
    excluded = [optimizer for optimizer in found if not applies(study.space, PEAK, optimizer)]
    notes += [f"without {', '.join(excluded)}, which the conditions of {PEAK} exclude"] if excluded else []
    return StudyProbe(study.name, study.path, tuple(probes), parameter, "; ".join(notes))


@step
def keep_probe(store: Store, study: Study, data: PreparedData, probe: StudyProbe) -> StudyProbe:
    """Log the tests' curves, the chart, the suggestion and all numbers; return the probe with its run id."""
    curves = {
        f"{each.optimizer}/{name}": values.tolist()
        for each in probe.probes
        if each.test is not None
        for name, values in each.test.curves.items()
    }
    numbers = json.dumps(probe.as_json(), ensure_ascii=False, indent=2)
    files = {names.PROBE_NUMBERS: numbers, **_chart(probe)}
    files |= {names.PROBE_SUGGESTION: probe.snippet} if probe.snippet else {}
    return replace(probe, run_id=log_probe(store, study, data.version, curves, files))


def _chart(probe: StudyProbe) -> dict[str, str]:
    """Return the chart's file; none, with a warning, if it cannot be drawn: the numbers took minutes."""
    try:
        return {names.PROBE_CHART: probe.figure.svg}
    except InputError as error:
        logger.warning("probe · no chart in MLflow: %s", error)
        return {}


def probed_point(study: Study, optimizer: str) -> Params:
    """Return an optimizer's test params from the midpoint of the study's space: those of the update and the model."""
    point = middle_point(study.space, {"optimizer": optimizer})
    kept = {name: value for name, value in point.items() if not name.startswith(_WITHOUT)}
    return kept | {"optimizer": optimizer}


def probed_batch_size(study: Study, optimizer: str, examples: int) -> int:
    """Return the reference batch size if the study scales rates by it, else the midpoint of its batch sizes."""
    point = middle_point(study.space, {"optimizer": optimizer})
    params = complete_params(study, point)
    if "batch_size.policy" not in params:
        return examples
    if "learning_rate.reference_batch_size" in params:
        size: Value = params["learning_rate.reference_batch_size"]
    elif params["batch_size.policy"] == "random":
        size = params["batch_size.minimum"]
    else:
        size = params["batch_size.size"]
    assert isinstance(size, int)
    return min(size, examples)


def _probe(study: Study, data: PreparedData, optimizer: str, updates: int) -> RateProbe:
    tested, started_at = range_to_test(optimizer), time.monotonic()
    if tested is None:
        return RateProbe(optimizer, message="sets its own learning rate: leave learning_rate.peak unchanged")
    try:
        size = probed_batch_size(study, optimizer, data.sizes["train"])
        recipe = read_recipe(complete_params(study, probed_point(study, optimizer)))
        with interrupts_raised():
            test = _run(study, data, recipe, tested, updates, size)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # a user's model may raise anything; its trials would report the same
        return RateProbe(optimizer, message=describe(error, study.path.parent).message)
    message = "" if test.suggestion is not None else "no suggestion: the loss never decreased"
    return RateProbe(optimizer, size, test, message, time.monotonic() - started_at)


def _run(study: Study, data: PreparedData, recipe: Recipe, tested: RateRange, updates: int, size: int) -> RangeTest:
    from nightune.models.data.storage import open_dataset  # noqa: PLC0415
    from nightune.models.engines.fit.engine import FitEngine  # noqa: PLC0415 - Keras
    from nightune.models.engines.fit.range_test_run import (  # noqa: PLC0415 - Keras
        probed_dataset,
        probed_recipe,
        run_range_test,
        shuffled_batches,
    )
    from nightune.models.training.seeds import Seeds  # noqa: PLC0415

    dataset, seeds = open_dataset(data.folder), Seeds.from_trial(study.seed)
    engine = FitEngine(probed_dataset(dataset), study.path.parent)
    state = engine.start(probed_recipe(recipe), seeds)
    rates = rising_rates(tested.low, tested.high, updates)
    return run_range_test(engine, state, rates, shuffled_batches(len(dataset.train), size, seeds.order))


def _optimizers(study: Study) -> Sequence[str]:
    return options_of(study.space) or [str(KEYS["optimizer"].default)]
