"""Architectures: the parameters in their signatures, and models that fit the data or are refused with the reason."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.errors import InputError
from nightune.models.networks.architectures import architecture_keys, bound_arguments, build_model
from nightune.models.networks.isolated_random import isolated_random
from nightune.models.recipe.params import resolve
from nightune.models.training.seeds import Seeds, seed_dropout

OF_ARRAYS = ("mlp", "cnn", "sequence")
SERIES = {"sequence": (6, 1)}


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, TrainingRows, read_head
    import keras

    from nightune.models.networks.heads import read_head
    from nightune.models.networks.training_rows import TrainingRows


UserModel = Callable[[str], str]


def build(architecture: str, shape: tuple[int, ...] = (5,), size: int = 3, **more: Any) -> Any:
    options = {"folder": Path(), "seed": 1, "parameters": {}, **more}
    return build_model(architecture, options.pop("parameters"), shape, size, **options)


def same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.array_equal(*pair) for pair in zip(first, second, strict=True))


@contextmanager
def drawing_thread() -> Iterator[None]:
    """Draw from Python's shared generator in another thread, like pings and waits of other libraries."""
    ended = threading.Event()

    def draw() -> None:
        while not ended.is_set():
            random.getrandbits(32)
            time.sleep(0)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_threads_that_draw_random_numbers_change_no_initial_weight() -> None:
    alone = build("mlp", parameters={"units": [4, 4, 4]}).get_weights()
    with drawing_thread():
        assert all(same(build("mlp", parameters={"units": [4, 4, 4]}).get_weights(), alone) for _ in range(20))


def test_the_generator_continues_as_after_a_model_that_keras_seeds() -> None:
    keras.utils.set_random_seed(1)
    keras.layers.Dense(3).build((None, 2))
    expected = random.random(), random.sample(range(9), 3)
    with isolated_random():
        keras.utils.set_random_seed(1)
        keras.layers.Dense(3).build((None, 2))
    assert (random.random(), random.sample(range(9), 3)) == expected


@pytest.mark.parametrize("architecture", OF_ARRAYS)
@pytest.mark.parametrize("shape", [(5,), (6, 6, 1), (7, 2), (4, 4, 4, 1), ()], ids=str)
@pytest.mark.parametrize("batch_normalization", [True, False])
def test_built_in_models_take_inputs_of_any_rank(
    architecture: str, shape: tuple[int, ...], batch_normalization: bool
) -> None:
    parameters = {"dropout": 0.2, "batch_normalization": batch_normalization, "units": [4]}
    if architecture == "sequence":
        del parameters["batch_normalization"]
    needs = {"cnn": ((2, 3, 4), "cnn needs images"), "sequence": ((1, 2), "sequence needs series")}
    ranks, words = needs.get(architecture, ((0, 1, 2, 3, 4), ""))
    if len(shape) not in ranks:
        with pytest.raises(InputError, match=words):
            build(architecture, shape, parameters=parameters)
        return
    model = build(architecture, shape, parameters=parameters)
    assert model.name == architecture
    outputs = model.predict_on_batch(np.zeros((2, *shape), np.float32))
    assert outputs.shape == (2, 3)
    assert read_head(model, TrainingRows("multiclass", 3, np.zeros((2, *shape)))).is_logits


@pytest.mark.parametrize("architecture", OF_ARRAYS)
def test_the_same_seed_gives_the_same_weights_to_the_bit(architecture: str) -> None:
    first, second, other = (
        build(architecture, SERIES.get(architecture, (6, 6, 1)), seed=seed).get_weights() for seed in (3, 3, 4)
    )
    assert same(first, second)
    assert not same(first, other)


def test_dropout_follows_its_own_seed_alone() -> None:
    def noise(weights: int, dropout: int) -> np.ndarray:
        model = build("mlp", seed=weights, parameters={"units": [4, 4], "dropout": 0.5})
        model.set_weights([np.ones_like(weight) for weight in model.get_weights()])
        seed_dropout(model, dropout)
        return np.stack([model(np.ones((8, 5)), training=True) for _ in range(2)])

    assert np.array_equal(noise(1, 7), noise(2, 7))
    assert not np.array_equal(noise(1, 7), noise(1, 8))


def test_seeds_of_one_trial_differ_by_purpose_and_stay() -> None:
    seeds = Seeds.from_trial(5)
    assert seeds == Seeds.from_trial(5)
    assert len({seeds.weights, seeds.order, seeds.dropout}) == 3
    assert all(0 <= part < 2**32 for part in vars(seeds).values())
    assert Seeds.from_trial(2**70) != Seeds.from_trial(6)


