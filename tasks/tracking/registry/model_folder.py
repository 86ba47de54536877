"""Write a registered version as a folder for MLflow: parts of the model, code, signature, example, requirements."""

import json
import logging
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune import models
from nightune.models.serving.input_trees import arrays_of, named_arrays, read_shape
from nightune.models.serving.predictor import CARRIED, DESCRIPTION, LABELS, MODEL
from nightune.models.serving.rebuilt_model import CODE, FOLDER, is_rebuilt
from nightune.tasks.tracking.registry.requirements import requirements

if TYPE_CHECKING:
    import pandas as pd

    from nightune.models.serving.input_trees import ArrayTree

SCRIPT = Path(__file__).with_name("registered_model.py")
PACKAGE = "nightune_model"  # of the code files in a version; differs from the installed Nightune


def write_model_folder(parts: Path, example: "pd.DataFrame | ArrayTree", folder: Path) -> Path:
    """Write the folder of a version from its parts: model, `description.json` and, for tables, `preprocessing.json`.

    `example` holds some raw training rows, in the form of a caller's request.
    """
    from mlflow import pyfunc  # noqa: PLC0415 - seconds

    description = json.loads((parts / DESCRIPTION).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as temporary, _without_remarks():
        pyfunc.save_model(
            str(folder),
            python_model=str(SCRIPT),
            artifacts={"parts": str(parts)},
            code_paths=[str(_carried(Path(temporary)))],
            signature=_signature(description),
            input_example=_request(example),
            metadata=_documented_arrays(description),
            pip_requirements=requirements(
                code if (code := parts / FOLDER / CODE).is_dir() else None,
                ("pillow",) if _reads_images(description) else (),
            ),
        )
    return folder


def _request(example: "pd.DataFrame | ArrayTree") -> Any:
    """Return an example as MLflow takes it: it reads a tuple as data and params, and arrays in order as lists."""
    return [array.tolist() for array in example] if isinstance(example, tuple) else example


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep MLflow's remarks on its steps from the terminal; warnings and errors stay."""
    logger = logging.getLogger("mlflow.pyfunc")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def parts_of(folder: Path) -> Path:
    """Return the folder of the parts within a version's folder."""
    return folder / "artifacts" / "parts"


def place_model(checkpoint: Path, parts: Path) -> Path:
    """Put a checkpoint into the folder of a version's parts, an archive as a folder; return its place there."""
    if not is_rebuilt(checkpoint):
        return Path(shutil.copyfile(checkpoint, parts / MODEL))
    with zipfile.ZipFile(checkpoint) as archive:
        archive.extractall(parts / FOLDER)
    return parts / FOLDER


def _carried(folder: Path) -> Path:
    """Copy the modules that serve a version into a package of their own name."""
    package = folder / PACKAGE
    package.mkdir()
    (package / "__init__.py").touch()
    for module, name in CARRIED.items():
        file = Path(models.__path__[0]).joinpath(*module.split(".")).with_suffix(".py")
        text = file.read_text(encoding="utf-8")
        for imported, carried in CARRIED.items():
            text = text.replace(f"from nightune.models.{imported} import", f"from {PACKAGE}.{carried} import")
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    return package


def _reads_images(description: Mapping[str, Any]) -> bool:
    return "images" in description or any(column["kind"] == "image" for column in description.get("columns", ()))


TEXT_KINDS = ("category", "hashed", "target_encoded", "text")  # of columns; codes may be whole numbers, too


def _signature(description: Mapping[str, Any]) -> Any:
    from mlflow.models import ModelSignature  # noqa: PLC0415 - seconds

    # A schema names columns by texts, and would refuse the very frame that a source named by numbers.
    # A schema of an array refuses each other type of number; the version converts, and checks shapes, by itself.
    is_named = "columns" in description or isinstance(description["input_shape"], dict)
    has_names = is_named and description.get("has_text_names", True) and "images" not in description
    inputs = _input_schema(description) if has_names and "pad" not in description else None
    return ModelSignature(inputs=inputs, outputs=_output_schema(description), params=_parameters())


def _documented_arrays(description: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the shapes of arrays, -1 for any number of rows, as the version's metadata tell them to its callers."""
    if "columns" in description or "images" in description or "pad" in description:
        return None
    shape, kinds = read_shape(description["input_shape"]), arrays_of(description["input_type"])
    arrays = [
        {"type": kind, "shape": [-1, *each]} | ({"name": name} if name else {})
        for (name, each), kind in zip(named_arrays(shape), kinds, strict=True)
    ]
    return {"inputs": arrays}


def _parameters() -> Any:
    """Return the parameters of a request: its output, labels unless it names another one."""
    from mlflow.types import ParamSchema, ParamSpec  # noqa: PLC0415 - seconds

    return ParamSchema([ParamSpec("output", "string", LABELS)])


def _input_schema(description: Mapping[str, Any]) -> Any:
    """Return columns by name, for tables and for several arrays."""
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415 - seconds
    from mlflow.types.schema import AnyType  # noqa: PLC0415

    if "columns" in description:
        return Schema([ColSpec(_column_type(column), column["name"]) for column in description["columns"]])
    # columns of any type, so that it converts numbers as loaders give them
    return Schema([ColSpec(AnyType(), name) for name in description["input_shape"]])  # type: ignore[no-untyped-call]


def _column_type(column: Mapping[str, str]) -> Any:
    """Return MLflow's type if it accepts all valid values; integers with missing values arrive as floats: any type."""
    from mlflow.types.schema import AnyType  # noqa: PLC0415

    if column["kind"] == "number" and column["dtype"].startswith("float"):
        return "double"
    if column["kind"] in TEXT_KINDS and column["dtype"] in ("object", "str", "string", "category"):
        return "string"
    if column["kind"] == "boolean" and column["dtype"] == "bool":
        return "boolean"
    return AnyType()  # type: ignore[no-untyped-call]


def _output_schema(description: Mapping[str, Any]) -> Any:
    import numpy as np  # noqa: PLC0415
    from mlflow.types import ColSpec, Schema, TensorSpec  # noqa: PLC0415

    if "heads" in description:
        return _heads_schema(description["heads"])
    if "target_shape" in description:
        number = np.dtype("float64" if description["task"] == "regression" else "int64")
        return Schema([TensorSpec(number, (-1, *description["target_shape"]))])
    if description["task"] in ("regression", "multilabel"):
        kind = "double" if description["task"] == "regression" else "long"
        names = description.get("outputs") or [None] * description["output_size"]
        return Schema([ColSpec(kind, name) for name in names])
    kinds = {bool: "boolean", int: "long", str: "string"}
    return Schema([ColSpec(kinds[type(description["classes"][0])])])


def _heads_schema(heads: Sequence[Mapping[str, Any]]) -> Any:
    """Return the columns of several heads; no schema for a dictionary of arrays."""
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415 - seconds

    if any("target_shape" in head for head in heads):
        return None
    columns: list[Any] = []
    for head in heads:
        name, kinds = head["name"], {bool: "boolean", int: "long", str: "string"}
        if head["task"] not in ("regression", "multilabel"):
            columns.append(ColSpec(kinds[type(head["classes"][0])], name))
            continue
        names = head.get("outputs") or head.get("quantiles") or head["classes"] or range(head["output_size"])
        kind = "double" if head["task"] == "regression" else "long"
        is_one = head["task"] == "regression" and head["output_size"] == 1
        columns += [ColSpec(kind, name)] if is_one else [ColSpec(kind, f"{name}_{each}") for each in names]
    return Schema(columns)


def folder_bytes(folder: Path) -> int:
    """Return the size of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
