"""Report targets that make training or ranking hard: large or constant quantities, classes missing from a split."""

from typing import Any

import numpy as np

from nightune.models.data.splits import Rows
from nightune.models.data.target_matrix import listed
from nightune.models.data.targets import Targets

LARGE = 100.0  # a larger mean or standard deviation trains badly with common learning rates


def target_findings(targets: Targets, rows: Rows) -> list[str]:
    """Report targets that make training or ranking hard: large or constant quantities, classes missing from a split."""
    if targets.task == "regression":
        return _quantity_findings(targets, rows)
    if targets.shape:
        return []
    splits = [("training", rows.train), ("validation", rows.validation), ("ranking", rows.ranking), ("test", rows.test)]
    held = [(name, targets.values[index]) for name, index in splits if index is not None]
    return [finding for name, values in held for finding in _missing_findings(targets, name, values)]


def _quantity_findings(targets: Targets, rows: Rows) -> list[str]:
    known = targets.values[rows.train].astype(np.float64)
    findings = []
    if known.ndim == 2 and not targets.shape and not (varies := np.ptp(known, axis=0) > 0).all():
        columns = [targets.names[place] if targets.names else int(place) for place in np.flatnonzero(~varies)]
        findings.append(f"target: {listed(columns)} the same in all training rows; there is nothing to learn")
    if targets.deviation is not None:
        return findings
    mean, deviation = _largest(known.mean(axis=0)), _largest(known.std(axis=0))
    if max(abs(mean), deviation) > LARGE:
        findings.append(
            f"target: large numbers (mean {mean:.4g}, standard deviation {deviation:.4g}) train badly; "
            "consider scale_target = true in [data]; metrics are then in standard deviations, and val_mae_original and "
            "val_rmse_original in the units of the target"
        )
    return findings


def _missing_findings(targets: Targets, split: str, values: np.ndarray) -> list[str]:
    """Report the classes that no row of a split has, and the labels that no row has or each one."""
    assert targets.classes is not None  # set for every classification
    if targets.task == "multilabel":
        counts = values.sum(axis=0)
        found = {f"no {split} row has label": counts == 0, f"every {split} row has label": counts == len(values)}
    else:
        seen = np.isin(np.arange(len(targets.classes)), values)
        found = {f"no {split} row has class": ~seen}
    findings = []
    for what, places in found.items():
        labels = [repr(label) for label, is_found in zip(targets.classes, places, strict=True) if is_found]
        if labels:
            names = ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
            findings.append(f"target: {what} {names}; use a stratified split, or add rows")
    return findings


def _largest(values: Any) -> float:
    flat = np.atleast_1d(values)
    return float(flat[np.argmax(np.abs(flat))])
