"""The walk of a study's data, from its source to a Dataset ready for training; `storage.py` saves the result."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from nightune.models.data.assembly import EncodedData, assemble
from nightune.models.data.contents import Arrays, Table
from nightune.models.data.dataset import Dataset, Examples
from nightune.models.data.distributions import distributions
from nightune.models.data.files.csv_tables import forms_of_decimal_commas
from nightune.models.data.folds import encode_fold, folded_rows
from nightune.models.data.head_targets import (
    encode_targets,
    refuse_without_weight,
    standardize,
    target_findings,
    weight_findings,
)
from nightune.models.data.image_columns import with_image_paths
from nightune.models.data.inputs import Inputs, encode_inputs
from nightune.models.data.leakage import leakage_findings
from nightune.models.data.part_files import read_content
from nightune.models.data.parts import read_parts
from nightune.models.data.profile import class_counts, column_lines
from nightune.models.data.raw_data import RawData, separate_target
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import split_rows
from nightune.models.data.tables import refuse_span, split_findings, split_keys
from nightune.models.data.targets import Targets, settle_split, strata
from nightune.models.data.windows import overlap_findings


def load_dataset(settings: DataSettings, folder: Path) -> Dataset:
    """Read, check, encode and split the data of a study; InputError names the wrong key and the remedy.

    Relative paths start at the folder.
    """
    content = with_image_paths(read_content(settings, folder), settings, folder)
    settings = _with_forms(settings, content)
    raw = separate_target(content, settings)
    data = _encode(raw, settings)
    return replace(
        assemble(data),
        columns=column_lines(raw, data.targets, data.preprocessing, settings, data.rows.train),
        class_counts=class_counts(data.targets, data.rows.train),
        distributions=distributions(data),
    )


def _with_forms(settings: DataSettings, content: Table | Arrays) -> DataSettings:
    """Settle how texts that may be numbers of two forms are read where the file has decimal commas."""
    if not isinstance(content, Table) or content.form.get("decimal") != ",":
        return settings
    others = {*settings.numeric, *settings.dates, *settings.categorical, *settings.drop, settings.split.column}
    forms = forms_of_decimal_commas(content.frame, settings.missing, [name for name in others if name])
    return replace(settings, numeric={**forms, **settings.numeric})


def _encode(raw: RawData, settings: DataSettings) -> EncodedData:
    """Turn targets and inputs into numbers, split the rows in between, and collect the findings of all steps."""
    targets = encode_targets(raw)
    split = settle_split(raw.split, targets)
    named = raw.split_column if split.kind == "fixed" else None
    of_split = (None if split.kind == "fixed" else raw.split_column, split.kind == "time", raw.split_choices(settings))
    keys = split_keys(*of_split) if named is None else read_parts(named)
    if raw.split_column is not None:
        refuse_span(raw.split_column, split.gap, raw.split_choices(settings))
    rows = folded_rows(split, targets, keys) if split.folds else split_rows(split, strata(targets), keys)
    for each in rows.trained:
        refuse_without_weight(targets, each)
        if raw.weights is not None:
            raw.weights.refuse_without_weight(each)
    unscaled = targets
    if settings.scale_target:
        targets = standardize(targets, rows.train)
    inputs = encode_inputs(raw, settings, rows.train, targets)
    findings = (
        *raw.findings,
        *targets.findings,
        *rows.findings,
        *split_findings(*of_split),
        *target_findings(targets, rows.apart),
        *inputs.findings,
        *([] if raw.weights is None else raw.weights.findings(rows.train)),
        *weight_findings(targets, rows.train),
        *overlap_findings(inputs, rows, split),
        *leakage_findings(inputs, targets, rows.apart),
    )
    data = EncodedData(
        source=settings.source,
        raw=raw,
        inputs=inputs.values,
        targets=targets,
        preprocessing=inputs.preprocessing,
        split=split,
        rows=rows,
        findings=findings,
        groups=keys if split.kind == "group" else None,
    )
    return replace(data, folds=tuple(_encode_folds(data, settings, inputs, unscaled)))


def _encode_folds(
    data: EncodedData, settings: DataSettings, inputs: Inputs, unscaled: Targets
) -> Iterator[tuple[Examples, Examples]]:
    """Yield the training and validation examples of each fold, prepared by its training rows alone."""
    for fold in data.rows.folds:
        targets = standardize(unscaled, fold.train) if settings.scale_target else unscaled
        own = replace(data, inputs=encode_fold(data.raw, settings, inputs, fold, targets), targets=targets)
        yield own.examples(fold.train, is_trained=True), own.examples(fold.validation)
