"""Assemble encoded rows into a Dataset, with the version and the description of its content."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.class_names import described_names
from nightune.models.data.dataset import Dataset, Examples, SealedExamples, UnsealedExamples
from nightune.models.data.head_targets import described_heads, measured_values
from nightune.models.data.placement import gather
from nightune.models.data.raw_data import RawData
from nightune.models.data.splits import Rows, Split
from nightune.models.data.targets import Targets
from nightune.models.serving.input_trees import ArrayTree, example_types, map_arrays, named_arrays, plain_shape
from nightune.models.serving.preprocessing import TablePreprocessing

if TYPE_CHECKING:
    import pandas as pd

EXAMPLE_ROWS = 5
LATER_KEYS = ("gap", "allow_overlap", "folds")  # of a split; left out if not used, as in earlier versions


@dataclass(frozen=True, eq=False)
class EncodedData:
    """All rows of a study's data as numbers, and the split that each row belongs to."""

    source: str
    raw: RawData
    inputs: ArrayTree
    targets: Targets
    preprocessing: TablePreprocessing | None
    split: Split  # with a kind
    rows: Rows
    findings: tuple[str, ...]
    groups: np.ndarray | None = None  # of a group split: one integer per row
    folds: tuple[tuple[Examples, Examples], ...] = ()  # what each trains and validates on

    @property
    def is_one_hot(self) -> bool:
        """True if the source holds classes as rows with one 1: a user's own loss reads classes in that form."""
        return not self.targets.heads and self.raw.targets.ndim == 2 and self.targets.values.ndim == 1

    def examples(self, index: np.ndarray, is_trained: bool = False) -> Examples:
        """The examples of these rows, with their weights unless only the trained ones have any."""
        given = self.raw.weights
        weights = None if given is None or (given.by_rows and not is_trained) else given.values[index]
        inputs, targets = map_arrays(lambda array: gather(array, index), self.inputs), self.targets.values[index]
        return Examples(inputs, targets if is_trained else measured_values(self.targets, targets), weights=weights)

    def table(self, index: np.ndarray) -> "pd.DataFrame | None":
        """These rows as the table holds them; None if the source holds arrays."""
        features: Any = self.raw.inputs
        return None if self.raw.has_arrays else features.iloc[index]

    def unsealed(self, index: np.ndarray) -> UnsealedExamples:
        """The examples of these rows, with their rows of the table numbered from 0."""
        examples, table = self.examples(index), self.table(index)
        numbered = None if table is None else table.reset_index(drop=True)
        groups = None if self.groups is None else self.groups[index]
        return UnsealedExamples(examples.inputs, examples.targets, numbered, groups, weights=examples.weights)


def assemble(data: EncodedData) -> Dataset:
    """Gather the examples of each split, and seal the test split."""
    rows, test = data.rows, data.unsealed(data.rows.test)
    # The version depends on the order of the splits.
    splits = {
        "train": data.examples(rows.train, is_trained=True),
        "validation": data.examples(rows.validation),
        "test": test,
    }
    if rows.ranking is not None:
        splits["ranking"] = data.examples(rows.ranking)
    for number, (train, validation) in enumerate(data.folds, start=1):
        splits |= {f"fold {number} train": train, f"fold {number} validation": validation}
    dataset = Dataset(
        train=splits["train"],
        validation=splits["validation"],
        test=SealedExamples(len(test), lambda: test),
        task=data.targets.task,
        classes=data.targets.classes,
        version=_version(splits, data),
        findings=data.findings,
        preprocessing=data.preprocessing,
        description={},
        ranking_apart=splits.get("ranking"),
        example=data.table(rows.train[:EXAMPLE_ROWS]),
        row_numbers=_row_numbers(data),
    )
    described = replace(dataset, description=_describe(dataset.with_folds(data.folds), data))
    return described.with_folds(data.folds)


def _row_numbers(data: EncodedData) -> dict[str, np.ndarray]:
    """Return the numbers in the source of the rows that rank trials; of the sealed ones none are kept."""
    rows, numbers = {"validation": data.rows.validation, "ranking": data.rows.ranking}, data.raw.numbers
    return {} if numbers is None else {name: numbers[index] for name, index in rows.items() if index is not None}


def _version(splits: Mapping[str, Examples], data: EncodedData) -> str:
    """16 hexadecimal digits of a hash over all that training and prediction read: the arrays and their preparation."""
    targets, preprocessing = data.targets, data.preprocessing
    content = {
        "task": targets.task,
        "classes": targets.classes,
        "target_scale": [targets.mean, targets.deviation],
        "preprocessing": None if preprocessing is None else preprocessing.content,
        **({"target_shape": list(targets.shape)} if targets.shape else {}),
        # Left out otherwise, as in earlier versions.
        **({"is_one_hot": True} if data.is_one_hot else {}),
        **({"form": dict(data.raw.form)} if data.raw.form else {}),
        **({"heads": described_heads(targets, data.raw)} if targets.heads else {}),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode())
    for name, examples in splits.items():
        weights = () if examples.weights is None else (examples.weights,)
        arrays = [*named_arrays(examples.inputs), ("", examples.targets), *(("", each) for each in weights)]
        for label, array in arrays:
            portable = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{name}{label and f' {label!r}'} {portable.dtype.str} {portable.shape} ".encode())
            digest.update(portable.data)
    return digest.hexdigest()[:16]


def _describe(dataset: Dataset, data: EncodedData) -> dict[str, Any]:
    """Plain values for people, and for a registered model that predicts from raw rows."""
    targets, preprocessing = data.targets, data.preprocessing
    heads = described_heads(targets, data.raw)
    description: dict[str, Any] = {
        "version": dataset.version,
        "source": data.source,
        "task": dataset.task,
        "classes": None if dataset.classes is None else list(dataset.classes),
        "sizes": dataset.sizes,
        "input_shape": plain_shape(dataset.input_shape),
        "input_type": example_types(dataset.train.inputs),
        "output_size": sum(each["output_size"] for each in heads) if heads else dataset.output_count,
        "split": {name: value for name, value in asdict(data.split).items() if value or name not in LATER_KEYS},
    }
    if heads:
        description["heads"] = heads
    if targets.mean is not None and targets.deviation is not None:
        description["target_scale"] = {"mean": list(targets.mean), "deviation": list(targets.deviation)}
    has_classes = targets.task in ("binary", "multiclass") and not heads
    classes = targets.classes if has_classes and targets.classes else ()
    description |= described_names(data.raw.class_names, data.raw.are_names_stated, targets.task, classes)
    if targets.shape:
        description["target_shape"] = list(targets.shape)
    if data.is_one_hot:
        description["is_one_hot"] = True
    description |= data.raw.form
    if targets.names is not None and targets.values.ndim == 2:
        description["outputs"] = list(targets.names)
    if preprocessing is not None:
        description["target"] = data.raw.target_name or list(data.raw.target_columns)
        description["columns"] = [column.plain for column in preprocessing.columns]
        if not data.raw.has_text_names:
            description["has_text_names"] = False
        description["features"] = list(preprocessing.feature_names)
        if preprocessing.vocabulary_sizes:
            description["vocabulary_sizes"] = preprocessing.vocabulary_sizes
    if data.raw.weights is not None:
        description["weights"] = data.raw.weights.described(data.rows.train)
    return {**description, "findings": list(dataset.findings)}
