"""Save models that contain code of their author: the source files and data files that build them, and their weights."""

import io
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.error_causes import described
from nightune.models.errors import InputError
from nightune.models.kept_code import kept_sources
from nightune.models.networks.architectures import bound_arguments
from nightune.models.networks.head_settings import output_size
from nightune.models.networks.packed_models import plain_model
from nightune.models.recipe.recipe import Recipe
from nightune.models.serving.code_package import PREFIX, files_of, forget_package, open_package
from nightune.models.serving.input_trees import ArrayTree, arrays_of, for_model, in_memory, rows_of
from nightune.models.serving.rebuilt_model import (
    CARRIED_BYTES,
    CODE,
    MANIFEST,
    SAMPLE,
    TRAINING_INPUTS,
    WEIGHTS,
    Manifest,
    call_function,
    describe,
    encoded,
)
from nightune.models.training.read_files import files_watched
from nightune.models.user_code import find_reference, lies_in
from nightune.vocabulary import ARCHITECTURE

SAMPLE_ROWS = 64  # of the training inputs in a version: its weights replace what was learned from all of them


@dataclass(frozen=True, eq=False)
class Rebuilding:
    """All of a saved model except its weights, for any model of one model key.

    `files` are by their names in the folder of the function's file. `values` are those of the variables that are no
    weights, such as states of random streams; `places` are the positions of the variables in the model's weights.
    """

    manifest: Manifest
    files: Mapping[str, bytes]
    left_out: tuple[str, ...]  # files that are too large to be carried
    values: Mapping[int, np.ndarray]
    places: Mapping[int, int]
    sample: ArrayTree | None = None  # training inputs that a version gives to the function

    def members(self, weights: Sequence[np.ndarray]) -> dict[str, bytes]:
        """Return the saved model's files by name, with these weights in the model's order."""
        arrays = {number: weights[place] for number, place in self.places.items()} | dict(self.values)
        content = io.BytesIO()
        named: dict[str, Any] = {str(number): encoded(array) for number, array in sorted(arrays.items())}
        np.savez(content, allow_pickle=False, **named)
        code = {f"{CODE}/{name}": held for name, held in self.files.items()}
        sample = {} if self.sample is None else {SAMPLE: _archived(self.sample)}
        return {MANIFEST: self.manifest.as_json().encode(), WEIGHTS: content.getvalue(), **sample, **code}

    def archive(self, weights: Sequence[np.ndarray]) -> bytes:
        """Return the saved model as the content of an archive; equal models give equal bytes."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, member in self.members(weights).items():
                # Weights hardly shrink, and compressing them takes seconds.
                kind = zipfile.ZIP_STORED if name == WEIGHTS else zipfile.ZIP_DEFLATED
                archive.writestr(zipfile.ZipInfo(name), member, kind)
        return content.getvalue()


def learn_rebuilding(model: Any, recipe: Recipe, dataset: Dataset, folder: Path) -> Rebuilding:
    """Collect what rebuilds a model of the recipe; calls the function once more, to see which files it reads.

    `folder` is that of the study.
    """
    model = plain_model(model)
    file, function = find_reference(recipe.architecture, folder, ARCHITECTURE)
    size = output_size(recipe.training, dataset.task, dataset.output_size)
    shape, inputs = dataset.input_shape, dataset.train.inputs
    sizes = dataset.vocabulary_sizes
    given = bound_arguments(recipe.architecture, recipe.model, shape, size, folder, TRAINING_INPUTS, sizes)
    has_sample = any(value is TRAINING_INPUTS for value in given.arguments.values())
    sample = in_memory(rows_of(inputs, slice(SAMPLE_ROWS))) if has_sample else None
    variables, weights = list(model.variables), list(model.weights)
    places = {id(weight): place for place, weight in enumerate(weights)}
    manifest = Manifest(
        file=file.name,
        function=function,
        arguments=given.args,
        keywords=given.kwargs,
        input_shape=dataset.input_shape,
        policy=recipe.precision.policy if recipe.precision.is_mixed else keras.config.dtype_policy().name,
        variables=describe(variables, weights),
    )
    files, left_out = _files(manifest, file.parent, in_memory(rows_of(inputs, slice(2))), sample)
    return Rebuilding(
        manifest=manifest,
        files=files,
        left_out=left_out,
        values={
            number: keras.ops.convert_to_numpy(variable)
            for number, variable in enumerate(variables)
            if id(variable) not in places
        },
        places={number: places[id(each)] for number, each in enumerate(variables) if id(each) in places},
        sample=sample,
    )


def _archived(inputs: ArrayTree) -> bytes:
    content = io.BytesIO()
    named: dict[str, Any] = {str(number): array for number, array in enumerate(arrays_of(inputs))}
    np.savez(content, allow_pickle=False, **named)
    return content.getvalue()


def _files(
    manifest: Manifest, folder: Path, rows: ArrayTree, sample: ArrayTree | None
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return the files of the folder that a build and a call of the model read, and those that are too large.

    `sample` are the training inputs that the function gets, if it takes any. Sources are as kept (kept_code.py).
    InputError if the function fails where its modules are those of the folder and of installed packages only.
    """
    kept = kept_sources()
    package = open_package(folder, f"{PREFIX}of_the_study", _loaded_from_elsewhere(folder), kept)
    try:
        with files_watched(folder) as watch:
            model = call_function(manifest, package, sample)
            model(for_model(model, rows), training=False)
        imported = files_of(package)
    except MemoryError:
        raise
    except Exception as error:
        problem = f"the model cannot be built from a copy of its code: {described(error, folder)}"
        raise InputError(ARCHITECTURE, problem) from error
    finally:
        forget_package(package)
    found = {path for path in {*imported, *map(Path, watch.read)} if _is_carried(path, folder)}
    sizes = {path: len(kept[path]) if path in kept else path.stat().st_size for path in found}
    files: dict[str, bytes] = {}
    left_out = []
    for path in sorted(found, key=lambda path: (sizes[path], path)):
        name = path.relative_to(folder).as_posix()
        if sizes[path] + sum(map(len, files.values())) > CARRIED_BYTES:
            left_out.append(f"{name} ({sizes[path] / 1e6:.3g} MB)")
        else:
            files[name] = kept[path] if path in kept else path.read_bytes()
    return dict(sorted(files.items())), tuple(left_out)


def _loaded_from_elsewhere(folder: Path) -> frozenset[str]:
    """The names of modules that the study's code gets from elsewhere, because they were imported before."""
    names = [name for name, module in list(sys.modules.items()) if "." not in name and not lies_in(folder, module)]
    return frozenset({*names, "nightune"})


def _is_carried(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    is_there = path in kept_sources() or path.is_file()
    return is_there and path.suffix != ".pyc" and "site-packages" not in parts
