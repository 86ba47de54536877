"""Write a first study and a small model for a file of data: what they say is what the data was read as."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nightune.models.data.columns.proposals import proposed_columns
from nightune.models.data.contents import Table
from nightune.models.data.dataset import Dataset
from nightune.models.data.files.image_folders import common_size
from nightune.models.data.files.kinds import FORMATS, kind_of
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.source_options import IMAGES, SourceOptions
from nightune.models.data.sources import kind_of_place, read_source
from nightune.models.errors import InputError
from nightune.models.serving.input_trees import plain_shape
from nightune.tasks.check_study import check_study
from nightune.tasks.first_model import model_text
from nightune.tasks.load_study import load_study
from nightune.tuning.study.data_section import OF_SOURCE
from nightune.tuning.study.edit import inline
from nightune.vocabulary import TASK_METRICS, VALIDATION_PREFIX, unknown_name

TARGET_NAMES = ("target", "label", "class", "y", "outcome")
IMAGE_SIZE = (64, 64)
BATCH_SIZES = (8, 16, 32, 64, 128)
SEARCHED = """optimizer = ["adam", "adamw"]
learning_rate.peak = { low = 1e-4, high = 3e-2, scale = "log" }  # nightune probe suggests one
learning_rate.schedule = ["fixed", "cosine"]
weight_decay.strength = { low = 1e-4, high = 1e-1, scale = "log" }  # active for adamw

[stopping]
rule = "patience"  # a trial ends after so many epochs without an improvement
patience = 8

[search]
trials = 24  # 8 to begin with, then 16 proposed from their results: method "auto", the default
epochs = 30  # of a trial; those that do not keep up end earlier""".splitlines()
SHARE_OF_ROWS = 8  # a batch is at most one part in so many of the training rows


@dataclass(frozen=True)
class FirstStudy:
    """The files that were written, and what the data was read as."""

    study: Path
    model: Path
    target: str | None
    is_target_chosen: bool  # by Nightune
    data: str
    findings: tuple[str, ...]


def write_first_study(source: Path, target: str | None, folder: Path) -> FirstStudy:
    """Write `NAME.toml` and `NAME_model.py` for a file of data into a folder; InputError if they cannot be written.

    Without a target, a table's column of a usual name is predicted, or else its last one. No file is replaced, and
    none is left if the data cannot be trained on as it is.
    """
    options = _options(_existing(source))
    try:
        content = read_source(str(_existing(source)), Path(), options=options)
    except InputError as error:
        if error.key.removeprefix("data.") not in OF_SOURCE:
            raise
        raise InputError(error.key, f"{error.message}. Write a study with this key: init takes none") from error
    columns = [str(name) for name in content.frame.columns] if isinstance(content, Table) else []
    chosen = target or (_usual_target(columns) if columns else None)
    if target is not None and target not in columns:
        raise InputError("--target", unknown_name(target, columns, "column") if columns else "an array file has none")
    relative = os.path.relpath(source, folder).replace(os.sep, "/")
    named = proposed_columns(content.frame, [chosen]) if isinstance(content, Table) else {}
    settings = DataSettings(source=relative, target=chosen, image_size=options.image_size, **named)
    dataset = load_dataset(settings, folder)
    name = _name(source.stem)
    study, model = folder / f"{name}.toml", folder / f"{name}_model.py"
    with _new_files({model: model_text(dataset), study: _study_text(settings, dataset, model.name)}):
        findings = check_study(load_study(study)).findings
    rows = ", ".join(f"{count} {split}" for split, count in dataset.sizes.items())
    said = f"{dataset.task} · inputs {plain_shape(dataset.input_shape)} · {rows}"
    return FirstStudy(study, model, chosen, target is None, said, tuple(findings))


def _existing(source: Path) -> Path:
    if not source.exists():
        raise InputError("DATA", f"{source} does not exist")
    if source.is_file() and kind_of(source) is None:
        raise InputError("DATA", f"{unknown_name(source.suffix, FORMATS, 'form of file')}")
    return source.resolve()