def test_keys_of_the_built_in_models_come_from_their_signatures() -> None:
    keys = architecture_keys("cnn", Path())
    assert list(keys) == ["filters", "kernel_size", "units", "activation", "dropout", "batch_normalization"]
    assert keys["filters"].default == [16, 32]
    assert keys["dropout"].problem(1.0) == "1.0 is out of range"
    assert keys["kernel_size"].kind == "integer"
    assert "gelu" in keys["activation"].options
    assert keys["batch_normalization"].kind == "boolean"


def test_keys_of_a_users_function_come_from_its_signature(user_model: UserModel, tmp_path: Path) -> None:
    reference = user_model(
        """
from __future__ import annotations
from typing import Literal

def build(input_shape, width: int, rate: float = 0, pool: Literal["max", "mean"] = "max", deep: bool = True,
          sizes: list[int] = (2, 3), scale: int | float = 1, word: str = "a", guessed=0.5, free=None,
          act=keras.activations.relu, *more, **rest):
    pass
""".replace("from __future__ import annotations\n", "")
    )
    keys = architecture_keys(reference, tmp_path)
    kinds = {name: key.kind for name, key in keys.items()}
    assert kinds == {
        "width": "integer",
        "rate": "float",
        "pool": "option",
        "deep": "boolean",
        "sizes": "any",
        "scale": "float",
        "word": "any",
        "guessed": "float",
        "free": "any",
    }
    assert [key.default for key in keys.values()] == [None, 0.0, "max", True, [2, 3], 1.0, "a", 0.5, None]
    assert keys["pool"].options == ("max", "mean")


def test_annotations_written_as_texts_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "texts.py").write_text(
        "from __future__ import annotations\n\ndef build(output_size: int, width: int, rate: float = 0.1): pass\n"
    )
    keys = architecture_keys("texts.py:build", tmp_path)
    assert {name: key.kind for name, key in keys.items()} == {"width": "integer", "rate": "float"}


def test_none_is_no_value_of_a_parameter_that_may_be_none(user_model: UserModel, tmp_path: Path) -> None:
    name = user_model(
        """
from typing import Literal, Optional

def build(input_shape, output_size, width: int | None, rate: Optional[float] = 0.5,
          norm: Literal["batch"] | None = None, mode: Literal["none"] | None = None): ...
"""
    )
    keys = architecture_keys(name, tmp_path)
    assert [keys[each].kind for each in ("width", "rate", "norm")] == ["integer", "float", "option"]
    assert keys["width"].problem("none") is None
    assert "whole" in keys["width"].allowed
    assert "none" in keys["width"].allowed
    assert keys["width"].problem("8")
    assert keys["width"].problem(8.5)
    assert keys["norm"].problem("layer")
    chosen = dict.fromkeys(("width", "rate", "norm", "mode"), "none")
    assert resolve({f"model.{key}": value for key, value in chosen.items()}, keys)["model.width"] == "none"
    bound = bound_arguments(name, chosen, (5,), 3, tmp_path).arguments
    assert [bound[key] for key in chosen] == [None, None, None, "none"]


def test_training_inputs_beside_a_parameter_that_may_be_none_are_given_as_they_are(
    user_model: UserModel, tmp_path: Path
) -> None:
    name = user_model("def build(input_shape, output_size, training_inputs, width: int | None = None): ...\n")
    rows = np.ones((2, 5))
    bound = bound_arguments(name, {"width": "none"}, (5,), 3, tmp_path, rows).arguments
    assert bound["training_inputs"] is rows
    assert bound["width"] is None


@pytest.mark.parametrize(
    ("parameter", "no_value"),
    [
        ('x: Literal["a", None] = None', "None"),
        ('x: "Sequence[int] | None" = (4,)', "None"),
        ('x: Annotated[int | None, "units"] = None', "None"),
        ('x: Annotated[str, "its name"] | None = None', "unclear"),
        ('x: int | Literal["none"] | None = None', "unclear"),
        ("x: Union[int, str, None] = 3", "unclear"),
        ("x: Any = None", "unclear"),
        ('x: "Missing | None" = None', "unclear"),
        ('x: str | None = "none"', "text"),
        ('x: str = "none"', "text"),
        ("x: None = None", "text"),
    ],
)
def test_what_none_is_follows_from_what_a_parameter_may_be(
    user_model: UserModel, tmp_path: Path, parameter: str, no_value: str
) -> None:
    code = f"def build(input_shape, output_size, {parameter}) -> 'keras.Model': ..."  # of a name that is not imported
    name = user_model(
        f"from collections.abc import Sequence\nfrom typing import Annotated, Any, Literal, Union\n\n{code}\n"
    )
    key = architecture_keys(name, tmp_path)["x"]
    assert key.no_value == no_value
    assert bool(key.problem("none")) == (no_value == "unclear")
    bound = bound_arguments(name, {"x": "none"}, (5,), 3, tmp_path).arguments
    assert bound["x"] == (None if no_value == "None" else "none")


