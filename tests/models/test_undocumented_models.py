"""Names of models, layers and tensors that Keras does not document: each behaves as we use it."""

import json
from pathlib import Path

import numpy as np

from tests.models.undocumented import BATCH, net, saved_member, undocumented


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, layers, ops, files, models
    import keras
    from keras import layers, ops

    from nightune.models.library_internals import files, models


@undocumented("Keras", "Layer._flatten_layers", "finding layers inside layers", "library_internals.models.all_layers")
def test_layers_inside_layers_are_found() -> None:
    inner = layers.Dropout(0.5)
    model = net(keras.Sequential([layers.Dense(2), inner]), layers.Dense(1))
    found = models.all_layers(model)
    assert [layer for layer in found if isinstance(layer, layers.Dropout)] == [inner]
    assert sum(isinstance(layer, layers.Dense) for layer in found) == 2


@undocumented(
    "Keras", "keras.src.*", "telling Keras' layers from a user's", "library_internals.models.is_part_of_keras"
)
def test_layers_of_keras_are_known_by_their_module() -> None:
    class Own(layers.Dense):
        pass

    assert models.is_part_of_keras(layers.Dense(1))
    assert models.is_part_of_keras(layers.GRU(1))
    assert not models.is_part_of_keras(Own(1))
    assert models.is_defined_by_keras(keras.losses.mean_squared_error)
    assert not models.is_defined_by_keras(Own)


@undocumented("Keras", "Functional._inputs_struct", "giving inputs in order", "library_internals.models.take_in_order")
def test_a_model_of_a_dictionary_takes_its_inputs_in_order(tmp_path: Path) -> None:
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    model = keras.Model({"left": left, "right": right}, left - 2 * right)
    models.take_in_order(model)
    model.save(tmp_path / "model.keras")
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        np.testing.assert_array_equal(ops.convert_to_numpy(each((BATCH, 3 * BATCH))), -5 * BATCH)


@undocumented(
    "Keras", "Functional._outputs_struct", "a dictionary of one output", "library_internals.models.return_tensor"
)
def test_a_model_of_a_dictionary_of_one_output_returns_it(tmp_path: Path) -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, {"y": layers.Dense(2)(inputs)})
    models.return_tensor(model)
    model.save(tmp_path / "model.keras")
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        assert tuple(each(BATCH).shape) == (4, 2)


@undocumented(
    "Keras",
    "Model._compile_loss._user_loss, _user_loss_weights",
    "the loss that a model was compiled with",
    "library_internals.models.compiled_loss",
)
def test_a_compiled_model_knows_its_loss_as_given() -> None:
    model, loss = net(layers.Dense(2)), keras.losses.Huber(delta=2.0)
    assert models.compiled_loss(model) == (None, None)
    model.compile("sgd")
    assert models.compiled_loss(model) == (None, None)
    model.compile("sgd", loss=[loss], loss_weights=[0.5])
    assert models.compiled_loss(model) == ([loss], [0.5])


@undocumented(
    "Keras",
    "Model._compile_metrics._user_metrics, _user_weighted_metrics",
    "the metrics that a model was compiled with",
    "library_internals.models.compiled_metrics",
)
def test_a_compiled_model_knows_its_metrics_as_given() -> None:
    model, metric = net(layers.Dense(2)), keras.metrics.AUC()
    assert models.compiled_metrics(model) == []
    model.compile("sgd", loss="mse", metrics=["mae", [metric]], weighted_metrics=["mse"])
    assert models.compiled_metrics(model) == ["mae", metric, "mse"]


@undocumented("Keras", "KerasTensor._keras_history", "finding output layers", "library_internals.models.operation_of")
def test_a_tensor_knows_what_made_it() -> None:
    last = layers.Dense(1)
    assert models.operation_of(net(layers.Dense(2), last).outputs[0]) is last


@undocumented("Keras", "Operation._inbound_nodes", "the way back from a tensor", "library_internals.models.sources_of")
def test_a_tensor_knows_what_it_was_computed_from() -> None:
    one, other, shared = keras.Input((3,)), keras.Input((3,)), layers.Dense(2)
    first, second = shared(one), shared(other)
    assert [id(tensor) for tensor in models.sources_of(first)] == [id(one)]
    assert [id(tensor) for tensor in models.sources_of(second)] == [id(other)]
    assert [id(tensor) for tensor in models.all_sources_of(shared)] == [id(one), id(other)]


@undocumented("Keras", "Trainer.compiled", "saving without the optimizer", "library_internals.models.mark_uncompiled")
def test_a_model_marked_as_uncompiled_is_saved_as_one(tmp_path: Path) -> None:
    model = net(layers.Dense(1))
    model.compile("adam", "mse")
    assert json.loads(saved_member(model, tmp_path, files.CONFIG))["compile_config"]
    models.mark_uncompiled(model)
    assert not json.loads(saved_member(model, tmp_path, files.CONFIG))["compile_config"]
    assert not keras.saving.load_model(tmp_path / "model.keras").compiled


@undocumented("Keras", "Trainer.compiled", "whether an author compiled it", "library_internals.models.is_compiled")
def test_a_model_knows_whether_it_was_compiled() -> None:
    model = net(layers.Dense(1))
    assert not models.is_compiled(model)
    model.compile()
    assert models.is_compiled(model)


@undocumented("Keras", "Trainer.train_function", "new penalties", "library_internals.models.discard_train_function")
@undocumented("Keras", "Trainer.jit_compile", "saying if XLA is used", "library_internals.models.compiles_with_xla")
def test_a_compiled_model_says_whether_xla_compiles_its_steps() -> None:
    model = net(layers.Dense(1))
    for given in (True, False):
        model.compile("sgd", "mse", jit_compile=given)
        assert models.compiles_with_xla(model) is given
