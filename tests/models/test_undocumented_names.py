"""Names that Keras, TensorFlow and JAX do not document: each behaves as we use it, in the installed versions.

pyproject.toml may allow a new version of a library when these tests and test_undocumented_optimizers.py pass on it.
"""

import json
import logging
import os
import random
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.conftest import BACKEND
from tests.models.undocumented import undocumented


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, layers, ops, make_variable, Penalty, decayed_weights, is_out_of_memory, devices, files, models
    global normalization, learn_template, seed_dropout, drawn_states
    import keras
    from keras import layers, ops

    from nightune.models.engines.keras_parts.traced_scalar import make_variable
    from nightune.models.engines.keras_parts.updates import Penalty, decayed_weights
    from nightune.models.engines.memory import is_out_of_memory
    from nightune.models.library_internals import devices, files, models, normalization
    from nightune.models.library_internals.random_numbers import drawn_states
    from nightune.models.training.keras_file import learn_template
    from nightune.models.training.seeds import seed_dropout


ROOT = Path(__file__).parents[2]
ON_TENSORFLOW = BACKEND == "tensorflow"
BATCH = np.ones((4, 3), np.float32)


def net(*stack: Any) -> Any:
    return keras.Sequential([keras.Input((3,)), *stack])


def number(value: Any) -> float:
    return float(np.asarray(ops.convert_to_numpy(value)).flat[0])


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


@undocumented(
    "Keras", "SeedGenerator: seed_generator_state", "seeding dropout", "library_internals.models.random_states"
)
def test_random_states_are_found_by_their_name_and_start_the_noise() -> None:
    model = net(layers.Dropout(0.5), layers.GaussianNoise(1.0))
    noise = []
    for seed in (1, 1, 2):
        seed_dropout(model, seed)
        noise.append(ops.convert_to_numpy(model(BATCH, training=True)))
    assert len(models.random_states(model)) == 2
    assert np.array_equal(noise[0], noise[1])
    assert not np.array_equal(noise[0], noise[2])


@undocumented(
    "Keras", "SeedGenerator.next, .state", "streams of a model", "library_internals.random_numbers.drawn_states"
)
def test_each_draw_of_a_seed_generator_is_seen() -> None:
    own = keras.random.SeedGenerator(1)
    with drawn_states() as states:
        keras.random.normal((2,), seed=own)
        keras.random.normal((2,), seed=1)
        keras.random.gamma((2,), 1.0, seed=own)
        keras.random.uniform((2,))
        layers.Dropout(0.5)(BATCH, training=True)
    assert [state is own.state for state in states] == [True, True, False, False]


@undocumented("Keras", "make_default_seed", "drawing weights without a model", "library_internals.models.default_seeds")
def test_default_seeds_come_from_pythons_generator() -> None:
    before = random.getstate()
    keras.utils.set_random_seed(7)
    taken = [keras.initializers.GlorotUniform().seed for _ in range(3)]
    random.setstate(before)
    assert taken == list(models.default_seeds(7, 3))


@undocumented(
    "Keras", "backend.random.draw_seed", "seeds that users fix", "library_internals.models.replacing_fixed_seeds"
)
def test_all_random_numbers_come_from_one_function_of_their_seed() -> None:
    shape = (2, 3)
    draws = [
        lambda seed: keras.initializers.HeNormal(seed=seed)(shape),
        lambda seed: keras.initializers.Orthogonal(seed=seed)(shape),
        lambda seed: keras.initializers.RandomUniform(seed=keras.random.SeedGenerator(seed))(shape),
        lambda seed: keras.random.normal(shape, seed=seed),
        lambda seed: keras.random.truncated_normal(shape, seed=seed),
        lambda seed: keras.random.randint(shape, 0, 10**6, seed=seed),
    ]
    for draw in draws:
        with models.replacing_fixed_seeds(lambda seed: seed + 1):
            replaced = np.asarray(draw(1))
        np.testing.assert_array_equal(replaced, np.asarray(draw(2)))


@undocumented("Keras", "Initializer.seed", "drawing weights of another seed", "engines.compiled.initial_weights.Draw")
def test_an_initializer_reads_its_seed_at_each_call() -> None:
    one, other = keras.initializers.GlorotUniform(seed=1), keras.initializers.GlorotUniform(seed=2)
    one.seed = 2
    assert np.array_equal(*(ops.convert_to_numpy(initializer((3, 2))) for initializer in (one, other)))