@pytest.mark.parametrize("parameter", ["norm: str | None = None", "norm=None"])
def test_none_is_refused_where_it_may_be_a_text_or_no_value(
    user_model: UserModel, tmp_path: Path, parameter: str
) -> None:
    name = user_model(f"def build(input_shape, output_size, {parameter}):\n    ...\n")
    key = architecture_keys(name, tmp_path)["norm"]
    assert key.problem("none")
    assert "Literal" in key.allowed
    assert key.problem("batch") is None


def test_an_unknown_architecture_is_refused_with_the_nearest_spelling() -> None:
    with pytest.raises(ValueError, match=r"unknown architecture 'mpl'; did you mean 'mlp'\? \(known: mlp, cnn, text,"):
        architecture_keys("mpl", Path())


def test_a_parameter_that_another_one_of_its_model_controls_is_active_with_that_one_alone() -> None:
    keys = architecture_keys("sequence", Path())
    params = {"model.architecture": "sequence", "model.kernel_size": 3}
    assert resolve({**params, "model.layer": "convolution"}, keys)["model.kernel_size"] == 3
    with pytest.raises(ValueError, match=r"model\.kernel_size: .* only if model\.layer is convolution"):
        resolve({**params, "model.layer": "gru"}, keys)
    assert "model.kernel_size" not in resolve({"model.architecture": "sequence", "model.layer": "lstm"}, keys)


def test_keys_are_read_without_keras() -> None:
    code = "from pathlib import Path; from nightune.models.networks.architectures import architecture_keys"
    code += "; import sys; architecture_keys('mlp', Path())"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'keras' not in sys.modules"], check=True)


REFUSED = {
    "def build(): raise RuntimeError('no luck')": "user.py:build raised RuntimeError: no luck",
    "def build(): return 3": "returned a int, not a Keras model",
    "def build(): return keras.Sequential([keras.Input((5,)), layers.Dense(4)])": r"outputs \(None, 4\).*\(None, 3\)",
    "def build(): return keras.Sequential([keras.Input((7,)), layers.Dense(3)])": r"shape \(7,\).*data's .*\(5,\)",
    "def build(): return keras.Sequential([keras.Input((5, 1)), layers.Dense(3)])": r"shape \(5, 1\)",
    "def build():\n i = keras.Input((5,))\n return keras.Model([i, keras.Input((1,))], layers.Dense(3)(i))": (
        "has 2 inputs.*one array.*dictionary"
    ),
    "def build(width): return 1": "model.width: missing.*build",
    "def build(architecture: str): return 1": "rename it",
    "def build(wide): return 1\ndef built(): pass\nbuild = 3": "not a function but a int",
}


@pytest.mark.parametrize("code", REFUSED, ids=lambda code: REFUSED[code][:30])
def test_a_function_whose_model_cannot_be_used_is_refused(user_model: UserModel, tmp_path: Path, code: str) -> None:
    with pytest.raises(InputError, match=REFUSED[code]):
        build(user_model(code), folder=tmp_path)


def test_an_unknown_parameter_is_refused_with_the_nearest_spelling() -> None:
    with pytest.raises(InputError, match=r"model.unit: unknown 'unit'; did you mean 'units'\?"):
        build("mlp", parameters={"unit": [3]})


@pytest.mark.parametrize("units", [[0], 3, [2.5], [True]])
def test_widths_that_are_not_counts_are_refused(units: Any) -> None:
    with pytest.raises(InputError, match=r"model\.units: .* is not a list of whole numbers"):
        build("mlp", parameters={"units": units})


