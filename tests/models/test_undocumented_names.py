"""Names that Keras, TensorFlow and JAX do not document: each behaves as we use it, in the installed versions.

pyproject.toml may allow a new version of a library when these tests and all other test_undocumented_*.py pass on it.
"""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.conftest import BACKEND
from tests.models.undocumented import BATCH, net, undocumented


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, layers, ops, make_variable, Penalty, decayed_weights, is_out_of_memory, devices, models
    global normalization
    import keras
    from keras import layers, ops

    from nightune.models.engines.keras_parts.traced_scalar import make_variable
    from nightune.models.engines.keras_parts.updates import Penalty, decayed_weights
    from nightune.models.engines.memory import is_out_of_memory
    from nightune.models.library_internals import devices, models, normalization


ROOT = Path(__file__).parents[2]
ON_TENSORFLOW = BACKEND == "tensorflow"


def number(value: Any) -> float:
    return float(np.asarray(ops.convert_to_numpy(value)).flat[0])


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


ONE_THREAD = """
import os
from pathlib import Path
import numpy as np
from nightune.models import backend
backend.limit_threads(1)
keras = backend.load_keras()
product = keras.ops.matmul(np.ones((2048, 2048), np.float32), np.ones((2048, 2048), np.float32))
assert float(product[0, 0]) == 2048.0
assert "NPROC" not in os.environ
names = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
if keras.backend.backend() == "jax":
    assert names.count("tf_XLAEigen") == 1, names
else:
    import tensorflow
    assert tensorflow.config.threading.get_intra_op_parallelism_threads() == 1
backend.limit_threads(None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads have names on Linux")
@undocumented("JAX", "NPROC", "small networks in one thread", "library_internals.devices.jax_threads")
def test_devices_that_are_initialized_under_a_limit_have_one_thread_for_parts_of_operations() -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("NPROC", "TF_NUM_INTRAOP_THREADS")}
    done = subprocess.run([sys.executable, "-c", ONE_THREAD], env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_jax_plugins_are_found_as_modules_of_their_package_unless_a_setting_leaves_them_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jax = pytest.importorskip("jax")
    (tmp_path / "jax_plugins" / "some").mkdir(parents=True)
    (tmp_path / "jax_plugins" / "some" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("NPROC", raising=False)
    before = jax.config.jax_platforms
    try:
        for platforms, count in ((None, None), ("cpu", "1")):
            jax.config.update("jax_platforms", platforms)
            with devices.jax_threads(1):
                assert os.environ.get("NPROC") == count
    finally:
        jax.config.update("jax_platforms", before)


def test_threads_are_not_limited_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    tensorflow, limits = pytest.importorskip("tensorflow"), []
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setattr(tensorflow.config.threading, "get_intra_op_parallelism_threads", lambda: 0)
    monkeypatch.setattr(tensorflow.config.threading, "set_intra_op_parallelism_threads", limits.append)
    for gpus in (["GPU:0"], []):
        monkeypatch.setattr(tensorflow.config, "list_physical_devices", lambda kind, found=gpus: found)
        with devices.tensorflow_threads(1):
            assert limits == [1] * (not gpus)