@undocumented("Keras", "Trainer.compiled", "saving without the optimizer", "library_internals.models.mark_uncompiled")
def test_a_model_marked_as_uncompiled_is_saved_as_one(tmp_path: Path) -> None:
    model = net(layers.Dense(1))
    model.compile("adam", "mse")
    assert json.loads(member(model, tmp_path, files.CONFIG))["compile_config"]
    models.mark_uncompiled(model)
    assert not json.loads(member(model, tmp_path, files.CONFIG))["compile_config"]
    assert not keras.saving.load_model(tmp_path / "model.keras").compiled


@undocumented("Keras", "Trainer.compiled", "whether an author compiled it", "library_internals.models.is_compiled")
def test_a_model_knows_whether_it_was_compiled() -> None:
    model = net(layers.Dense(1))
    assert not models.is_compiled(model)
    model.compile()
    assert models.is_compiled(model)


@undocumented("Keras", "Trainer.train_function", "new penalties", "library_internals.models.discard_train_function")
def test_without_its_train_function_a_model_sees_new_penalties() -> None:
    model = net(layers.Dense(1, kernel_initializer="ones"))
    penalty = Penalty(decayed_weights(model))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(BATCH, BATCH[:, :1] * 3.0, verbose=0)
    penalty.write(0.5, 0.0)
    models.discard_train_function(model)
    history = model.fit(BATCH, BATCH[:, :1] * 3.0, verbose=0)
    assert history.history["loss"][0] == pytest.approx(1.5)


@undocumented("Keras", "Trainer.jit_compile", "saying if XLA is used", "library_internals.models.compiles_with_xla")
def test_a_compiled_model_says_whether_xla_compiles_its_steps() -> None:
    model = net(layers.Dense(1))
    for given in (True, False):
        model.compile("sgd", "mse", jit_compile=given)
        assert models.compiles_with_xla(model) is given


@undocumented("Keras", "Variable.regularizer", "penalties of weights", "engines.keras_parts.updates.Penalty")
def test_a_regularizer_of_a_variable_is_part_of_the_losses_and_not_of_the_file() -> None:
    model = net(layers.Dense(1, kernel_initializer="ones"))
    Penalty(decayed_weights(model)).write(0.5, 0.25)
    assert [number(loss) for loss in model.losses] == [pytest.approx(3 * 0.75)]
    assert model.layers[0].get_config()["kernel_regularizer"] is None


@undocumented("Keras", "Dropout.rate", "dropout rates as data", "engines.keras_parts.traced_scalar.make_variable")
def test_dropout_reads_its_rate_at_each_call_and_takes_a_variable() -> None:
    layer = layers.Dropout(0.5)
    rate = make_variable(layer, "rate")
    dropped = []
    for value in (1e-9, 0.99):
        rate.assign(value)
        dropped.append(np.mean(ops.convert_to_numpy(layer(np.ones((100, 10), np.float32), training=True)) == 0.0))
    assert dropped[0] == 0.0
    assert dropped[1] > 0.9


@undocumented("Keras", "names of weights", "leaving out biases", "engines.keras_parts.updates.decayed_weights")
def test_biases_have_their_name_even_with_two_dimensions() -> None:
    attention = layers.MultiHeadAttention(2, 3)
    inputs = keras.Input((4, 3))
    model = keras.Model(inputs, layers.GRU(2)(attention(inputs, inputs)))
    names = [variable.name for variable in decayed_weights(model)]
    assert set(names) == {"kernel", "recurrent_kernel"}
    assert any(len(variable.shape) == 2 and variable.name == "bias" for variable in model.trainable_variables)


@undocumented("Keras", "Callback.model", "weights before an update", "engines.fit.plan_callbacks.CopyKernels")
def test_a_callback_that_asks_for_its_model_sees_the_present_weights() -> None:
    seen: list[float] = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            seen.append(number(self.model.trainable_variables[0].value))

    model = net(layers.Dense(1, kernel_initializer="ones"))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(BATCH, BATCH[:, :1], batch_size=2, epochs=1, verbose=0, callbacks=[Look()])
    assert len(set(seen)) == 2


@undocumented("Keras", "StatelessScope.losses, get_current_value", "pure functions", "engines.compiled.program.Program")
def test_a_scope_holds_values_and_the_losses_that_layers_add() -> None:
    layer = layers.Dense(1, kernel_initializer="ones", activity_regularizer=keras.regularizers.L1(0.5))
    model, counter = net(layer), keras.Variable(1.0)
    pairs = [(layer.kernel, ops.convert_to_tensor(np.full((3, 1), 2.0, np.float32))), (counter, ops.ones(()))]
    with keras.StatelessScope(pairs, collect_losses=True) as scope:
        outputs = model(BATCH, training=True)
        counter.assign(5.0)
        moved = number(scope.get_current_value(counter))
    assert number(outputs) == pytest.approx(6.0)
    assert [number(loss) for loss in scope.losses] == [pytest.approx(0.5 * 6.0)]
    assert (moved, number(counter.value)) == (5.0, 1.0)


