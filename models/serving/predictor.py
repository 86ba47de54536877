"""A registered model: predict labels or quantities from raw rows, exactly as the pipeline that trained it.

The modules in `CARRIED` are stored with every registered version, so that serving it does not need Nightune. A
version's folder holds `model.keras` or, for a model with code of its author, the folder `model`; `description.json`;
and, for tables, `preprocessing.json`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nightune.models.errors import InputError
from nightune.models.serving.answer_tables import answer_table, with_probabilities
from nightune.models.serving.arrays import as_inputs, plain_array
from nightune.models.serving.code_package import without_registered_names
from nightune.models.serving.head_outputs import (
    head_descriptions,
    named_probabilities,
    own_outputs,
    packed,
    side_by_side,
)
from nightune.models.serving.image_rows import as_images
from nightune.models.serving.input_trees import (
    ArrayTree,
    ShapeTree,
    for_model,
    is_several,
    read_shape,
    row_count,
    rows_of,
)
from nightune.models.serving.padding import padded
from nightune.models.serving.preprocessing import TablePreprocessing, as_table, refuse_non_finite
from nightune.models.serving.probabilities import POSITIONS, decided_places
from nightune.models.serving.rebuilt_model import FOLDER, is_rebuilt, open_rebuilt

MODEL, DESCRIPTION, PREPROCESSING = "model.keras", "description.json", "preprocessing.json"
# The modules of this package's parent that a version carries, and their names in its own flat package.
CARRIED = {
    "errors": "errors",
    "serving.number_texts": "number_texts",
    "serving.date_texts": "date_texts",
    "serving.labels": "labels",
    "serving.arrays": "arrays",
    "serving.input_trees": "input_trees",
    "serving.image_files": "image_files",
    "serving.image_rows": "image_rows",
    "serving.padding": "padding",
    "serving.columns": "columns",
    "serving.vocabularies": "vocabularies",
    "serving.encodings": "encodings",
    "serving.preprocessing": "preprocessing",
    "serving.probabilities": "probabilities",
    "serving.answer_tables": "answer_tables",
    "serving.head_outputs": "head_outputs",
    "serving.code_package": "code_package",
    "serving.rebuilt_model": "rebuilt_model",
    "serving.predictor": "serving",
}
BATCH = 1024
LABELS, PROBABILITIES, TABLE = "labels", "probabilities", "table"  # what `predict` returns


def model_of(folder: Path) -> Path:
    """Return the file or the folder of the model in a version's folder."""
    return folder / FOLDER if (folder / FOLDER).is_dir() else folder / MODEL