GIVES = {
    "keras.Sequential([keras.Input((5,)), layers.Dense(3)])": ("classes", True),
    "keras.Sequential([layers.Dense(3, activation='softmax')])": ("classes", False),
    "keras.Sequential([layers.Dense(3), layers.Activation('softmax'), layers.Activation('linear')])": (
        "classes",
        False,
    ),
    "keras.Sequential([keras.Input((5,)), layers.Dense(3), layers.Softmax()])": ("classes", False),
    "keras.Sequential([keras.Input((5,)), layers.Dense(3, 'softmax'), layers.Reshape((3,))])": ("classes", False),
    "keras.Sequential([keras.Input((5,)), keras.Sequential([layers.Dense(3, 'softmax')])])": ("classes", False),
    "(lambda i: keras.Model(i, ops.softmax(layers.Dense(3)(i))))(keras.Input((5,)))": ("classes", False),
    "Own(3, True)": ("classes", False),
    "Own(3, False)": ("classes", True),
    "keras.Sequential([keras.Input((5,)), layers.Dense(1)])": ("two classes", True),
    "keras.Sequential([keras.Input((5,)), layers.Dense(1, 'sigmoid')])": ("two classes", False),
    "keras.Sequential([keras.Input((5,)), layers.Dense(2, 'softmax')])": ("classes", False),
    "keras.Sequential([keras.Input((5,)), layers.Dense(2)])": ("classes", True),
}

OWN = """
class Own(keras.Model):
    def __init__(self, size, is_softmax):
        super().__init__()
        self.is_softmax, self.dense = is_softmax, layers.Dense(size)

    def call(self, inputs):
        outputs = self.dense(inputs)
        return ops.softmax(outputs) if self.is_softmax else outputs

"""


@pytest.mark.parametrize("model", GIVES)
def test_what_a_model_ends_in_decides_the_loss(user_model: UserModel, tmp_path: Path, model: str) -> None:
    kind, is_logits = GIVES[model]
    size = 1 if kind == "two classes" or "(2" in model else 3
    reference = user_model(f"{OWN}\ndef build(): return {model}")
    head = read_head(
        build(reference, size=size, folder=tmp_path),
        TrainingRows("binary" if size == 1 else "multiclass", size, np.zeros((2, 5))),
    )
    assert (head.kind, head.is_logits) == (kind, is_logits)


@pytest.mark.parametrize(
    ("layer", "task", "size", "message"),
    [
        ("layers.Dense(1, 'softmax')", "binary", 1, "always 1"),
        ("layers.Dense(3, 'sigmoid')", "multiclass", 3, "use softmax"),
        ("layers.Dense(2)", "regression", 1, "2 outputs for 1 quantities"),
    ],
)
def test_outputs_that_no_loss_suits_are_refused(
    user_model: UserModel, tmp_path: Path, layer: str, task: str, size: int, message: str
) -> None:
    reference = user_model(f"def build(): return keras.Sequential([keras.Input((5,)), {layer}])")
    with pytest.raises(InputError, match=message):
        read_head(build(reference, size=size, folder=tmp_path), TrainingRows(task, size, np.zeros((2, 5))))


def test_sequences_of_whole_numbers_reach_an_embedding(user_model: UserModel, tmp_path: Path) -> None:
    reference = user_model(
        """
def build(embedding: int = 2):
    inputs = keras.Input(shape=(None,), dtype="int32")
    hidden = layers.Bidirectional(layers.GRU(2))(layers.Embedding(9, embedding)(inputs))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(hidden))
"""
    )
    model = build(reference, (6,), 1, folder=tmp_path, parameters={"embedding": 3})
    assert model.predict_on_batch(np.ones((2, 6), np.int32)).shape == (2, 1)


def test_a_compiled_model_is_taken_without_its_optimizer(user_model: UserModel, tmp_path: Path) -> None:
    reference = user_model(
        "def build(output_size):\n m = keras.Sequential([layers.Dense(output_size)], name='mine')\n"
        " m.compile('adam', 'mse')\n return m"
    )
    model = build(reference, folder=tmp_path)
    assert model.built
    assert not model.compiled
    assert model.name == "mine"


def test_a_users_module_beside_the_file_may_be_imported_late(user_model: UserModel, tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("WIDTH = 3\n")
    code = "def build():\n from beside_it import WIDTH\n return keras.Sequential([layers.Dense(WIDTH)])"
    reference = user_model(code)
    assert build(reference, folder=tmp_path).output_shape == (None, 3)


def test_keras_is_quiet_while_it_builds(capfd: pytest.CaptureFixture[str]) -> None:
    build("cnn", (6, 6, 1))
    assert capfd.readouterr().out == ""
    assert keras.version()