def _options(source: Path) -> SourceOptions:
    """Return a size for images of several sizes; all else is settled by the file."""
    try:
        has_sizes = source.is_dir() and kind_of_place(source) == IMAGES and not common_size(source)
    except InputError:  # raised again when it is read
        has_sizes = False
    return SourceOptions(image_size=IMAGE_SIZE if has_sizes else ())


def _usual_target(columns: list[str]) -> str:
    return next((name for word in TARGET_NAMES for name in columns if name.strip().lower() == word), columns[-1])


def _name(stem: str) -> str:
    """Return the name of a study and of a Python module: letters, digits and underscores, a letter first."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_")[:80]
    return name if name[:1].isalpha() else f"data_{name}".rstrip("_")


@contextmanager
def _new_files(texts: dict[Path, str]) -> Iterator[None]:
    """Write files that do not exist; remove them again if the block raises."""
    written: list[Path] = []
    try:
        for path, text in texts.items():
            try:
                with path.open("x", encoding="utf-8") as file:
                    written.append(path)
                    file.write(text)
            except FileExistsError:
                remedy = "rename it, or give another folder with --folder"
                raise InputError("init", f"{path} exists, and no file is replaced; {remedy}") from None
            except OSError as error:
                raise InputError("init", f"{path} cannot be written: {error.strerror}") from error
        yield
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _study_text(settings: DataSettings, dataset: Dataset, model: str) -> str:
    what = settings.target or "the targets"
    metrics = ", ".join(f"{VALIDATION_PREFIX}{name}" for name in TASK_METRICS[dataset.task] if name != "loss")
    lines = [
        f"# {len(dataset.train)} training rows, 24 trials of up to 30 epochs. First `nightune check`, then `tune`.",
        f"question = {inline(f'Which network, learning rate and regularization predict {what} best?')}",
        "seed = 1",
        "",
        *_data_lines(settings, dataset.task == "regression"),
        "",
        "[model]",
        f"architecture = {inline(f'{model}:build')}  # yours to change; its arguments are searched below",
        "width = [16, 32, 64]  # a list: one of these",
        'depth = { low = 1, high = 3, integer = true }  # a range; scale = "log" for one over powers of ten',
        "dropout = { low = 0.0, high = 0.5 }",
        "",
        "[space]",
        f"batch_size.size = {_batch_sizes(len(dataset.train))}",
        *SEARCHED,
        "",
        "[objective]",
        f'metric = "val_loss"  # or one of {metrics}',
    ]
    return "\n".join(lines) + "\n"


def _data_lines(settings: DataSettings, is_regression: bool) -> list[str]:
    lines = ["[data]", f"source = {inline(settings.source)}  # relative to this file"]
    if settings.image_size:
        lines.append(f"image_size = {inline(list(settings.image_size))}  # height, width: images have several sizes")
    if settings.target is not None:
        lines.append(f"target = {inline(settings.target)}  # the column to predict; all others are inputs")
        lines.append('# drop = ["id"]  # columns that are not known when a prediction is made, or that only name a row')
    if settings.text:
        lines.append(f"text = {inline(dict(settings.text))}  # indices of words, an input of their own")
    if settings.codes:
        lines.append(f"codes = {inline(list(settings.codes))}  # one whole number per label, for an embedding")
    if is_regression:
        lines.append("scale_target = true  # train on standard deviations of the target")
    return [
        *lines,
        '# Rows of one person or one day belong together: kind = "group" or "time", with column = "…".',
        "split = { validation = 0.2, test = 0.2 }  # the test rows stay sealed until `nightune promote`",
    ]


def _batch_sizes(rows: int) -> str:
    sizes = [size for size in BATCH_SIZES if size * SHARE_OF_ROWS <= rows][-3:]
    return inline(sizes) if len(sizes) > 1 else str(max(1, min(rows // 2, BATCH_SIZES[0])))
