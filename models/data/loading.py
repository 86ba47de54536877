"""Data ready for training: read from where a study says it is, split, made numbers, and looked at for leaks."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.dataset import Dataset, Examples, Purpose, SealedExamples, UnsealedExamples
from nightune.models.data.leakage import leakage_findings
from nightune.models.data.placement import gather
from nightune.models.data.sources import KEY, Material, read_source, refuse_non_finite
from nightune.models.data.splits import Rows, Split, split_rows
from nightune.models.data.storage import data_placement, open_dataset, preprocessing_files, read_split, save_dataset
from nightune.models.data.targets import Targets, read_targets, refuse_single_members, standardize, target_findings
from nightune.models.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Dataset",
    "Examples",
    "Split",
    "data_placement",
    "load_dataset",
    "open_dataset",
    "preprocessing_files",
    "read_split",
    "save_dataset",
]

EXAMPLE_ROWS = 5


def load_dataset(  # noqa: PLR0913 - one argument a key of the study's [data]
    source: str,
    *,
    folder: Path,
    target: str | None = None,
    task: str | None = None,
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    split: Split | None = None,
    seed: int = 0,
    scale_target: bool = False,
) -> Dataset:
    """Read, split and prepare the data of a study; InputError names the key that is wrong and the remedy.

    Relative paths start at the folder. `seed` splits the rows where the split has no seed of its own.
    """
    split = split or Split()
    split = split if split.seed is not None else replace(split, seed=seed)
    request = _Request(source, target, task, tuple(drop), tuple(categorical), split, scale_target)
    material = read_source(source, folder)
    prepared = _from_arrays(material, request) if material.table is None else _from_table(material, request)
    if prepared.inputs.dtype.kind == "f":
        refuse_non_finite(prepared.inputs, source)
    return _assemble(prepared, source)


@dataclass(frozen=True)
class _Request:
    """The keys of [data]."""

    source: str
    target: str | None
    task: str | None
    drop: tuple[str, ...]
    categorical: tuple[str, ...]
    split: Split
    scale_target: bool

    def refuse_table_keys(self) -> None:
        """Arrays have no columns to name."""
        given = {
            "target": self.target,
            "drop": self.drop,
            "categorical": self.categorical,
            "split.column": self.split.column,
        }
        for name, value in given.items():
            if value:
                raise InputError(f"data.{name}", f"counts only for tables; {self.source} holds arrays, without columns")


@dataclass(frozen=True, eq=False)
class _Prepared:
    """All rows as numbers, and where they go."""

    inputs: np.ndarray
    targets: Targets
    split: Split  # with its kind settled
    rows: Rows
    findings: list[str]
    preprocessing: Any = None
    target_name: str | None = None
    features: "pd.DataFrame | None" = None  # as the table holds them

    def examples(self, index: np.ndarray) -> Examples:
        """The examples of these rows."""
        return Examples(gather(self.inputs, index), self.targets.values[index])

    def unsealed(self, index: np.ndarray) -> UnsealedExamples:
        """The examples of these rows, with their rows of the table."""
        table = None if self.features is None else self.features.iloc[index].reset_index(drop=True)
        return UnsealedExamples(gather(self.inputs, index), self.targets.values[index], table)


def _from_arrays(material: Material, request: _Request) -> _Prepared:
    request.refuse_table_keys()
    assert material.inputs is not None  # what a material without a table holds
    assert material.targets is not None
    inputs = material.inputs
    targets = read_targets(material.targets, request.task or material.task, KEY)
    split = _settle(request.split, targets)
    rows = split_rows(split, targets.values, None)
    targets, findings = _finish(targets, rows, request.scale_target)
    columns = {}
    if inputs.ndim == 2:
        columns = {f"input {index}": inputs[:, index] for index in range(inputs.shape[1])}
    leaks = leakage_findings(inputs, columns, targets, rows, "leave it out of the inputs")
    return _Prepared(inputs, targets, split, rows, [*material.findings, *findings, *leaks])


def _from_table(material: Material, request: _Request) -> _Prepared:
    from nightune.models.data.tables import fit_preprocessing, split_keys, take_apart  # noqa: PLC0415
    from nightune.models.serving.preprocessing import clean_table  # noqa: PLC0415 - only where tables are

    assert material.table is not None  # the caller looked
    name = request.target or material.target
    parts = take_apart(material.table, name, request.drop, request.split.column)
    task = request.task or (material.task if name == material.target else None)
    targets = read_targets(parts.targets, task, "data.target")
    split = _settle(request.split, targets)
    keys = None if parts.split_column is None else split_keys(parts.split_column, split.kind == "time")
    rows = split_rows(split, targets.values, keys)
    targets, findings = _finish(targets, rows, request.scale_target)
    preprocessing, remarks = fit_preprocessing(parts.features, rows.train, request.categorical)
    cleaned = clean_table(parts.features, preprocessing.columns)
    inputs = preprocessing.transform_clean(cleaned)
    columns = {column: cleaned[column].to_numpy() for column in cleaned.columns}
    leaks = leakage_findings(inputs, columns, targets, rows, 'leave it out: drop = ["{name}"] in [data]')
    findings = [*parts.findings, *findings, *remarks, *leaks]
    return _Prepared(inputs, targets, split, rows, findings, preprocessing, name, parts.features)


def _settle(split: Split, targets: Targets) -> Split:
    """Give a split without a kind its usual one, and refuse a stratified one where it cannot be."""
    settled = replace(split, kind=split.kind or ("random" if targets.task == "regression" else "stratified"))
    if settled.kind == "stratified":
        refuse_single_members(targets)
    return settled


def _finish(targets: Targets, rows: Rows, scale_target: bool) -> tuple[Targets, list[str]]:
    if scale_target:
        targets = standardize(targets, rows.train)
    return targets, [*targets.findings, *rows.findings, *target_findings(targets, rows)]


def _assemble(prepared: _Prepared, source: str) -> Dataset:
    targets, rows = prepared.targets, prepared.rows
    test = prepared.unsealed(rows.test)
    dataset = Dataset(
        train=prepared.examples(rows.train),
        validation=prepared.examples(rows.validation),
        test=SealedExamples(len(test), lambda: test),
        task=targets.task,
        classes=targets.classes,
        version="",
        findings=tuple(prepared.findings),
        preprocessing=prepared.preprocessing,
        description={},
        ranking_apart=None if rows.ranking is None else prepared.examples(rows.ranking),
        example=None if prepared.features is None else prepared.features.iloc[rows.train[:EXAMPLE_ROWS]],
    )
    version = _version(dataset, targets)
    return replace(dataset, version=version, description=_describe(dataset, version, prepared, source))


def _version(dataset: Dataset, targets: Targets) -> str:
    """16 hexadecimal digits over all that training and prediction read: the arrays, and how they were made."""
    preprocessing = dataset.preprocessing
    content = {
        "task": dataset.task,
        "classes": dataset.classes,
        "target_scale": [targets.mean, targets.deviation],
        "preprocessing": None if preprocessing is None else preprocessing.content,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode())
    test = dataset.test.open(Purpose.PREPARATION, record=lambda: None)
    splits = {"train": dataset.train, "validation": dataset.validation, "test": test}
    if dataset.ranking_apart is not None:
        splits["ranking"] = dataset.ranking_apart
    for name, examples in splits.items():
        for array in (examples.inputs, examples.targets):
            portable = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{name} {portable.dtype.str} {portable.shape} ".encode())
            digest.update(portable.data)
    return digest.hexdigest()[:16]


def _describe(dataset: Dataset, version: str, prepared: _Prepared, source: str) -> dict[str, Any]:
    """Plain values for people, and for a model that predicts from raw rows later."""
    targets, preprocessing = prepared.targets, prepared.preprocessing
    description: dict[str, Any] = {
        "version": version,
        "source": source,
        "task": dataset.task,
        "classes": None if dataset.classes is None else list(dataset.classes),
        "sizes": dataset.sizes,
        "input_shape": list(dataset.input_shape),
        "input_type": str(dataset.train.inputs.dtype),
        "output_size": dataset.output_size,
        "split": asdict(prepared.split),
    }
    if targets.mean is not None and targets.deviation is not None:
        description["target_scale"] = {"mean": list(targets.mean), "deviation": list(targets.deviation)}
    if preprocessing is not None:
        description["target"] = prepared.target_name
        description["columns"] = [asdict(column) for column in preprocessing.columns]
        description["features"] = list(preprocessing.feature_names)
    return {**description, "findings": list(dataset.findings)}
