"""Build a model before any training, to report what its function raises or returns, and how its head is settled."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.models.errors import InputError
from nightune.models.networks.architectures import build_model, reads_training_inputs
from nightune.models.serving.input_trees import ShapeTree, example_shape, row_count
from nightune.models.techniques.losses import TrainingSettings
from nightune.models.techniques.precision import POLICIES
from nightune.models.user_code import is_reference, load_function
from nightune.vocabulary import ARCHITECTURE

if TYPE_CHECKING:
    from nightune.models.networks.heads import Head
    from nightune.models.networks.training_rows import TrainingRows


@dataclass(frozen=True, eq=False)
class TrialBuild:
    """What prevents a model from being built or trained, and its head; both None if the host has too little memory.

    `shapes` are those of an example's inputs and of its outputs, and `parameters` counts the weights' numbers.
    """

    problem: InputError | None = None
    head: "Head | None" = None
    shapes: tuple[ShapeTree, Any] = ((), ())
    parameters: int = 0


def try_build(
    architecture: str, parameters: Mapping[str, Any], training: TrainingSettings, rows: "TrainingRows", folder: Path
) -> TrialBuild:
    """Build a model and settle its head by training rows; a problem has file and line of the user's function.

    A build for which the host has too little memory is no problem of the study: its trial reports it.
    """
    import keras  # noqa: PLC0415 - Keras takes seconds; a study is read without it

    from nightune.models.networks.head_settings import output_size  # noqa: PLC0415 - as above
    from nightune.models.networks.joint_heads import read_head  # noqa: PLC0415 - as above
    from nightune.models.networks.output_shapes import output_shape  # noqa: PLC0415 - as above
    from nightune.models.networks.own_methods import own_methods, refuse_replacing_compile  # noqa: PLC0415
    from nightune.models.networks.packed_models import packing_of, plain_model  # noqa: PLC0415 - as above
    from nightune.models.networks.weighted_models import refuse_ignored_weights  # noqa: PLC0415

    try:
        keras.backend.clear_session(free_memory=False)
        size, shape = output_size(training, rows.task, rows.output_size), example_shape(rows.inputs)
        given = rows.training_inputs
        model = build_model(architecture, parameters, shape, size, folder=folder, seed=0, training_inputs=given)
        _refuse_policy(architecture)
        head = read_head(model, rows, training, folder)
        if own_methods(model, ("compile",)):
            optimizer, loss = keras.optimizers.SGD(), head.make_loss()
            model.compile(optimizer, loss=loss, metrics=[])
            refuse_replacing_compile(model, optimizer, loss)
        if rows.are_weighted:
            refuse_ignored_weights(plain_model(model), head, rows, folder)
        head = replace(head, remarks=(*head.remarks, *_remarks(model, rows, head.loss_name)))
        packing = packing_of(model)
        outputs = output_shape(model, rows.two)[1:] if packing is None else packing.shapes
        return TrialBuild(head=head, shapes=(shape, outputs), parameters=int(model.count_params()))
    except MemoryError:
        return TrialBuild()
    except SystemExit as error:
        return TrialBuild(InputError(ARCHITECTURE, f"{architecture} ended the process: SystemExit({error.code!r})"))
    except InputError as error:
        return TrialBuild(error if "(line " in error.message else _located(error, architecture, folder))


def _refuse_policy(architecture: str) -> None:
    """Refuse a file that sets Keras' dtype policy: it would hold for all later models of the process."""
    import keras  # noqa: PLC0415 - as in try_build

    policy, usual = keras.config.dtype_policy().name, keras.config.floatx()
    if policy != usual:
        keras.config.set_dtype_policy(usual)
        problem = f"the file of {architecture} sets Keras' dtype policy to {policy}, which would hold for all models"
        remedy = f'set precision = "{policy}" in [space]' if policy in POLICIES else "give dtype to its layers"
        raise InputError("precision", f"{problem}; remove it there, and {remedy} instead")


def repetition_problem(
    architecture: str, parameters: Mapping[str, Any], training: TrainingSettings, rows: "TrainingRows", folder: Path
) -> InputError | None:
    """Return why a user's function, whose model can be built, does not make a new model for each trial."""
    from nightune.models.networks.head_settings import output_size  # noqa: PLC0415 - Keras
    from nightune.models.networks.repeated_builds import (  # noqa: PLC0415 - as above
        refuse_repeated_layers,
        refuse_weights_by_rows,
    )

    size, shape = output_size(training, rows.task, rows.output_size), example_shape(rows.inputs)

    def build(seed: int, given: Any) -> Any:
        return build_model(architecture, parameters, shape, size, folder=folder, seed=seed, training_inputs=given)

    try:
        refuse_repeated_layers(lambda seed: build(seed, rows.training_inputs), rows.inputs)
        if rows.fold_inputs and reads_training_inputs(architecture, folder):
            refuse_weights_by_rows(lambda given: build(0, given), (rows.training_inputs, *rows.fold_inputs))
    except MemoryError:
        return None
    except InputError as error:
        return error if "(line " in error.message else _located(error, architecture, folder)
    return None


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
    """Add where the function begins to an error that no line of it raised: a wrong result, a missing argument."""
    if not is_reference(architecture):
        return error
    try:
        function = inspect.unwrap(load_function(architecture, folder, ARCHITECTURE))
        line = inspect.getsourcelines(function)[1]
    except (InputError, OSError, TypeError, ValueError):  # not a function with a source: a callable object
        return error
    name = Path(architecture.rpartition(":")[0]).name
    return InputError(error.key, f"{error.message} (line {line} of {name})")
