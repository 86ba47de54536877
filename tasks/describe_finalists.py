"""Describe each finalist by its models' answers to the held-out rows, once, as an artifact of the finalist's run.

The models are those of its replicates: they were not chosen by these rows. The sealed test rows are not read.
"""

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nightune.models.data.numbers_of_studies import numbers_for
from nightune.models.error_causes import cause_of
from nightune.models.recipe.params import read_recipe
from nightune.tasks.confirm_finalists import finalists, replicates_of, rules
from nightune.tasks.setting import Setting
from nightune.tasks.step import step
from nightune.tasks.tracking.store.errors import StoreLostError
from nightune.tasks.tracking.sweeps.finalist_answers import read_answers, write_answers
from nightune.tasks.tracking.trials.checkpoints import fetch_checkpoint
from nightune.tasks.trial.interrupts import interrupts_raised
from nightune.tasks.trial.trainer import trainer_of
from nightune.tuning.analysis.held_out.answers import Answers
from nightune.tuning.analysis.held_out.slices import HeldColumn
from nightune.tuning.analysis.held_out.summarize import summarize
from nightune.tuning.analysis.held_out.summary import NAME_CHARACTERS, FinalistAnswers, HeadSummary
from nightune.tuning.analysis.value_text import value_text
from nightune.tuning.trial import TrialResult

if TYPE_CHECKING:
    from nightune.models.data.dataset import Dataset, Examples
    from nightune.models.networks.heads import Head
    from nightune.models.serving.predictor import Predictor

MOST_MODELS = 3  # of a finalist
MOST_HEADS = 8
SEVERAL_AXES = "targets of several axes have no classes or quantities of a row"
NO_QUANTITIES = "outputs are parameters of the loss, and no quantities of the target"

logger = logging.getLogger("nightune")


class Costs(NamedTuple):
    """What a model costs where it serves."""

    size_mb: float
    latency_ms: float


@dataclass(frozen=True, eq=False)
class Held:
    """The rows that no model of a finalist was trained on, by the name of their split, and its models' runs."""

    split: str
    examples: "Examples"
    runs: tuple[str, ...]

    @property
    def rows(self) -> int:
        """The number of rows with a weight above 0."""
        weights = self.examples.weights
        return len(self.examples) if weights is None else int(np.count_nonzero(weights))


@step
def describe_finalists(setting: Setting) -> None:
    """Write the answers of each finalist that has none yet; a model that cannot answer leaves the reason instead."""
    for result in finalists(setting):
        trained = [each for each in replicates_of(setting, result, rules(setting).replicates) if each.is_ranked]
        known = read_answers(setting.store, result.run_id)
        if trained and (known is None or known.models != _runs(setting, result, trained)):
            write_answers(setting.store, result.run_id, _described(setting, result, trained))


def _runs(setting: Setting, result: TrialResult, trained: Sequence[TrialResult]) -> tuple[str, ...]:
    """Return the runs of the models that answer; with folds the trial's own, whose last fold was held out."""
    return (result.run_id,) if setting.sweep.has_folds else tuple(each.run_id for each in trained[:MOST_MODELS])


def _described(setting: Setting, result: TrialResult, trained: Sequence[TrialResult]) -> FinalistAnswers:
    runs = _runs(setting, result, trained)
    try:
        with interrupts_raised():
            return _answers(setting, result, runs)
    except StoreLostError:
        raise
    except Exception as error:  # of a user's code, a damaged file, memory or a disk: nothing depends on these answers
        logger.warning("trial %d · answers to the held-out rows not recorded: %s", result.trial.number, cause_of(error))
        return FinalistAnswers("", 0, runs, why=cause_of(error))


def _answers(setting: Setting, result: TrialResult, runs: tuple[str, ...]) -> FinalistAnswers:
    trainer = trainer_of(setting)
    dataset, head = trainer.dataset, trainer.engine.head(read_recipe(result.trial.params))
    held = _held(dataset, runs)
    rows = held.examples
    if dataset.folds and "target_scale" in dataset.description:
        why = "with folds each model has a scale of the target of its own"
        return FinalistAnswers(held.split, held.rows, runs, why=why)
    description = {**dataset.description, **head.description}
    if isinstance(dataset.output_size, tuple):  # the outputs of all rows may be larger than the memory
        return _of_several_axes(setting, dataset, held, description)
    dataset = replace(dataset, row_numbers=numbers_for(setting.data.folder, setting.study.name))
    with tempfile.TemporaryDirectory() as folder:
        files = [_fetched(setting, run, Path(folder) / str(place)) for place, run in enumerate(runs)]
        outputs, costs = _outputs(dataset, rows, files, description)
    if not all(np.isfinite(each).all() for each in outputs):
        why = "outputs are not finite"
        return FinalistAnswers(held.split, held.rows, runs, (), why, costs.size_mb, costs.latency_ms)
    return FinalistAnswers(
        split=held.split,
        rows=held.rows,
        models=runs,
        heads=tuple(_summaries(setting, dataset, head, rows, outputs)),
        is_weighted=rows.weights is not None,
        has_row_numbers=_numbers(dataset) is not None,
        size_mb=costs.size_mb,
        latency_ms=costs.latency_ms,
    )


