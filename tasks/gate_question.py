"""What the promotion gate compares two configurations in, on which rows, and both sides of the comparison."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nightune.models.data.heads import HeadData, metric_of_head
from nightune.models.errors import InputError
from nightune.models.serving.head_outputs import own_outputs
from nightune.models.serving.input_trees import ArrayTree
from nightune.tuning.analysis.metric_gain import FEWEST_RESAMPLES, Cost, Side, UndefinedMetricError, refuse_undefined
from nightune.tuning.analysis.promotion_gate import Guard
from nightune.tuning.analysis.resampling import TestRows
from nightune.vocabulary import OBJECTIVES, VALIDATION_PREFIX

if TYPE_CHECKING:
    from nightune.models.data.dataset import Dataset, UnsealedExamples
    from nightune.models.networks.heads import Head
    from nightune.models.networks.own_metrics import OwnMetric
    from nightune.models.networks.row_losses import Measure
    from nightune.models.networks.truth import Truth

OWN_COST = Cost(20, FEWEST_RESAMPLES)  # of a user's function, which is called for each resample
FEW_ROWS, RARE_SHARE = 30, 0.2  # fewer test rows of a class, which also is a smaller share of them, are weak evidence


@dataclass(frozen=True, eq=False)
class Question:
    """The study's objective on the test rows; `measure` is the loss of a row that belongs to it."""

    dataset: "Dataset"
    truth: "Truth"
    objective: str
    measure: "Measure"
    rows: TestRows
    is_row_mean: bool
    own: "OwnMetric | None" = None  # the user's function, if the objective is one
    of_head: str = ""  # of several heads the one that is judged, as if it were the only one
    places: np.ndarray | None = None  # of its rows with a weight among the test rows; None for all

    @classmethod
    def of(
        cls,
        dataset: "Dataset",
        test: "UnsealedExamples",
        objective: str,
        head: "Head",
        own: "OwnMetric | None" = None,
    ) -> "Question":
        """Settle the comparison from the study's objective, the test split and the candidate's head.

        Of several heads the metric of one, or a user's function of one, judges this one alone. Rows that weigh nothing
        for it, or of the sum of all losses for none of them, are no evidence.
        """
        from nightune.models.networks.joint_heads import JointHead  # noqa: PLC0415 - Keras
        from nightune.models.networks.joint_measures import measure_of_objective  # noqa: PLC0415
        from nightune.models.networks.row_answers import classes_of  # noqa: PLC0415
        from nightune.models.networks.rows_as_trained import weighing_rows  # noqa: PLC0415
        from nightune.models.networks.truth import truth  # noqa: PLC0415
        from nightune.models.networks.weighted_metrics import is_row_mean  # noqa: PLC0415

        judged = _judged(dataset, objective, own)
        placed = replace(
            test, inputs=np.arange(len(test)), table=None
        )  # no inputs are read here: places stand for them
        if judged is None and (weighing := weighing_rows(head, test)) is not None:
            question = cls.of(dataset, placed.part(weighing), objective, head, own)
            return replace(question, places=weighing)
        if judged is not None and isinstance(head, JointHead):
            data, metric = judged
            known = placed.of_head(data).weighing()
            places = None if known.weights is None else np.asarray(known.inputs)
            question = cls.of(dataset.of_head(data), known, metric, head.part(data.name).head, own)
            return replace(question, of_head=data.name, places=places)
        wanted, is_mean = truth(dataset, test), is_row_mean(objective)
        if wanted.at_positions:  # rows may have different numbers of positions with a class
            is_mean = objective == "val_loss"
        has_classes = not (is_mean or wanted.at_positions or wanted.is_regression or wanted.labels is not None)
        classes = classes_of(wanted, dataset) if has_classes else None
        rows = TestRows(len(test), test.groups, classes, None if test.weights is None else test.weights.astype(float))
        measure = measure_of_objective(objective, dataset, head)
        return cls(dataset, wanted, objective, measure, rows, is_mean, own)

    @property
    def direction(self) -> str:
        """The direction of improvement."""
        return self.own.direction if self.own else OBJECTIVES[self.objective]

    @property
    def loss(self) -> str:
        """The loss that is compared, in words, and that rows are weighted if they are."""
        metric = self.objective.removeprefix(VALIDATION_PREFIX)
        of_metric = metric if self.direction == "minimize" else f"1 - {metric}"
        weighted = "" if self.rows.weights is None else " (rows by their weights)"
        of_head = f" of {self.of_head}" if self.of_head else ""
        return f"{self.measure if self.is_row_mean else of_metric}{of_head}{weighted}"

    @property
    def has_positions(self) -> bool:
        """True if targets have several axes, whose positions may be thousands."""
        return isinstance(self.dataset.output_size, tuple)

    @property
    def cost(self) -> Cost:
        """How costly the objective is to compute."""
        from nightune.models.networks.weighted_metrics import cost_of  # noqa: PLC0415 - Keras

        if self.own:
            return OWN_COST
        has_columns = self.truth.labels is not None and not self.has_positions
        return Cost(1 if self.is_row_mean or has_columns else cost_of(self.objective, self.dataset.output_count))

    def side(self, parts: Path, siblings: Sequence[Path], inputs: ArrayTree) -> Side:
        """Measure all models of a version: the serving model first, then those of other seeds.

        A model whose outputs are not finite has NaN as losses, and no metric.
        """
        from nightune.models.networks.own_baselines import own_model_metric  # noqa: PLC0415 - Keras
        from nightune.models.networks.row_answers import model_metric  # noqa: PLC0415
        from nightune.models.networks.row_losses import losses_of_outputs  # noqa: PLC0415
        from nightune.models.serving.predictor import Predictor  # noqa: PLC0415

        losses, metrics = [], []
        for file in (None, *siblings):
            predictor = Predictor.open(parts, file)
            outputs = predictor.outputs(inputs)
            outputs = outputs if self.places is None else outputs[self.places]
            if self.of_head:
                predictor = predictor.of_head(self.of_head)
                outputs = own_outputs(outputs, predictor.description)
            losses.append(losses_of_outputs(predictor, outputs, self.truth, self.measure))
            if self.own and np.isfinite(losses[-1]).all():
                metrics.append(own_model_metric(self.own, predictor, outputs, self.truth, self.dataset))
            elif not self.is_row_mean and np.isfinite(losses[-1]).all():
                metrics.append(model_metric(predictor, outputs, self.truth, self.dataset, self.objective))
        return Side(np.stack(losses), tuple(metrics), self.cost)

    @cached_property
    def baseline(self) -> Side:
        """The prediction that ignores the inputs, measured once: the best constant of some losses takes seconds."""
        from nightune.models.networks.own_baselines import own_trivial_metric  # noqa: PLC0415 - Keras
        from nightune.models.networks.row_answers import trivial_metric  # noqa: PLC0415
        from nightune.models.networks.row_losses import trivial_losses  # noqa: PLC0415

        losses = trivial_losses(self.dataset, self.truth, self.measure)[None]
        if self.is_row_mean:
            return Side(losses)
        if self.own:
            return Side(losses, (own_trivial_metric(self.own, self.dataset, self.truth, self.measure),), self.cost)
        return Side(losses, (trivial_metric(self.dataset, self.truth, self.objective),), self.cost)

    def undefined(self) -> list[Guard]:
        """Return a failed guard if the objective, or its variance, is not defined on the test rows."""
        from nightune.models.networks.row_answers import undefined_reason  # noqa: PLC0415 - Keras

        reason = "" if self.own else undefined_reason(self.truth, self.dataset, self.objective)
        try:
            if not reason:
                refuse_undefined(self.baseline, self.rows)
        except (UndefinedMetricError, InputError) as error:  # the user's function raised
            reason = str(error)
        return [self.incomparable(reason)] if reason else []

    def incomparable(self, reason: str) -> Guard:
        """Return the failed guard of an objective that cannot be compared."""
        metric = self.objective.removeprefix(VALIDATION_PREFIX)
        named = f"{VALIDATION_PREFIX}{self.of_head}_{metric}" if self.of_head else self.objective
        return Guard("metric", False, f"{named} cannot be compared: {reason}")

    def notes(self) -> list[str]:
        """Say on which evidence the comparison is weaker than its interval: rare classes, groups that are unknown."""
        return [*self._rare_classes(), *self._unknown_groups()]

    def _rare_classes(self) -> list[str]:
        """Say how few test rows show what a model does with a rare class or label."""
        wanted, count = self.truth, len(self.truth.values)
        if wanted.is_regression or self.has_positions:  # positions are no names of labels
            return []
        of_labels = wanted.labels is not None
        kinds = self.dataset.classes or ()
        found = [
            int(np.sum(wanted.values[:, place] == 1 if of_labels else wanted.values == kind))
            for place, kind in enumerate(kinds)
        ]
        rare = sorted((each, place) for place, each in enumerate(found) if each < min(FEW_ROWS, RARE_SHARE * count))
        if not rare:
            return []
        what, whats = ("label", "rare labels") if of_labels else ("class", "rare classes")
        shown = ", ".join(f"{each} have the {what} {kinds[place]!r}" for each, place in rare[:3])
        more = f", and {len(rare) - 3} more are rare" if len(rare) > 3 else ""
        remedy = "add rows, or raise data.split.test"
        return [f"weak evidence about {whats}: of {count} test rows {shown}{more}; {remedy}"]

    def _unknown_groups(self) -> list[str]:
        """Say that rows of one group were taken for independent ones, in data that an earlier version has prepared."""
        if self.rows.groups is not None or self.dataset.description["split"]["kind"] != "group":
            return []
        return [
            "the groups of the test rows are not recorded, so that the interval may be too narrow: "
            "`nightune tune STUDY` records them"
        ]


def _judged(dataset: "Dataset", objective: str, own: "OwnMetric | None") -> tuple[HeadData, str] | None:
    """Return the one of several heads that is judged, and its own metric; None for one target and for `val_loss`."""
    if own is None:
        return metric_of_head(objective, dataset.heads)
    head = next((each for each in dataset.heads if each.name == own.head), None)
    return None if head is None else (head, f"{VALIDATION_PREFIX}{own.name}")