@dataclass(frozen=True, eq=False)
class Predictor:
    """A Keras model, with the preprocessing of its inputs and the description of its outputs."""

    model: Any
    preprocessing: TablePreprocessing | None
    description: dict[str, Any]

    @classmethod
    def open(cls, folder: Path, model_file: Path | None = None) -> "Predictor":
        """Open a version's folder; `model_file` replaces its model, for example by one of another seed.

        A `.keras` file is opened without code: Keras' safe mode is on, and classes that this process has registered are
        unknown. A model with code of its author is rebuilt by the copy of that code in the version.
        """
        file = folder / PREPROCESSING
        return cls(
            model=open_model(model_file or model_of(folder)),
            preprocessing=TablePreprocessing.from_json(file.read_text(encoding="utf-8")) if file.exists() else None,
            description=json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")),
        )

    def predict(self, raw: Any, output: str = LABELS) -> Any:
        """Predict labels (rows,) as in the training data, or quantities (rows,) or (rows, quantities) in its units.

        For a model of several labels, 1 and 0 (rows, labels): the label holds or not. Several labels or quantities
        with names are the columns of a DataFrame; those of several axes have the shape of the targets. The output
        "probabilities" is a DataFrame with a column of float64 for each class or label, named by it; of a class at each
        position it has a row for each position. "table" is one of the labels, the names of classes if the data has
        some, and these probabilities. InputError for another output, and for probabilities of quantities.

        Several heads are the columns of a DataFrame, `HEAD`, or `HEAD_LABEL` for several labels and quantities; with a
        head of several axes they are a dictionary of arrays.
        """
        if output == PROBABILITIES:
            return self.probabilities(raw)
        if output not in (LABELS, TABLE):
            raise InputError("output", f"{output!r} is unknown (known: {LABELS}, {PROBABILITIES}, {TABLE})")
        outputs = self.outputs(self.inputs(raw))
        if output == TABLE:
            probabilities = named_probabilities(outputs, self.description)
            return with_probabilities(answer_table(self._labels(outputs), self.description), *probabilities)
        return self._labels(outputs)

    def _labels(self, outputs: np.ndarray) -> Any:
        """Return the answers of outputs (rows, size), of several heads side by side."""
        if "heads" in self.description:
            heads = head_descriptions(self.description)
            each = {name: self.of_head(name).in_form(own_outputs(outputs, head)) for name, head in heads.items()}
            return side_by_side(each, heads)
        return self.in_form(outputs)

    def of_head(self, name: str) -> "Predictor":
        """Return what answers for one of several heads, by its outputs; InputError if the model has no such head."""
        heads = head_descriptions(self.description) if "heads" in self.description else {}
        if name not in heads:
            known = f" (known: {', '.join(heads)})" if heads else ""
            raise InputError("heads", f"the model has no head {name!r}{known}")
        return Predictor(None, self.preprocessing, heads[name])

    def in_form(self, outputs: np.ndarray) -> Any:
        """Return the answers of outputs (rows, size) as `predict` does."""
        answers = self.answers(outputs)
        if "target_shape" in self.description:
            return answers.reshape(-1, *self.description["target_shape"])
        if "outputs" not in self.description:
            return answers
        import pandas as pd  # noqa: PLC0415 - half a second, only for targets with names

        return pd.DataFrame(answers, columns=self.description["outputs"])

    def probabilities(self, raw: Any) -> Any:
        """Return the probability of each class or label, as a DataFrame (rows, classes) with the labels as names."""
        import pandas as pd  # noqa: PLC0415 - half a second, only for tables and probabilities

        names, values = named_probabilities(self.outputs(self.inputs(raw)), self.description)
        if self.description["task"] != POSITIONS:
            return pd.DataFrame(values, columns=names)
        shape = self.description["target_shape"]
        axes = [range(len(values) // int(np.prod(shape))), *map(range, shape)]
        index = pd.MultiIndex.from_product(axes, names=["row", *(f"axis_{place}" for place in range(len(shape)))])
        return pd.DataFrame(values, index=index, columns=names)

    def inputs(self, raw: Any) -> ArrayTree:
        """Convert rows of a table, or an array or table of numbers, to the model's inputs.

        Several inputs are a dictionary of arrays or a table of one column for each. Arrays in order are a list, or are
        named by their places, "0", "1" and so on.
        Images that were read from a folder are paths, the bytes of files, or pixels (see `as_images`). Lists of rows
        are padded as in training.
        InputError with row and value for what training would refuse, such as infinite values.
        """
        if self.preprocessing is not None:
            table = as_table(raw)
            features = self.preprocessing.transform(table)
            refuse_non_finite(features, table, self.preprocessing)
            return features
        shape = read_shape(self.description["input_shape"])
        raw = padded(raw, self.description["pad"], "inputs") if "pad" in self.description else raw
        if "images" in self.description:
            assert isinstance(shape, tuple)
            return as_images(raw, shape, "inputs")
        if is_several(shape):
            return read_several(raw, shape, self.description["input_type"])
        values = plain_array(raw, "inputs", "the inputs")
        if values.shape[1:] != shape:
            raise InputError("inputs", f"rows of shape {values.shape[1:]}; this model needs rows of shape {shape}")
        return as_inputs(values, self.description["input_type"], "inputs")

    def outputs(self, inputs: ArrayTree) -> np.ndarray:
        """Compute the model's outputs in inference mode, (rows, size), of several heads those of all."""
        count, given = row_count(inputs), for_model(self.model, inputs)
        spans = [slice(start, start + BATCH) for start in range(0, count, BATCH)]
        parts = [packed(self.model(rows_of(given, span), training=False), self.description) for span in spans]
        return np.concatenate(parts).reshape(count, -1) if parts else np.empty((0, self._size), np.float32)

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        """Convert outputs to labels, each by the largest output, a threshold or by itself, or to the data's quantities.

        InputError with the row for outputs that are NaN, and for infinite quantities.
        """
        is_answer = np.isfinite(outputs) if self.description["task"] == "regression" else ~np.isnan(outputs)
        if not is_answer.all():
            row, place = np.argwhere(~is_answer)[0]
            raise InputError("outputs", f"the model's output for row {row} is {outputs[row, place]}; it has no answer")
        if self.description["task"] == "regression":
            values = in_units(outputs, self.description)
            return values[:, 0] if self._size == 1 else values
        if self.description["task"] == "multilabel":
            return (outputs > (0.0 if self.description["is_logits"] else 0.5)).astype(np.int64)
        if self.description["task"] == POSITIONS:
            classes = np.array(self.description["classes"])
            at_each: np.ndarray = classes[outputs.reshape(len(outputs), -1, len(classes)).argmax(axis=2)]
            return at_each
        labels: np.ndarray = np.array(self.description["classes"])[decided_places(outputs, self.description)]
        return labels

    @property
    def _size(self) -> int:
        return int(self.description["output_size"])


def read_several(raw: Any, shape: ShapeTree, kinds: Any) -> ArrayTree:
    """Convert several inputs to the arrays of a model's; InputError names the input that is missing or does not fit."""
    has_names = all(callable(getattr(raw, name, None)) for name in ("keys", "__getitem__"))
    if isinstance(shape, dict):
        if not has_names:
            raise InputError("inputs", f"this model needs a dictionary or a table with {', '.join(map(repr, shape))}")
        _refuse_missing(raw, list(shape))
        arrays = [_read_one(raw[name], name, each, kinds[name]) for name, each in shape.items()]
        tree: ArrayTree = dict(zip(shape, arrays, strict=True))
    else:
        assert isinstance(shape, list)
        if has_names:  # a request to a server: JSON's lists cannot hold arrays of different shapes there
            places = [str(place) for place in range(len(shape))]
            _refuse_missing(raw, places)
            raw = [raw[place] for place in places]
        if not isinstance(raw, list | tuple | np.ndarray) or len(raw) != len(shape):
            raise InputError("inputs", f"this model needs a list of {len(shape)} arrays")
        arrays = [_read_one(raw[place], str(place), each, kinds[place]) for place, each in enumerate(shape)]
        tree = tuple(arrays)
    counts = [len(array) for array in arrays]
    if len(set(counts)) > 1:
        raise InputError("inputs", f"the inputs have {counts} rows; each needs the same number")
    return tree


def _refuse_missing(raw: Any, names: list[str]) -> None:
    missing = [name for name in names if name not in raw]
    if missing:
        held = ", ".join(map(repr, raw.keys()))
        raise InputError("inputs", f"there is no input {missing[0]!r}; this model needs it beside {held}")


def _read_one(raw: Any, name: str, shape: tuple[int, ...], kind: str) -> np.ndarray:
    values = plain_array(raw, "inputs", f"input {name!r}")
    if values.size == len(values) and shape in ((), (1,)):  # one number for each row, in a column or not
        values = values.reshape(-1, *shape)
    if values.shape[1:] != shape:
        problem = f"rows of shape {values.shape[1:]} as input {name!r}; this model needs rows of shape {shape}"
        raise InputError("inputs", problem)
    return as_inputs(values, kind, f"input {name!r}")


def in_units(quantities: np.ndarray, description: dict[str, Any]) -> np.ndarray:
    """Convert standardized quantities, (quantities,) or (rows, quantities), to float64 in the data's units."""
    scale = description.get("target_scale", {"mean": [0.0], "deviation": [1.0]})
    values: np.ndarray = quantities.astype(np.float64) * np.array(scale["deviation"]) + np.array(scale["mean"])
    return values


def open_model(place: Path) -> Any:
    """Open a model's file or folder, without its optimizer; see `Predictor.open`."""
    import keras  # noqa: PLC0415 - seconds, only to open a model

    if is_rebuilt(place):
        return open_rebuilt(place)
    with without_registered_names():
        return keras.saving.load_model(place, compile=False, safe_mode=True)