def _of_several_axes(setting: Setting, dataset: "Dataset", held: Held, description: dict[str, Any]) -> FinalistAnswers:
    """Return the costs of the first model, by one row, and why they have no summary."""
    with tempfile.TemporaryDirectory() as folder:
        file = _fetched(setting, held.runs[0], Path(folder) / "0")
        opened = partial(_opened, dataset, description, file)
        costs = _costs(dataset, opened(), opened)
    return FinalistAnswers(
        split=held.split,
        rows=held.rows,
        models=held.runs,
        heads=(HeadSummary(why=SEVERAL_AXES),),
        is_weighted=held.examples.weights is not None,
        size_mb=costs.size_mb,
        latency_ms=costs.latency_ms,
    )


def _held(dataset: "Dataset", runs: tuple[str, ...]) -> Held:
    if dataset.folds:
        return Held(f"fold {len(dataset.folds)}", dataset.folds[-1].validation, runs)
    return Held("validation" if dataset.ranking_apart is None else "ranking", dataset.ranking, runs)


def _fetched(setting: Setting, run_id: str, folder: Path) -> Path:
    folder.mkdir()
    return fetch_checkpoint(setting.store, run_id, folder)


def _outputs(
    dataset: "Dataset", rows: "Examples", files: Sequence[Path], description: dict[str, Any]
) -> tuple[list[np.ndarray], Costs]:
    """Return the outputs of each model, (rows, size), and the size and latency of the first one."""
    from nightune.models.engines.prediction import outputs_of  # noqa: PLC0415 - Keras

    outputs, costs = [], None
    for file in files:
        opened = partial(_opened, dataset, description, file)
        predictor = opened()
        outputs.append(outputs_of(predictor, rows.inputs))
        costs = costs or _costs(dataset, predictor, opened)
    assert costs is not None
    return outputs, costs


def _costs(dataset: "Dataset", predictor: "Predictor", opened: Callable[[], "Predictor"]) -> Costs:
    from nightune.models.networks.model_costs import costs_of_weights, cpu_latency_ms  # noqa: PLC0415 - Keras

    size_mb = costs_of_weights(predictor.model.get_weights())["size_mb"]
    return Costs(size_mb, cpu_latency_ms(opened, dataset.raw_example))


def _opened(dataset: "Dataset", description: dict[str, Any], file: Path) -> "Predictor":
    from nightune.models.serving.predictor import Predictor, open_model  # noqa: PLC0415 - Keras

    return Predictor(open_model(file), dataset.preprocessing, description)


def _summaries(
    setting: Setting, dataset: "Dataset", head: "Head", rows: "Examples", outputs: Sequence[np.ndarray]
) -> list[HeadSummary]:
    """Return the summary of each head, of several the first ones."""
    from nightune.models.networks.joint_heads import JointHead  # noqa: PLC0415 - Keras

    columns, why = _columns(dataset, rows)
    if not isinstance(head, JointHead):
        decided = setting.study.objective.threshold_of()
        return [_summary(dataset, head, rows, outputs, columns, why, decided)]
    return [
        replace(
            _summary(
                dataset.of_head(part.data),
                part.head,
                rows.of_head(part.data),
                [np.asarray(part.outputs(each)) for each in outputs],
                columns,
                why,
                setting.study.objective.threshold_of(part.data.name),
            ),
            name=part.data.name,
        )
        for part in head.parts[:MOST_HEADS]
    ]


def _summary(
    dataset: "Dataset",
    head: "Head",
    rows: "Examples",
    outputs: Sequence[np.ndarray],
    columns: Sequence[HeldColumn],
    why: str,
    threshold: str | float,
) -> HeadSummary:
    from nightune.models.networks.held_out_answers import held_out_answers  # noqa: PLC0415 - Keras

    if isinstance(dataset.output_size, tuple):
        return HeadSummary(why=SEVERAL_AXES)
    if head.parameters:
        return HeadSummary(why=NO_QUANTITIES)
    found = held_out_answers(outputs, dataset, head, rows, threshold)
    kind = {"regression": "quantities", "multilabel": "labels"}.get(dataset.task, "classes")
    answers = Answers(
        kind=kind,
        names=_names(dataset),
        truths=found.truths,
        predicted=found.predicted,
        losses=found.losses.mean(axis=0),
        weights=np.ones(len(rows)) if rows.weights is None else rows.weights.astype(np.float64),
        measure=found.measure,
        quantiles=head.quantiles,
        numbers=_numbers(dataset),
    )
    if found.probabilities is not None:
        answers = answers.with_probabilities(found.probabilities)
    return replace(summarize(answers, columns, why), is_weighted=rows.weights is not None)


def _names(dataset: "Dataset") -> tuple[str, ...]:
    if dataset.task != "regression":
        return tuple(value_text(str(each), NAME_CHARACTERS) for each in dataset.classes or ())
    named = dataset.description.get("outputs") or [dataset.description.get("target", "")]
    return tuple(str(each) for each in named) if dataset.output_count == len(named) else ()


def _numbers(dataset: "Dataset") -> np.ndarray | None:
    """Return the numbers in the source of the rows that answer; the last fold's are those of the validation split."""
    name = "validation" if dataset.folds or dataset.ranking_apart is None else "ranking"
    return dataset.row_numbers.get(name)


def _columns(dataset: "Dataset", rows: "Examples") -> tuple[list[HeldColumn], str]:
    """Return the columns of the table that the rows are from, or why they have none."""
    from nightune.models.data.held_columns import column_values  # noqa: PLC0415 - pandas

    if dataset.preprocessing is None:
        return [], "the source holds arrays, which have no named columns"
    if dataset.folds:
        return [], "with folds the columns of the held-out rows are not kept in their units"
    found = [HeldColumn(*each) for each in column_values(dataset.preprocessing, rows.inputs)]
    return found, "" if found else "the columns are texts, images or hashed labels, which have no slices"