@pytest.mark.nights  # TensorFlow waits ten seconds for memory
@undocumented("TensorFlow, JAX", "their errors of memory", "smaller micro-batches", "engines.memory.is_out_of_memory")
def test_the_error_of_an_impossible_allocation_is_known() -> None:
    with pytest.raises(Exception, match=r".") as caught:
        np.asarray(ops.ones((2**20, 2**20, 2**12)))  # 16 pebibytes
    assert is_out_of_memory(caught.value), str(caught.value)


@undocumented("Keras", ".keras: its three members", "checkpoints", "library_internals.files.WEIGHTS")
def test_a_saved_model_has_three_members_and_each_weight_lies_in_one_piece(tmp_path: Path) -> None:
    model = net(layers.Dense(2), layers.Dropout(0.5), layers.Dense(1))
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert {files.WEIGHTS, files.CONFIG, files.METADATA} == set(archive.namelist())

    def write(weights: list[np.ndarray]) -> bytes:
        model.set_weights(weights)
        model.save(tmp_path / "model.keras")
        return (tmp_path / "model.keras").read_bytes()

    template = learn_template(write, model.get_weights())
    assert template
    assert sorted(number for number, _ in template.places) == [0, 1, 2, 3]


@undocumented("Keras", ".keras: date_saved", "checkpoints", "library_internals.files.with_present_date")
def test_the_date_in_a_saved_model_is_written_as_keras_does(tmp_path: Path) -> None:
    metadata = json.loads(member(net(layers.Dense(1)), tmp_path, files.METADATA))
    filled = json.loads(files.with_present_date(json.dumps(metadata).encode()))
    assert filled.keys() == metadata.keys()
    written = [time.strptime(each["date_saved"], "%Y-%m-%d@%H:%M:%S") for each in (metadata, filled)]
    assert 0 <= time.mktime(written[1]) - time.mktime(written[0]) < 60


@undocumented("Keras", ".keras: layers' config", "checkpoints", "library_internals.files.with_dropout_rate")
def test_the_dropout_rate_of_a_saved_model_can_be_filled_in(tmp_path: Path) -> None:
    configs = []
    for rate in (0.5, 0.25):
        keras.backend.clear_session()  # so that both have the same names
        configs.append(member(net(layers.Dense(2), layers.Dropout(rate)), tmp_path, files.CONFIG))
    filled, expected = (re.sub(rb'"shared_object_id": \d+', b'"shared_object_id": 0', each) for each in configs)
    assert files.with_dropout_rate(filled, 0.25) == expected


@pytest.mark.skipif(not ON_TENSORFLOW, reason="of TensorFlow")
@undocumented(
    "TensorFlow", "device_lib.list_local_devices", "GPU memory", "library_internals.devices.tensorflow_gpu_limits"
)
def test_tensorflow_lists_devices_with_their_memory() -> None:
    import tensorflow
    from tensorflow.python.client import device_lib

    found = device_lib.list_local_devices()
    assert [device.memory_limit > 0 for device in found if device.device_type == "CPU"]
    assert len(devices.tensorflow_gpu_limits()) == len(tensorflow.config.list_physical_devices("GPU"))


@pytest.mark.skipif(not ON_TENSORFLOW, reason="of TensorFlow")
@undocumented("TensorFlow", "its warning of retracing", "quiet logs", "engines.fit.engine.FitEngine")
def test_the_warning_of_retracing_is_known(caplog: pytest.LogCaptureFixture) -> None:
    import tensorflow

    logging.getLogger("tensorflow").filters.clear()
    traced = tensorflow.function(lambda value: value)
    with caplog.at_level(logging.WARNING, "tensorflow"):
        logging.getLogger("tensorflow").addHandler(caplog.handler)
        for value in range(8):
            traced(value)
    assert "triggered tf.function retracing" in caplog.text


