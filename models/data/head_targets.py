"""Several targets, one for each head of a model: each is settled by itself, and all are columns of one array."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nightune.models.data import targets as single
from nightune.models.data.heads import HeadData, of_head
from nightune.models.data.positions import IGNORE_KEY
from nightune.models.data.raw_data import RawData
from nightune.models.data.splits import Rows
from nightune.models.data.target_findings import target_findings as one_target_findings
from nightune.models.data.targets import Targets
from nightune.models.errors import InputError
from nightune.vocabulary import HEADS, POSITIONS, POSITIONS_SAID


def encode_targets(raw: RawData) -> Targets:
    """Settle the task, and convert the targets, of several heads each by itself; InputError names the head."""
    if not raw.heads:
        return single.encode_targets(raw)
    named = []
    for name, values in raw.heads.items():
        columns = raw.head_columns.get(name)
        one = replace(raw, heads={}, targets=values, task=raw.tasks.get(name), target_names=columns)
        if not single.are_positions(one):
            one = replace(one, ignore_class=None)
        try:
            read = single.encode_targets(one)
        except InputError as error:
            raise InputError(error.key, f"target {name!r}: {of_head(error.message, name)}") from error
        said = (*read.findings, *_positions_finding(read))
        found = tuple(_named(finding, name) for finding in said)
        named.append((name, replace(read, findings=found, weights=raw.head_weights.get(name))))
    if raw.ignore_class is not None and all(each.task != POSITIONS for _, each in named):
        first = next(iter(raw.heads))
        problem = "it is read only for a class at each position, of a target of several axes"
        raise InputError(IGNORE_KEY, f'{problem} with task = {{ {first} = "classification" }}; remove it')
    _refuse_alike_metrics(named)
    return _packed(named)


def standardize(targets: Targets, train: np.ndarray) -> Targets:
    """Shift and scale quantities, of several heads those of each one, by the moments of the training rows.

    Rows that weigh nothing for a head may hold anything, and are left out of its moments.
    """
    if not targets.heads:
        return single.standardize(targets, train)
    if all(each.task != "regression" for _, each in targets.heads):
        raise InputError("data.scale_target", "true applies only to regression, and no head has it; leave it out")
    scaled = []
    for name, each in targets.heads:
        try:
            known = _with_weight(each, train)
            scaled.append((name, single.standardize(each, known) if each.task == "regression" else each))
        except InputError as error:
            raise InputError(error.key, f"target {name!r}: {error.message}") from error
    return _packed(scaled)


def target_findings(targets: Targets, rows: Rows) -> list[str]:
    """Report targets that make training or ranking hard, of several heads with the name of each.

    Rows that weigh nothing for a head are left out.
    """
    if not targets.heads:
        return one_target_findings(targets, rows)
    pairs = targets.heads
    found = ((name, one_target_findings(each, _weighing(each, rows))) for name, each in pairs)
    return [_named(finding, name) for name, findings in found for finding in findings]


def described_heads(targets: Targets, raw: RawData) -> list[dict[str, Any]]:
    """Return what the description of data says of each head, in the order of the columns; empty for one target."""
    described, start = [], 0
    behind = sum(_size(each) for _, each in targets.heads)
    for name, each in targets.heads:
        size = _size(each)
        scale = None if each.mean is None or each.deviation is None else (each.mean, each.deviation)
        is_one_hot = raw.heads[name].ndim == 2 and each.values.ndim == 1
        has_names = each.names is not None and each.values.ndim == 2
        facts: dict[str, Any] = {
            "name": name,
            "task": each.task,
            "classes": None if each.classes is None else list(each.classes),
            "columns": [start, start + size],
            "output_size": _output_size(each, size),
        }
        facts |= {"is_column": True} if each.values.ndim == 1 else {}
        facts |= {"target_scale": {"mean": list(scale[0]), "deviation": list(scale[1])}} if scale else {}
        facts |= {"target_shape": list(each.shape)} if each.shape else {}
        facts |= {"is_one_hot": True} if is_one_hot else {}
        facts |= {"outputs": list(each.names)} if has_names and each.names else {}
        if each.weights is not None:
            facts["weight_column"] = behind
            facts |= {"average": "rows"} if each.weights.by_rows else {}
            behind += 1
        described.append(facts)
        start += size
    return described


def measured_values(targets: Targets, values: np.ndarray) -> np.ndarray:
    """Return rows of targets as metrics read them: weights of heads are 1 if they are those of training alone."""
    weighted = [each.weights for _, each in targets.heads if each.weights is not None]
    if not any(each.by_rows for each in weighted):
        return values
    alike = values.copy()
    alike[:, -len(weighted) :] = 1.0
    return alike


def refuse_without_weight(targets: Targets, rows: Rows) -> None:
    """Refuse splits in which all rows of a head have the weight 0."""
    for name, each in targets.heads:
        if each.weights is not None:
            try:
                each.weights.refuse_without_weight(rows)
            except InputError as error:
                raise InputError(error.key, f"head {name!r}: {error.message}") from error


def weight_findings(targets: Targets, train: np.ndarray) -> list[str]:
    """Report weights of the rows of single heads."""
    weighted = [(name, each.weights) for name, each in targets.heads if each.weights is not None]
    return [f"head {name!r}: {finding}" for name, each in weighted for finding in each.findings(train)]


def _with_weight(targets: Targets, index: np.ndarray) -> np.ndarray:
    """Return those of some rows that weigh something for a head."""
    return index if targets.weights is None else index[targets.weights.values[index] > 0]


def _weighing(targets: Targets, rows: Rows) -> Rows:
    """Return the rows of each split that weigh something for a head: of training alone, if metrics weigh all alike."""
    train = _with_weight(targets, rows.train)
    if targets.weights is None or targets.weights.by_rows:
        return replace(rows, train=train)
    ranking = None if rows.ranking is None else _with_weight(targets, rows.ranking)
    validation, test = _with_weight(targets, rows.validation), _with_weight(targets, rows.test)
    return replace(rows, train=train, validation=validation, test=test, ranking=ranking)


def _positions_finding(targets: Targets) -> tuple[str, ...]:
    """Say that a head is read as positions; its accuracy is no share of rows."""
    if targets.task != POSITIONS:
        return ()
    return (f"target: of shape {targets.shape}, read {POSITIONS_SAID}, of {len(targets.classes or ())} classes",)


def _size(targets: Targets) -> int:
    return int(targets.values.reshape(len(targets.values), -1).shape[1])


def _output_size(targets: Targets, size: int) -> int:
    """Return the number of outputs of a head with so many columns: of several classes one for each of them."""
    count = len(targets.classes or ())
    if targets.task == POSITIONS:
        return size * count
    return count if targets.task == "multiclass" and count else size


def _packed(named: Sequence[tuple[str, Targets]]) -> Targets:
    """Return all targets as columns of one array; class indices below 2**24 stay exact in float32.

    The weights of the rows of heads that have their own are columns behind them.
    """
    columns = [each.values.reshape(len(each.values), -1).astype(np.float32) for _, each in named]
    columns += [each.weights.values[:, None] for _, each in named if each.weights is not None]
    findings = tuple(finding for _, each in named for finding in each.findings)
    return Targets(np.concatenate(columns, axis=1), HEADS, findings=findings, heads=tuple(named))


def _refuse_alike_metrics(named: Sequence[tuple[str, Targets]]) -> None:
    """Refuse names of heads that give two metrics one name, as `a` and `a_label` do with `label_accuracy`."""
    seen: dict[str, str] = {}
    for name, each in named:
        for metric in HeadData.metrics_of(each.task):
            curve = f"{name}_{metric}"
            if curve in seen:
                problem = f"targets {seen[curve]!r} and {name!r} both have a metric val_{curve}; rename one of them"
                raise InputError("data.source", problem)
            seen[curve] = name


def _named(finding: str, name: str) -> str:
    return of_head(finding.replace("target:", f"target {name!r}:", 1), name)
