"""Build a model before any training, to report what its function raises or returns, and how its head is settled."""

import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.models.errors import InputError
from nightune.models.networks.architectures import build_model, reads_training_inputs
from nightune.models.serving.input_trees import ShapeTree, example_shape, row_count
from nightune.models.techniques.losses import FREEZE, TrainingSettings
from nightune.models.techniques.precision import POLICIES
from nightune.models.user_code import is_reference, load_function
from nightune.vocabulary import ARCHITECTURE, DROPOUT, MODEL_PREFIX

if TYPE_CHECKING:
    from nightune.models.networks.heads import Head
    from nightune.models.networks.repeated_builds import Build
    from nightune.models.networks.training_rows import TrainingRows

PARAMETER = DROPOUT.removeprefix(MODEL_PREFIX)

# Settings of Keras for the whole process, and the argument of layers that takes their place.
_ARGUMENTS = {"floatx": "dtype", "epsilon": "epsilon", "image_data_format": "data_format"}


@dataclass(frozen=True, eq=False)
class TrialBuild:
    """What prevents a model from being built or trained, and its head; both None if the host has too little memory.

    `shapes` are those of an example's inputs and of its outputs, and `parameters` counts the weights' numbers. `build`
    is what another call of the function must not share, and must have in common.
    """

    problem: InputError | None = None
    head: "Head | None" = None
    shapes: tuple[ShapeTree, Any] = ((), ())
    parameters: int = 0
    frozen: int = 0  # of these, in the first phase
    build: "Build | None" = None


def try_build(
    architecture: str, parameters: Mapping[str, Any], training: TrainingSettings, rows: "TrainingRows", folder: Path
) -> TrialBuild:
    """Build a model and settle its head by training rows; a problem has file and line of the user's function.

    A build for which the host has too little memory is no problem of the study: its trial reports it.
    """
    import keras  # noqa: PLC0415 - Keras takes seconds; a study is read without it

    try:
        keras.backend.clear_session(free_memory=False)
        model = _builder(architecture, parameters, training, rows, folder)(0, rows.training_inputs)
        _refuse_settings(architecture)
        return _tried(model, training, rows, folder)
    except MemoryError:
        return TrialBuild()
    except SystemExit as error:
        return TrialBuild(InputError(ARCHITECTURE, f"{architecture} ended the process: SystemExit({error.code!r})"))
    except InputError as error:
        return TrialBuild(_located(error, architecture, folder))


def _builder(
    architecture: str, parameters: Mapping[str, Any], training: TrainingSettings, rows: "TrainingRows", folder: Path
) -> Callable[[int, Any], Any]:
    """Return a function from a seed and the inputs of the training split to a new model for these rows."""
    from nightune.models.networks.head_settings import output_size, quantity_loss  # noqa: PLC0415 - Keras

    size, shape = output_size(training, rows.task, rows.output_size), example_shape(rows.inputs)

    def build(seed: int, training_inputs: Any) -> Any:
        return build_model(
            architecture,
            parameters,
            shape,
            size,
            folder=folder,
            seed=seed,
            training_inputs=training_inputs,
            vocabulary_sizes=rows.vocabulary_sizes,
            quantity_loss=quantity_loss(training, rows.task, rows.output_size),
        )

    return build


def _tried(model: Any, training: TrainingSettings, rows: "TrainingRows", folder: Path) -> TrialBuild:
    """Settle the head of a built model, and try what training does with it; InputError as in `try_build`."""
    from nightune.models.networks.frozen_layers import try_phases  # noqa: PLC0415 - Keras
    from nightune.models.networks.frozen_numbers import refuse_frozen_numbers, refuse_frozen_steps  # noqa: PLC0415 - as above
    from nightune.models.networks.joint_heads import read_head  # noqa: PLC0415 - as above
    from nightune.models.networks.output_shapes import output_shape  # noqa: PLC0415 - as above
    from nightune.models.networks.packed_models import packing_of, plain_model  # noqa: PLC0415 - as above
    from nightune.models.networks.repeated_builds import Build  # noqa: PLC0415 - as above
    from nightune.models.networks.weighted_models import refuse_ignored_weights  # noqa: PLC0415

    build = Build.of(model)
    refuse_frozen_numbers(model, rows.inputs)
    head = read_head(model, rows, training, folder)
    _refuse_own_compile(model, head)
    if rows.are_weighted:
        refuse_ignored_weights(plain_model(model), head, rows, folder)
    refuse_frozen_steps(plain_model(model), head, rows)  # it compiles the model anew
    head = replace(head, remarks=(*head.remarks, *_remarks(model, rows, head.loss_name)))
    frozen = try_phases(model, training)
    packing = packing_of(model)
    outputs = output_shape(model, rows.two)[1:] if packing is None else packing.shapes
    return TrialBuild(
        head=head,
        shapes=(example_shape(rows.inputs), outputs),
        parameters=int(model.count_params()),
        frozen=frozen,
        build=build,
    )


def _refuse_own_compile(model: Any, head: "Head") -> None:
    """Refuse a method `compile` of the model's author that replaces what the study settles."""
    import keras  # noqa: PLC0415 - as in try_build

    from nightune.models.networks.own_methods import own_methods, refuse_replacing_compile  # noqa: PLC0415 - Keras

    if own_methods(model, ("compile",)):
        optimizer, loss = keras.optimizers.SGD(), head.make_loss()
        model.compile(optimizer, loss=loss, metrics=[])
        refuse_replacing_compile(model, optimizer, loss)