@pytest.mark.skipif(ON_TENSORFLOW, reason="of JAX")
@undocumented("JAX", "Device.memory_stats", "GPU memory", "library_internals.devices.jax_memory_statistics")
def test_jax_knows_the_memory_of_an_accelerator() -> None:
    import jax

    statistics = devices.jax_memory_statistics()
    wanted = set() if jax.default_backend() == "cpu" else {"bytes_limit", "peak_bytes_in_use"}
    assert wanted <= statistics.keys()


@pytest.mark.nights
@pytest.mark.skipif(not ON_TENSORFLOW, reason="runs the others")
def test_the_names_hold_on_jax_as_well() -> None:
    pytest.importorskip("jax")
    tests = [str(file) for file in sorted(Path(__file__).parent.glob("test_undocumented_*.py"))]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command, env={**os.environ, "KERAS_BACKEND": "jax"}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def member(model: Any, folder: Path, name: str) -> bytes:
    model.save(folder / "model.keras")
    with zipfile.ZipFile(folder / "model.keras") as archive:
        return archive.read(name)


@undocumented(
    "Keras",
    "BatchNormalization._moments, ._reduction_axes",
    "statistics of the real rows of a padded batch",
    "library_internals.normalization.replacing_moments",
)
def test_batch_normalization_takes_its_statistics_from_a_function() -> None:
    layer, seen = layers.BatchNormalization(momentum=0.0, epsilon=0.0), []
    layer.build((None, 3))

    def moments(inputs: Any, mask: Any, own: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
        seen.append((mask, axes, [np.asarray(ops.convert_to_numpy(each)) for each in own(inputs, mask)]))
        return ops.full((3,), 1.0), ops.full((3,), 4.0)

    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    with normalization.replacing_moments([layer], moments):
        normalized = layer(rows, training=True)
    np.testing.assert_allclose(ops.convert_to_numpy(normalized), (rows - 1.0) / 2.0, rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.moving_variance), np.full(3, 4.0))
    ((mask, axes, own),) = seen
    assert (mask, axes) == (None, (0,))
    np.testing.assert_allclose(own, [rows.mean(axis=0), rows.var(axis=0)], rtol=1e-6)
    own_rows = ops.convert_to_numpy(layer(rows, training=True))
    np.testing.assert_allclose(own_rows, (rows - rows.mean(axis=0)) / rows.std(axis=0), rtol=1e-5)


WITHOUT_TENSORFLOW = """
import sys
from pathlib import Path
from nightune.models.backend import import_tensorflow_if_installed, load_keras
keras = load_keras()
keras.utils.set_random_seed(1)
keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(Path(sys.argv[1]) / "model.keras")
assert "tensorflow" not in sys.modules, "imported"
import_tensorflow_if_installed()
import tensorflow
drawn = []
for seed in (1, 1, 2):
    keras.utils.set_random_seed(seed)
    drawn.append(float(tensorflow.random.uniform(())))
assert drawn[0] == drawn[1] != drawn[2], drawn
"""


@pytest.mark.skipif(ON_TENSORFLOW, reason="of other backends")
@undocumented(
    "Keras",
    "rng_utils.tf, serialization_lib.tf",
    "a start without TensorFlow",
    "library_internals.lazy_modules.ignore_tensorflow_until_imported",
)
def test_keras_on_jax_neither_seeds_nor_saves_with_tensorflow_before_it_is_imported(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(not ON_TENSORFLOW, reason="of TensorFlow")
@undocumented(
    "TensorFlow",
    "Dataset._input_dataset, BatchDataset._batch_size",
    "telling batches from examples",
    "library_internals.datasets.step_before",
)
def test_a_data_set_knows_its_steps() -> None:
    import tensorflow as tf

    from nightune.models.library_internals.datasets import batch_size_of, has_steps, step_before

    batched = tf.data.Dataset.from_tensor_slices(np.arange(6)).batch(3).prefetch(1)
    assert has_steps(batched)
    assert "batch" in type(step_before(batched)).__name__.lower()
    assert batch_size_of(step_before(batched)) == 3
    assert not has_steps(step_before(step_before(batched)))


@undocumented(
    "openpyxl",
    "Workbook._archive, Worksheet._worksheet_path",
    "finding merged cells",
    "library_internals.datasets.content_of_sheet",
)
def test_a_sheet_that_is_only_read_has_its_file(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    from nightune.models.library_internals.datasets import content_of_sheet

    book = openpyxl.Workbook()
    book.active.merge_cells("A1:A2")
    book.save(tmp_path / "book.xlsx")
    read = openpyxl.load_workbook(tmp_path / "book.xlsx", read_only=True)
    assert b"mergeCell" in content_of_sheet(read.active)
    read.close()
