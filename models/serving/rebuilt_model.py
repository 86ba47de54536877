"""Models that contain code of their author: rebuilt by calling the author's function, from a copy of its source files.

They are a folder, or an archive (ZIP) of one, with `rebuild.json`, `weights.npz` and the folder `code`. Nothing in it
is a pickle. Opening it runs the code: open only what you would run.
"""

import json
import random
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nightune.models.serving.code_package import import_file, open_package, running_code_of
from nightune.models.serving.input_trees import ShapeTree, batch_shape, read_shape, zeros

MANIFEST, WEIGHTS, CODE = "rebuild.json", "weights.npz", "code"
SAMPLE = "training_inputs.npz"  # a few rows, for functions that build models by them
TRAINING_INPUTS = object()  # stands for these among the arguments of a manifest
ARCHIVE, FOLDER = "model.zip", "model"  # the names of an archive, and of a folder within a version
FORMAT = 1  # of the manifest
AUTOMATIC_NAME = re.compile(r"^variable_\d+$")
CARRIED_BYTES = 2**26  # of the author's files in a model; larger ones are left out

_extracted: list["tempfile.TemporaryDirectory[str]"] = []  # until the process ends: code may read files at any time


@dataclass(frozen=True)
class Manifest:
    """How to rebuild a model. `variables` are in the model's order; `is_weight` is False for states of random streams.

    `arguments` and `keywords` are those of the function; `input_shape` is that of one example.
    """

    file: str  # the function's, in `code`
    function: str
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    input_shape: ShapeTree
    policy: str  # Keras' dtype policy while the model is built
    variables: tuple[Mapping[str, Any], ...]  # name, shape, dtype, is_weight

    def as_json(self) -> str:
        """Convert to JSON text. Tuples, dictionaries and training inputs among the arguments are marked."""
        plain = {
            **vars(self),
            "arguments": [_plain(value) for value in self.arguments],
            "keywords": {name: _plain(value) for name, value in self.keywords.items()},
        }
        return json.dumps({"format": FORMAT, **plain}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read what `as_json` wrote; ValueError for another format."""
        held = json.loads(text)
        if held.pop("format") != FORMAT:
            raise ValueError(f"{MANIFEST} has another format than {FORMAT}")
        held["arguments"] = tuple(_restored(value) for value in held["arguments"])
        held["keywords"] = {name: _restored(value) for name, value in held["keywords"].items()}
        return cls(**{**held, "input_shape": read_shape(held["input_shape"]), "variables": tuple(held["variables"])})


def is_rebuilt(place: Path) -> bool:
    """True for the folder or archive of a model that is rebuilt, by its name."""
    return place.name == FOLDER or place.suffix == Path(ARCHIVE).suffix


def open_rebuilt(place: Path) -> Any:
    """Rebuild the model of a folder or an archive, with its weights; runs the code in it.

    ValueError if the code returns a model of other variables; else the code's own exceptions.
    """
    folder = place if place.is_dir() else _extract(place)
    manifest = read_manifest(folder)
    with np.load(folder / WEIGHTS, allow_pickle=False) as file:
        values = [file[str(number)] for number in range(len(manifest.variables))]
    model = call_function(manifest, open_package(folder / CODE), read_sample(folder, manifest))
    variables = list(model.variables)
    refuse_other_variables(manifest.variables, describe(variables))
    for variable, value, known in zip(variables, values, manifest.variables, strict=True):
        variable.assign(decoded(value, known))
    finish_adapting(model)
    return model


def read_manifest(place: Path) -> Manifest:
    """Read the manifest of a folder or an archive."""
    if place.is_dir():
        return Manifest.from_json((place / MANIFEST).read_text(encoding="utf-8"))
    with zipfile.ZipFile(place) as archive:
        return Manifest.from_json(archive.read(MANIFEST).decode())


def read_sample(folder: Path, manifest: Manifest) -> Any:
    """Return the training inputs that the function gets in a version, None if it takes none."""
    if not (folder / SAMPLE).exists():
        return None
    with np.load(folder / SAMPLE, allow_pickle=False) as file:
        arrays = [file[str(number)] for number in range(len(file.files))]
    if isinstance(manifest.input_shape, dict):
        return dict(zip(manifest.input_shape, arrays, strict=True))
    return tuple(arrays) if isinstance(manifest.input_shape, list) else arrays[0]


def call_function(manifest: Manifest, package: str, sample: Any = None) -> Any:
    """Call the function in its package, and build the layers that wait for a first call.

    `sample` takes the place of the training inputs among the arguments.
    """
    import keras  # noqa: PLC0415 - seconds, only to open a model

    with running_code_of(package), _unchanged_random_numbers():
        keras.config.set_dtype_policy(manifest.policy)
        function = getattr(import_file(package, manifest.file), manifest.function)
        arguments = [sample if value is TRAINING_INPUTS else value for value in manifest.arguments]
        keywords = {name: sample if value is TRAINING_INPUTS else value for name, value in manifest.keywords.items()}
        model = function(*arguments, **keywords)
        if isinstance(model, keras.Sequential) and not model.built:
            model.build(batch_shape(manifest.input_shape))
        if not getattr(model, "outputs", None):
            model(zeros(manifest.input_shape))
    return model


def finish_adapting(model: Any) -> None:
    """Have layers that adapt to data compute what they use from their variables: these may have changed since."""
    for layer in _layers_of(model, set()):
        if callable(getattr(layer, "finalize_state", None)):
            layer.finalize_state()


def _layers_of(layer: Any, seen: set[int]) -> Iterator[Any]:
    """Yield a layer and the layers that it holds, at any depth."""
    import keras  # noqa: PLC0415 - loaded by the caller

    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield layer
    for held in [*getattr(layer, "layers", ()), *vars(layer).values()]:
        for each in held if isinstance(held, list | tuple) else [held]:
            if isinstance(each, keras.layers.Layer):
                yield from _layers_of(each, seen)


def describe(variables: list[Any], weights: list[Any] | None = None) -> tuple[dict[str, Any], ...]:
    """Describe variables of Keras by name, shape and type; without `weights` all of them are weights."""
    known = {id(variable) for variable in variables if weights is None} | {id(weight) for weight in weights or ()}
    return tuple(
        {
            "name": variable.path.rpartition("/")[2],
            "shape": list(variable.shape),
            "dtype": str(variable.dtype),
            "is_weight": id(variable) in known,
        }
        for variable in variables
    )


def refuse_other_variables(wanted: tuple[Mapping[str, Any], ...], found: tuple[Mapping[str, Any], ...]) -> None:
    """Raise ValueError if a rebuilt model has other variables than the saved one."""
    if len(wanted) != len(found):
        raise ValueError(f"the function returned a model of {len(found)} variables; {len(wanted)} are saved")
    for number, (want, have) in enumerate(zip(wanted, found, strict=True)):
        ours, theirs = ([_stable(each["name"]), each["shape"], each["dtype"]] for each in (want, have))
        if ours != theirs:
            raise ValueError(f"variable {number} of the function's model is {theirs}; {ours} is saved")


def _stable(name: str) -> str:
    """Return a variable's name without the number that Keras gives to one without a name, counted in the process."""
    return AUTOMATIC_NAME.sub("variable", name)


def encoded(value: np.ndarray) -> np.ndarray:
    """Return an array that a file without pickles can hold: types unknown to NumPy, such as bfloat16, become bytes."""
    if value.dtype.kind in "biufc":
        return value
    return np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)


