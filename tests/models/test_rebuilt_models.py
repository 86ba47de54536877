"""Models with code of their author are saved with that code, and rebuilt by it, whatever the process has loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.kept_code import code_kept
from nightune.models.recipe.params import read_recipe
from nightune.models.training.seeds import Seeds

HEAD = "import keras\nfrom keras import layers, ops\nfrom pathlib import Path\n"
GATE = """
class Gate(layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.a, self.b = layers.Dense(units), layers.Dense(units, activation="sigmoid")
    def call(self, x):
        return self.a(x) * self.b(x)
"""
BUILD = """
def build(input_shape, output_size, units: int = 3):
    inputs = keras.Input(input_shape)
    x = Gate(units)(layers.Flatten()(inputs))
    return keras.Model(inputs, layers.Dense(output_size)(x))
"""


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, FitEngine, Checkpoints, load, parameter_count, has_own_code, learn_rebuilding, build_model
    global rebuilding_module
    import keras

    import nightune.models.training.rebuilding as rebuilding_module
    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.networks.architectures import build_model
    from nightune.models.networks.own_code import has_own_code
    from nightune.models.training.checkpoint import Checkpoints, load, parameter_count
    from nightune.models.training.rebuilding import learn_rebuilding


@pytest.fixture
def dataset(make_dataset: Callable[..., Dataset]) -> Dataset:
    return make_dataset(shape=(6,))


@pytest.fixture
def saved(tmp_path: Path, dataset: Dataset) -> Callable[..., tuple[Any, Path]]:
    """Build `net.py:build` of files, change its weights, and save it; return the model and its archive."""

    def save(files: dict[str, str], name: str = "model", **parameters: Any) -> tuple[Any, Path]:
        for file, text in files.items():
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text(text)
        recipe = read_recipe(
            {"model.architecture": "net.py:build", **{f"model.{key}": each for key, each in parameters.items()}}
        )
        shape, size = dataset.input_shape, dataset.output_size
        model = build_model("net.py:build", recipe.model, shape, size, folder=tmp_path, seed=3)
        generator = np.random.default_rng(0)
        model.set_weights([weight + generator.uniform(0, 1, weight.shape) for weight in model.get_weights()])
        assert has_own_code(model)
        archive = tmp_path / f"{name}.zip"
        archive.write_bytes(learn_rebuilding(model, recipe, dataset, tmp_path).archive(model.get_weights()))
        return model, archive

    return save


def answers(model: Any) -> np.ndarray:
    rows = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    return np.asarray(keras.ops.convert_to_numpy(model(rows, training=False)))


def remove(folder: Path) -> None:
    """Delete the study's sources: what is opened afterwards is a copy."""
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".zip":
            path.unlink()


BUILDERS = {
    "own layer without a configuration": HEAD + GATE + BUILD,
    "lambda": HEAD + BUILD.replace("Gate(units)", "layers.Lambda(lambda t: ops.concatenate([t, ops.square(t)]))"),
    "own activation named as Keras'": HEAD
    + "def relu(x):\n    return 3 * x\n"
    + BUILD.replace("Gate(units)", "layers.Dense(units, activation=relu)"),
    "own regularizer and initializer": HEAD
    + """
class Mine(keras.regularizers.Regularizer):
    def __call__(self, x):
        return ops.sum(x)
class Start(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return ops.ones(shape, dtype)
"""
    + BUILD.replace("Gate(units)", "layers.Dense(units, kernel_regularizer=Mine(), kernel_initializer=Start())"),
    "subclass built by a call": HEAD
    + """
class Net(keras.Model):
    def __init__(self, units, size):
        super().__init__()
        self.hidden, self.out, self.norm = layers.Dense(units), layers.Dense(size), layers.BatchNormalization()
        self.noise = layers.Dropout(0.5)
    def call(self, x, training=False):
        return self.out(self.noise(self.norm(self.hidden(x)), training=training))
def build(input_shape, output_size, units: int = 3):
    return Net(units, output_size)
""",
    "draws while it answers": HEAD
    + """
class Noisy(layers.Layer):
    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator()
    def call(self, x):
        return x + keras.random.normal(ops.shape(x), seed=self.seed)
"""
    + BUILD.replace("Gate(units)", "Noisy()"),
    "weights without names": HEAD
    + """
class Scale(layers.Layer):
    def build(self, shape):
        self.factor, self.shift = (self.add_weight(shape=(shape[-1],), initializer="ones") for _ in range(2))
    def call(self, x):
        return x * self.factor + self.shift
"""
    + BUILD.replace("Gate(units)", "Scale()"),
    "lists and tuples as parameters": HEAD
    + GATE
    + """
def build(input_shape, output_size, units: list = [2, 3], names=("a", "b")):
    assert isinstance(input_shape, tuple) and isinstance(units, list), (input_shape, units)
    inputs = keras.Input(input_shape)
    x = inputs
    for width in units:
        x = Gate(width)(x)
    return keras.Model(inputs, layers.Dense(output_size)(x))
""",
}


@pytest.mark.parametrize("name", BUILDERS)
def test_a_model_is_rebuilt_with_equal_answers(name: str, saved: Callable[..., Any], tmp_path: Path) -> None:
    model, archive = saved({"net.py": BUILDERS[name]})
    values = [np.asarray(keras.ops.convert_to_numpy(each)) for each in model.variables]
    remove(tmp_path)
    again = load(archive)
    for variable, value in zip(again.variables, values, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    np.testing.assert_array_equal(answers(again), answers(model))
    assert parameter_count(archive) == model.count_params()


def test_modules_of_packages_without_init_are_carried(saved: Callable[..., Any], tmp_path: Path) -> None:
    net = HEAD + "from plain_blocks import gates\n" + BUILD.replace("Gate(units)", "gates.Gate(units)")
    model, archive = saved({"net.py": net, "plain_blocks/gates.py": HEAD + GATE})
    expected = answers(model)
    remove(tmp_path)
    for name in [name for name in sys.modules if name.startswith("plain_blocks")]:  # as in a fresh process
        del sys.modules[name]
    np.testing.assert_array_equal(answers(load(archive)), expected)


def test_modules_and_data_files_of_the_folder_are_carried(saved: Callable[..., Any], tmp_path: Path) -> None:
    np.save(tmp_path / "scale.npy", np.float32([2.0]))
    (tmp_path / "unused.py").write_text("")
    model, archive = saved(
        {
            "net.py": HEAD
            + "import numpy as np\nimport blocks.deep as deep\nfrom layers_lib import Gate\n"
            + "SCALE = float(np.load(Path(__file__).with_name('scale.npy'))[0])\n"
            + BUILD.replace("(x))", "(deep.Scaled(SCALE)(x)))"),
            "layers_lib.py": HEAD + "from blocks import deep\n" + GATE,
            "blocks/__init__.py": "",
            "blocks/words.txt": "3",
            "blocks/deep.py": HEAD
            + """
from .sibling import factor
class Scaled(layers.Layer):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale
    def call(self, x):
        import late
        return x * self.scale * factor() * late.FOUR
""",
            "blocks/sibling.py": "from pathlib import Path\n"
            "def factor():\n    return float((Path(__file__).parent / 'words.txt').read_text())\n",
            "late.py": "FOUR = 4.0\n",
        }
    )
    expected = answers(model)
    remove(tmp_path)
    (tmp_path / "layers_lib.py").write_text("raise RuntimeError('not the copy')")
    again = load(archive)
    np.testing.assert_array_equal(answers(again), expected)
    names = {name.partition(".")[0] for name in sys.modules}
    assert not {"layers_lib", "late", "blocks", "net"} & {name for name in names if "nightune_code" in name}
    import zipfile

    with zipfile.ZipFile(archive) as file:
        code = {name for name in file.namelist() if name.startswith("code/")}
    assert code == {
        f"code/{name}"
        for name in (
            "net.py",
            "layers_lib.py",
            "late.py",
            "scale.npy",
            "blocks/__init__.py",
            "blocks/deep.py",
            "blocks/sibling.py",
            "blocks/words.txt",
        )
    }


REGISTERED = (
    HEAD
    + """
@keras.saving.register_keras_serializable("mine")
class Times(layers.Layer):
    def call(self, x):
        return x * FACTOR
    def get_config(self):
        return super().get_config()
@keras.saving.register_keras_serializable("mine")
def twist(x):
    return x * FACTOR
def build(input_shape, output_size):
    inputs = keras.Input(input_shape)
    twisted = layers.Activation(keras.saving.get_registered_object("mine>twist"))
    inner = keras.Sequential([keras.Input(input_shape), Times(), twisted])
    copied = keras.models.clone_model(inner)  # looks its layers up by their registered names
    return keras.Model(inputs, layers.Dense(output_size)(copied(inputs)))
"""
)


def test_two_versions_of_a_registered_layer_answer_by_their_own_code(saved: Callable[..., Any], tmp_path: Path) -> None:
    models = {}
    for factor in (2, 10):
        text = REGISTERED.replace("FACTOR", "lib.FACTOR").replace(HEAD, f"{HEAD}import lib\n")
        files = {"net.py": text, "lib.py": f"FACTOR = {factor}\n"}
        models[factor] = saved(files, name=f"times{factor}")
    for factor, (model, archive) in [*models.items(), *reversed(models.items())]:
        before = dict(keras.saving.get_custom_objects())
        again = load(archive)
        np.testing.assert_array_equal(answers(again), answers(model))
        assert np.abs(answers(again)).max() > 0, factor
        assert dict(keras.saving.get_custom_objects()) == before


def test_a_version_without_its_code_does_not_get_that_of_the_process(tmp_path: Path) -> None:
    """Versions of earlier Nightunes hold a `.keras` file that names a registered class."""
    from nightune.models.serving.predictor import open_model
    from nightune.models.training.checkpoint import save

    @keras.saving.register_keras_serializable("earlier")
    class Earlier(keras.layers.Layer):
        pass

    save(keras.Sequential([keras.Input((2,)), Earlier()]), tmp_path / "model.keras")
    keras.saving.load_model(tmp_path / "model.keras")
    with pytest.raises(TypeError, match="Earlier"):
        open_model(tmp_path / "model.keras")


def test_settings_of_the_process_survive_the_code(saved: Callable[..., Any]) -> None:
    text = HEAD + "import sys\nkeras.config.set_epsilon(1e-3)\nsys.path.insert(0, '/nowhere')\n" + GATE + BUILD
    _, archive = saved({"net.py": text})
    keras.config.set_epsilon(1e-7)
    before = list(sys.path), sys.dont_write_bytecode, keras.config.dtype_policy().name
    load(archive)
    assert keras.config.epsilon() == 1e-7
    assert (list(sys.path), sys.dont_write_bytecode, keras.config.dtype_policy().name) == before


def test_code_that_returns_another_model_is_refused(saved: Callable[..., Any], tmp_path: Path) -> None:
    import zipfile

    _, archive = saved({"net.py": HEAD + GATE + BUILD})
    changed = tmp_path / "changed.zip"
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b"Gate(units)", b"Gate(2 * units)"))
    with pytest.raises(ValueError, match="is saved"):
        load(changed)


