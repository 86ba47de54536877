"""What models answer to held-out rows, as arrays of all models of a finalist."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of several models to the same rows, and the loss of each row as a mean over the models.

    `kind` is "classes", "labels" or "quantities". Of classes, `truths` are their places, (rows,), `predicted` those of
    the models, (models, rows); `shares` are the probabilities, (models, rows), of the event whose outcome is `hits`: of
    two classes the second one, else the predicted one; `truth_shares` those of the true class. Of labels all are 0 and
    1 or probabilities, (models, rows, labels). Of quantities they are in the units of the data, (models, rows,
    columns), of quantiles a column for each level. Without probabilities, `shares` are None.
    """

    kind: str
    names: tuple[str, ...]  # of classes, labels or quantities
    truths: np.ndarray
    predicted: np.ndarray
    losses: Array  # (rows,)
    weights: Array  # (rows,)
    measure: str
    shares: Array | None = None
    hits: npt.NDArray[np.bool_] | None = None
    truth_shares: Array | None = None
    quantiles: tuple[float, ...] = ()
    numbers: np.ndarray | None = None  # of the rows in the source
    seed: int = 0  # of what chance would make: equal for equal answers

    def with_probabilities(self, probabilities: Array) -> "Answers":
        """Return the answers with those of all classes or labels, (models, rows, size)."""
        if self.kind == "labels":
            return replace(self, shares=probabilities)
        rows = np.arange(len(self.truths))
        if len(self.names) == 2:
            shares, hits = probabilities[:, :, 1], np.broadcast_to(self.truths == 1, self.predicted.shape)
        else:
            shares = np.take_along_axis(probabilities, self.predicted[:, :, None], axis=2)[:, :, 0]
            hits = self.predicted == self.truths
        return replace(self, shares=shares, hits=hits, truth_shares=probabilities[:, rows, self.truths])

    def weighing(self) -> "Answers":
        """Return the answers to the rows with a weight above 0."""
        rows = np.flatnonzero(self.weights)
        if len(rows) == len(self.weights):
            return self
        by_row = {name: getattr(self, name) for name in ("truths", "losses", "weights", "numbers")}
        by_model = {name: getattr(self, name) for name in ("predicted", "shares", "hits", "truth_shares")}
        return replace(
            self,
            **{name: each[rows] for name, each in by_row.items() if each is not None},
            **{name: each[:, rows] for name, each in by_model.items() if each is not None},
        )

    def mean(self, values: np.ndarray) -> float:
        """Return the mean of values of rows by their weights, over the models if there are several."""
        flat = np.asarray(values, np.float64)
        return float(np.average(flat if flat.ndim == 1 else flat.mean(axis=0), weights=self.weights))