def _refuse_settings(architecture: str) -> None:
    """Refuse a file that sets what Keras keeps for the whole process: it would hold for all later models."""
    import keras  # noqa: PLC0415 - as in try_build

    _refuse_eager_functions(architecture)
    config, usual = keras.config, _usual_settings()
    for name, argument in _ARGUMENTS.items():
        value = getattr(config, name)()
        if value != usual[name]:
            getattr(config, f"set_{name}")(usual[name])
            raise _set_for_all(ARCHITECTURE, architecture, f"{name} to {value}", f"give {argument} to its layers")
    policy = config.dtype_policy().name
    if policy != config.floatx():
        config.set_dtype_policy(config.floatx())
        remedy = f'set precision = "{policy}" in [space]' if policy in POLICIES else "give dtype to its layers"
        raise _set_for_all("precision", architecture, f"dtype policy to {policy}", remedy)


def _refuse_eager_functions(architecture: str) -> None:
    """TensorFlow would compile nothing any more, in either engine."""
    import keras  # noqa: PLC0415 - as in try_build

    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf  # noqa: PLC0415 - loaded already as Keras' backend

    if tf.config.functions_run_eagerly():
        tf.config.run_functions_eagerly(False)
        setting, remedy = "tf.config.run_functions_eagerly", "compute with keras.ops what needs it"
        problem = f"the file of {architecture} sets {setting}, which would hold for all models"
        raise InputError(ARCHITECTURE, f"{problem}; remove it there, and {remedy}")


def _set_for_all(key: str, architecture: str, setting: str, remedy: str) -> InputError:
    problem = f"the file of {architecture} sets Keras' {setting}, which would hold for all models"
    return InputError(key, f"{problem}; remove it there, and {remedy} instead")


def _usual_settings() -> dict[str, Any]:
    """Keras' settings without a user's code: its defaults, and those of the machine's keras.json."""
    usual = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}
    folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    with suppress(OSError, ValueError):
        stated = json.loads((folder / "keras.json").read_text(encoding="utf-8"))
        usual |= {name: value for name, value in stated.items() if name in usual}
    return usual


def repetition_problem(
    architecture: str,
    parameters: Mapping[str, Any],
    training: TrainingSettings,
    rows: "TrainingRows",
    folder: Path,
    first: "Build",
) -> InputError | None:
    """Return why a user's function does not make a new model for each trial; `first` is one of these parameters."""
    from nightune.models.networks.frozen_layers import set_phase  # noqa: PLC0415 - Keras
    from nightune.models.networks.repeated_builds import (  # noqa: PLC0415 - as above
        refuse_repeated_layers,
        refuse_weights_by_rows,
    )

    try:
        build = _builder(architecture, parameters, training, rows, folder)
        last = partial(set_phase, training=training, is_fine_tuning=training.second_phase > 0)
        refuse_repeated_layers(first, lambda seed: build(seed, rows.training_inputs), rows.inputs, last)
        if rows.fold_inputs and reads_training_inputs(architecture, folder):
            refuse_weights_by_rows(lambda given: build(0, given), (rows.training_inputs, *rows.fold_inputs))
    except MemoryError:
        return None
    except InputError as error:
        return _located(error, architecture, folder)
    return None


def dropout_problem(
    architecture: str,
    parameters: Mapping[str, Any],
    rate: float,
    training: TrainingSettings,
    rows: "TrainingRows",
    folder: Path,
    first: "Build",
) -> InputError | None:
    """Return why a training cannot continue with another dropout rate; `first` is the model that it begins with."""
    from nightune.models.networks.repeated_builds import other_weights  # noqa: PLC0415 - Keras

    try:
        changed = {**parameters, PARAMETER: rate}
        model = _builder(architecture, changed, training, rows, folder)(0, rows.training_inputs)
        difference = other_weights(first, model)
    except MemoryError:
        return None
    except InputError as error:
        return _located(error, architecture, folder)
    said = f"{architecture} builds other weights for {rate:g} than for {parameters[PARAMETER]:g} ({difference})"
    remedy = "let only layers of dropout depend on it, or give it one value"
    problem = InputError(DROPOUT, f"{said}, so that it cannot change within a training; {remedy}")
    return _located(problem, architecture, folder) if difference else None


def _remarks(model: Any, rows: "TrainingRows", loss: str) -> Iterator[str]:
    from nightune.models.networks.coupling import (  # noqa: PLC0415 - Keras
        MINIMUM_ROWS,
        depends_on_other_rows,
        is_known_by_example,
    )
    from nightune.models.networks.own_methods import remarks_on_methods  # noqa: PLC0415 - as above

    yield from remarks_on_methods(model, loss)
    has_enough = row_count(rows.inputs) >= MINIMUM_ROWS
    if has_enough and not is_known_by_example(model) and depends_on_other_rows(model, rows.inputs, training=False):
        yield "predictions for a row depend on the other rows that are predicted with it: compute over each row alone"


def _located(error: InputError, architecture: str, folder: Path) -> InputError:
    """Add where the function begins to an error that no line of it raised: a wrong result, a missing argument.

    The layers to freeze are the study's.
    """
    if not is_reference(architecture) or "(line " in error.message or error.key == FREEZE:
        return error
    try:
        function = inspect.unwrap(load_function(architecture, folder, ARCHITECTURE))
        line = inspect.getsourcelines(function)[1]
    except (InputError, OSError, TypeError, ValueError):  # not a function with a source: a callable object
        return error
    name = Path(architecture.rpartition(":")[0]).name
    return InputError(error.key, f"{error.message} (line {line} of {name})")