def test_code_that_is_edited_after_a_sweep_began_is_carried_as_it_was(tmp_path: Path, dataset: Dataset) -> None:
    files = {"net.py": "import helper\n" + HEAD + GATE + BUILD, "helper.py": "FACTOR = 2\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    recipe = read_recipe({"model.architecture": "net.py:build"})
    shape, size = dataset.input_shape, dataset.output_size
    with code_kept():
        model = build_model("net.py:build", recipe.model, shape, size, folder=tmp_path, seed=3)
        (tmp_path / "net.py").write_text("def (")
        (tmp_path / "helper.py").write_text("FACTOR = 9\n")
        carried = learn_rebuilding(model, recipe, dataset, tmp_path).files
    assert carried == {name: text.encode() for name, text in sorted(files.items())}


def test_files_that_are_too_large_are_left_out(
    saved: Callable[..., Any], tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding_module, "CARRIED_BYTES", 4000)
    np.save(tmp_path / "large.npy", np.zeros(2000))
    text = (
        HEAD
        + GATE
        + "import numpy as np\nFILE = Path(__file__).with_name('large.npy')\nif FILE.exists():\n    np.load(FILE)\n"
        + BUILD
    )
    model, archive = saved({"net.py": text})
    recipe = read_recipe({"model.architecture": "net.py:build"})
    (left,) = learn_rebuilding(model, recipe, dataset, tmp_path).left_out
    assert "large.npy" in left
    remove(tmp_path)
    np.testing.assert_array_equal(answers(load(archive)), answers(model))


def test_checkpoints_of_trials_with_own_code_open(tmp_path: Path, dataset: Dataset) -> None:
    from tests.models.test_checkpoint import outcome, setup_module

    setup_module()
    (tmp_path / "net.py").write_text(HEAD + GATE + BUILD)
    (tmp_path / "plain.py").write_text(HEAD + BUILD.replace("Gate(units)", "layers.Dense(units)"))
    engine = FitEngine(dataset, tmp_path)
    checkpoints = Checkpoints(engine, tmp_path, dataset)
    for seed, name, written in ((1, "net", "model.zip"), (2, "net", "model.zip"), (3, "plain", "model.keras")):
        recipe = read_recipe({"model.architecture": f"{name}.py:build", "stopping.rule": "none"})
        given = outcome(engine, recipe, seed)
        (tmp_path / str(seed)).mkdir()
        assert checkpoints.prepare(given, tmp_path / str(seed) / "model.keras")()
        assert [path.name for path in (tmp_path / str(seed)).iterdir()] == [written]
        opened = load(tmp_path / str(seed) / written)
        for weight, expected in zip(opened.get_weights(), given.weights, strict=True):
            np.testing.assert_array_equal(weight, expected)


def test_a_model_of_keras_own_layers_has_no_own_code() -> None:
    inputs = keras.Input((4, 2))
    x = keras.layers.Bidirectional(keras.layers.LSTM(2, return_sequences=True))(inputs)
    x = keras.layers.MultiHeadAttention(1, 2)(x, x) + keras.ops.square(x)[..., :4]
    x = keras.layers.Dense(3, activation=keras.activations.gelu, kernel_regularizer="l2")(x)
    model = keras.Model(inputs, keras.layers.Activation(keras.ops.tanh)(x))
    model.compile("sgd", loss=lambda wanted, given: given)
    assert not has_own_code(model)


def test_a_model_of_mixed_precision_is_rebuilt_in_it(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "net.py").write_text(HEAD + GATE + BUILD)
    recipe = read_recipe({"model.architecture": "net.py:build", "precision": "mixed_bfloat16"})
    engine = FitEngine(dataset, tmp_path)
    started = engine.model(recipe, engine.weights(engine.start(recipe, Seeds(1, 2, 3))))
    archive = tmp_path / "model.zip"
    archive.write_bytes(learn_rebuilding(started, recipe, dataset, tmp_path).archive(started.get_weights()))
    opened = load(archive)
    assert {layer.dtype_policy.name for layer in opened.layers} == {"mixed_bfloat16"}
    assert keras.config.dtype_policy().name == "float32"
    np.testing.assert_array_equal(answers(opened).astype("float32"), answers(started).astype("float32"))


@pytest.mark.parametrize("kind", ["replaced call", "operation", "NumPy function", "mapped function", "constraint"])
def test_code_is_found_wherever_it_is(kind: str) -> None:
    class Bound(keras.constraints.Constraint):
        def __call__(self, w: Any) -> Any:
            return w

    class Double(keras.Operation):
        def call(self, x: Any) -> Any:
            return 2 * x

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape)

    inputs = keras.Input((4,))
    layer = keras.layers.Dense(2)
    if kind == "replaced call":
        layer.call = lambda x: x
    parts: dict[str, Callable[[Any], Any]] = {
        "replaced call": layer,
        "operation": Double(),
        "NumPy function": keras.layers.Activation(np.tanh),
        "mapped function": lambda x: keras.ops.map(lambda row: row * 2, x),
        "constraint": keras.layers.Dense(2, kernel_constraint=Bound()),
    }
    assert has_own_code(keras.Model(inputs, parts[kind](inputs)))