def decoded(value: np.ndarray, known: Mapping[str, Any]) -> np.ndarray:
    """Restore what `encoded` returned."""
    dtype = np.dtype(known["dtype"])
    return value if value.dtype == dtype else np.frombuffer(value.tobytes(), dtype).reshape(known["shape"])


def _extract(archive: Path) -> Path:
    folder = tempfile.TemporaryDirectory(prefix="nightune-model-")
    _extracted.append(folder)
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder.name)
    return Path(folder.name)


@contextmanager
def _unchanged_random_numbers() -> Iterator[None]:
    """Restore the random generators of Python and NumPy after the block."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _plain(value: Any) -> Any:
    if value is TRAINING_INPUTS:
        return {"given": "training_inputs"}
    if isinstance(value, tuple):
        return {"tuple": [_plain(each) for each in value]}
    if isinstance(value, dict):
        return {"dictionary": {name: _plain(each) for name, each in value.items()}}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _restored(value: Any) -> Any:
    if isinstance(value, dict) and "given" in value:
        return TRAINING_INPUTS
    if isinstance(value, dict) and "dictionary" in value:
        return {name: _restored(each) for name, each in value["dictionary"].items()}
    if isinstance(value, dict):
        return tuple(_restored(each) for each in value["tuple"])
    return [_restored(each) for each in value] if isinstance(value, list) else value
