"""What outputs are is settled by witnesses that agree, and refused with a remedy that works where they do not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.errors import InputError
from nightune.models.techniques.losses import TrainingSettings


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, layers, ops, Head, TrainingRows, read_head, measure_outputs, walk
    import keras
    from keras import layers, ops

    from nightune.models.networks.heads import Head, read_head
    from nightune.models.networks.output_ranges import measure_outputs
    from nightune.models.networks.output_walk import walk
    from nightune.models.networks.training_rows import TrainingRows


INPUTS = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
# What a builder may write, with three outputs or as many as `size`.
MODELS = {
    "no activation": "seq(layers.Dense(size))",
    "softmax": "seq(layers.Dense(size, 'softmax'))",
    "sigmoid": "seq(layers.Dense(size, 'sigmoid'))",
    "log-softmax": "seq(layers.Dense(size, 'log_softmax'))",
    "carried": "seq(layers.Dense(size, ops.softmax), layers.Activation('linear'), layers.Reshape((size,)))",
    "nested": "seq(keras.Sequential([layers.Dense(size), layers.Softmax()]))",
    "average": "fun(lambda x: layers.Average()([layers.Dense(size, LAST)(x), layers.Dense(size, LAST)(x)]))",
    "mixture": "fun(lambda x: mixed(layers.Dense(1, 'sigmoid')(x), *(layers.Dense(size, LAST)(x) for _ in '12')))",
    "temperature": "seq(layers.Dense(size, lambda x: activation(x / 2.0)))",
    "own layer": "seq(layers.Dense(size), Last())",
    "subclass": "Own(size)",
    "tanh": "seq(layers.Dense(size, 'tanh'))",
    "sum": "fun(lambda x: layers.Dense(size)(x) + layers.Dense(size)(x))",
    "relu": "seq(layers.Dense(size, 'relu'))",
}


def made(name: str, size: int = 3, loss: Any = None, last: str = "softmax") -> Any:
    activation = getattr(keras.activations, last)

    class Last(layers.Layer):  # type: ignore[name-defined,misc]
        def call(self, inputs: Any) -> Any:
            return activation(inputs)

    class Own(keras.Model):  # type: ignore[name-defined,misc]
        def __init__(self, size: int) -> None:
            super().__init__()
            self.dense = layers.Dense(size)

        def call(self, inputs: Any) -> Any:
            return activation(self.dense(inputs))

    def fun(function: Any) -> Any:
        inputs = keras.Input((4,))
        return keras.Model(inputs, function(inputs))

    known = {"keras": keras, "layers": layers, "ops": ops, "size": size, "Last": Last, "Own": Own, "fun": fun}
    known["mixed"] = lambda gate, one, other: gate * one + (1.0 - gate) * other
    stack = {"seq": lambda *stack: keras.Sequential([keras.Input((4,)), *stack]), "LAST": last}
    keras.utils.set_random_seed(0)
    model = eval(MODELS[name], {**known, **stack, "activation": activation})
    if not model.built:
        model(INPUTS[:1])
    if loss is not None:
        model.compile("adam", loss=loss)
    return model


def settled(model: Any, task: str = "multiclass", size: int = 3, **stated: Any) -> "Head":
    targets = {
        "multiclass": np.arange(32, dtype=np.int32) % size,
        "binary": np.arange(32, dtype=np.int32) % 2,
        "multilabel": (INPUTS[:, :size] > 0).astype(np.int32),
        "regression": INPUTS[:, :size],
    }[task]
    limits = (float(targets.min()), float(targets.max()))
    return read_head(model, TrainingRows(task, size, INPUTS, targets, limits), TrainingSettings(**stated))


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("no activation", "logits"),
        ("softmax", "probabilities"),
        ("sigmoid", "probabilities"),
        ("log-softmax", "logits"),
        ("carried", "probabilities"),
        ("nested", "unknown"),
        ("average", "unknown"),
        ("temperature", "unknown"),
        ("own layer", "unknown"),
        ("subclass", "unknown"),
        ("sum", "unknown"),
        ("relu", "unknown"),
    ],
)
def test_the_walk_knows_keras_own_ends_only(name: str, meaning: str) -> None:
    assert walk(made(name)).meaning == meaning


def test_a_softmax_over_parts_or_with_a_constraint_is_unknown() -> None:
    inputs = keras.Input((4,))
    parts = layers.Flatten()(layers.Softmax()(layers.Reshape((2, 2))(layers.Dense(4)(inputs))))
    assert walk(keras.Model(inputs, parts)).meaning == "unknown"
    bounded = layers.Dense(3, kernel_constraint="non_neg", bias_constraint="non_neg")(inputs)
    assert walk(keras.Model(inputs, bounded)).meaning == "unknown"


@pytest.mark.parametrize("name", ["nested", "average", "mixture", "temperature", "own layer", "subclass"])
def test_what_the_walk_does_not_know_is_measured(name: str) -> None:
    model = made(name)
    before = [weight.copy() for weight in model.get_weights()]
    assert settled(model).meaning == "probabilities"
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["average", "own layer", "subclass", "temperature"])
@pytest.mark.parametrize(("task", "size"), [("binary", 1), ("multilabel", 3)])
def test_measured_sigmoids_are_probabilities_of_two_classes_and_of_labels(name: str, task: str, size: int) -> None:
    head = settled(made(name, size, last="sigmoid"), task, size)
    assert (head.meaning, head.kind) == ("probabilities", "labels" if size == 3 else "two classes")


def test_free_outputs_are_measured_as_logits() -> None:
    assert settled(made("sum")).meaning == "logits"
    assert settled(made("sum", 1), "binary", 1).meaning == "logits"
    assert settled(made("sum"), "multilabel").meaning == "logits"


def test_a_weight_of_one_sign_does_not_bound_outputs() -> None:
    class Shift(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.shift = self.add_weight(shape=(1,), initializer="ones")

        def call(self, inputs: Any) -> Any:
            return inputs[:, :1] + self.shift

    class Counted(Shift):
        def build(self, shape: Any) -> None:
            self.shift = self.add_weight(shape=(1,), initializer="ones", constraint="non_neg")

    inputs = keras.Input((4,))
    assert measure_outputs(keras.Model(inputs, Shift()(inputs)), INPUTS).bounds == (-np.inf, np.inf)
    low, high = measure_outputs(keras.Model(inputs, Counted()(inputs)), INPUTS).bounds
    assert (low >= INPUTS[:, 0].min(), high) == (True, np.inf)


def test_the_measurement_leaves_the_generators_as_they_were() -> None:
    state = np.random.get_state()[1].copy()  # type: ignore[union-attr,index]
    measure_outputs(made("average"), INPUTS)
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # type: ignore[index]


@pytest.mark.parametrize("name", ["tanh", "relu"])
@pytest.mark.parametrize(("task", "size"), [("binary", 1), ("multiclass", 3), ("multilabel", 3)])
def test_outputs_with_other_bounds_are_refused_and_the_study_decides(name: str, task: str, size: int) -> None:
    with pytest.raises(InputError, match=r"training\.outputs: .* neither .*outputs = \"logits\""):
        settled(made(name, size), task, size)
    assert settled(made(name, size), task, size, outputs="logits").meaning == "logits"


@pytest.mark.parametrize(
    ("name", "stated", "remedy"),
    [
        ("no activation", "probabilities", "softmax"),
        ("softmax", "logits", "without an activation"),
        ("average", "logits", "without an activation"),
        ("tanh", "probabilities", "use logits"),
        ("softmax", "quantities", "use logits or probabilities"),
    ],
)
def test_a_word_of_the_study_that_contradicts_is_refused(name: str, stated: str, remedy: str) -> None:
    with pytest.raises(InputError, match=rf"training\.outputs: .*{remedy}"):
        settled(made(name), outputs=stated)


def test_a_compiled_loss_that_contradicts_is_refused_and_its_remedy_works() -> None:
    def loss(from_logits: bool) -> Any:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)

    with pytest.raises(InputError, match="from_logits=False"):
        settled(made("softmax", loss=loss(True)))
    assert settled(made("softmax", loss=loss(False))).meaning == "probabilities"
    with pytest.raises(InputError, match="from_logits=True"):
        settled(made("no activation", loss=loss(False)))
    assert settled(made("no activation", loss=loss(True))).meaning == "logits"
    assert settled(made("no activation", loss=loss(False)), loss="crossentropy").meaning == "logits"


def test_a_sigmoid_per_class_and_a_softmax_over_labels_are_refused() -> None:
    with pytest.raises(InputError, match="use softmax"):
        settled(made("sigmoid"))
    with pytest.raises(InputError, match="use softmax"):
        settled(made("subclass", last="sigmoid"))
    for name in ("softmax", "subclass", "log-softmax", "average"):
        with pytest.raises(InputError, match=r"use sigmoid or no activation, or .*\"multiclass\""):
            settled(made(name), "multilabel")
    with pytest.raises(InputError, match="always 1"):
        settled(made("softmax", 1), "binary", 1)


def test_a_loss_that_reads_weights_of_its_build_is_refused_and_its_remedy_works() -> None:
    last = layers.Dense(3, kernel_regularizer="l2")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, last(inputs))

    def penalized(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred), axis=-1) + ops.sum(ops.square(last.kernel))

    before = model.get_weights()
    model.compile("adam", penalized)
    with pytest.raises(InputError, match=r"reads weights .*kernel_regularizer"):
        settled(model, "regression")
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    model.compile("adam", "mse")
    assert settled(model, "regression").loss_name == "mse"


def test_a_loss_class_with_a_call_operator_of_its_own_is_refused() -> None:
    class Scaled(keras.losses.Loss):  # type: ignore[name-defined,misc]
        def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return 5.0 * super().__call__(y_true, y_pred, sample_weight)

        def call(self, y_true: Any, y_pred: Any) -> Any:
            return ops.mean(ops.square(y_true - y_pred), axis=-1)

    with pytest.raises(InputError, match="in call"):
        settled(made("no activation", loss=Scaled()), "regression")


def test_a_dictionary_of_one_output_is_refused_and_its_tensor_is_taken() -> None:
    inputs = keras.Input((4,))
    outputs = {"y": layers.Dense(3)(inputs)}
    with pytest.raises(InputError, match=r"keras\.Model\(inputs, outputs\['y'\]\)"):
        settled(keras.Model(inputs, outputs))
    assert settled(keras.Model(inputs, outputs["y"])).meaning == "logits"
    assert settled(keras.Model(inputs, [outputs["y"]])).meaning == "logits"


def test_targets_out_of_reach_are_refused_and_the_remedies_work() -> None:
    with pytest.raises(InputError, match=r"training\.outputs: .*without an activation.*outputs = \"quantities\""):
        settled(made("relu"), "regression")
    assert settled(made("no activation"), "regression").meaning == "quantities"
    assert settled(made("relu"), "regression", outputs="quantities").meaning == "quantities"
    with pytest.raises(InputError, match="remove the key"):
        settled(made("no activation"), "regression", outputs="logits")


USERS = """
from keras import ops

def wrong_shape(y_true, y_pred):
    return ops.mean((y_true - y_pred) ** 2)

def couples(y_true, y_pred):
    return ops.mean((y_true - y_pred) ** 2, axis=-1) / ops.max(ops.abs(y_true))

def fails(y_true, y_pred):
    return y_true.lost

def indices(y_true, y_pred):
    assert len(y_true.shape) == 1
    return ops.mean((y_pred - ops.one_hot(ops.cast(y_true, "int32"), 3)) ** 2, axis=-1)

def one_hot(y_true, y_pred):
    assert y_true.shape[-1] == 3
    return ops.mean((y_pred - y_true) ** 2, axis=-1)

def too_few(y_true):
    return y_true
"""


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("wrong_shape", ["one number per example", "line 4 of users.py"]),
        ("couples", ["each example on its own"]),
        ("fails", ["AttributeError", "line 11"]),
        ("too_few", ["(y_true, y_pred)"]),
    ],
)
def test_a_users_loss_that_is_no_loss_of_an_example_is_refused(tmp_path: Path, function: str, words: list[str]) -> None:
    (tmp_path / "users.py").write_text(USERS)
    rows = TrainingRows("regression", 3, INPUTS, INPUTS[:, :3], (-9.0, 9.0))
    with pytest.raises(InputError) as caught:
        read_head(made("no activation"), rows, TrainingSettings(loss=f"users.py:{function}"), tmp_path)
    assert caught.value.key == "training.loss"
    assert [word for word in words if word not in caught.value.message] == []


@pytest.mark.parametrize("is_one_hot", [False, True])
def test_a_users_loss_of_classes_reads_them_as_the_data_holds_them(tmp_path: Path, is_one_hot: bool) -> None:
    (tmp_path / "users.py").write_text(USERS)
    targets = np.arange(32, dtype=np.int32) % 3
    rows = TrainingRows("multiclass", 3, INPUTS, targets, (0.0, 2.0), is_one_hot=is_one_hot)
    right, wrong = ("one_hot", "indices") if is_one_hot else ("indices", "one_hot")
    head = read_head(made("softmax"), rows, TrainingSettings(loss=f"users.py:{right}"), tmp_path)
    assert head.loss is not None
    shares = np.full((32, 3), 1 / 3, np.float32)
    np.testing.assert_allclose(head.loss.rows(shares, head.targets(targets)), 2 / 9, rtol=1e-5)
    with pytest.raises(InputError, match="AssertionError"):
        read_head(made("softmax"), rows, TrainingSettings(loss=f"users.py:{wrong}"), tmp_path)


@pytest.mark.parametrize(
    ("name", "task", "size", "loss", "key", "remedy"),
    [
        ("no activation", "regression", 3, "categorical_crossentropy", "data.task", 'task = "classification"'),
        ("sigmoid", "multilabel", 3, "categorical_crossentropy", "data.task", 'task = "multiclass"'),
        ("sigmoid", "binary", 1, "categorical_crossentropy", "model.architecture", "binary_crossentropy"),
        ("softmax", "multiclass", 3, "mse", "data.task", 'task = "regression"'),
        ("no activation", "regression", 3, "poisson", "model.architecture", "counts"),
    ],
)
def test_a_compiled_loss_of_another_task_is_refused(
    name: str, task: str, size: int, loss: str, key: str, remedy: str
) -> None:
    with pytest.raises(InputError) as caught:
        settled(made(name, size, loss), task, size)
    assert caught.value.key == key
    assert remedy in caught.value.message


def test_compiled_losses_are_named_with_what_is_not_used() -> None:
    model = made("no activation")
    model.compile("sgd", loss=keras.losses.Huber(delta=2.0), metrics=["mae"])
    head = settled(model, "regression")
    assert head.loss_name == "huber"
    assert [("SGD" in remark, "mae" in remark) for remark in head.remarks] == [(True, True)]
    replaced = settled(model, "regression", loss="mae")
    assert replaced.loss_name == "mae"
    assert any("huber" in remark for remark in replaced.remarks)
    for given in ("mse", keras.losses.MeanSquaredError(), [keras.losses.mean_squared_error], {"out": "mse"}):
        model.compile("sgd", loss=given)
        assert settled(model, "regression").loss_name == "mse"
    model.compile("sgd", loss=keras.losses.MeanSquaredError(reduction="sum"))
    with pytest.raises(InputError, match="reduction"):
        settled(model, "regression")


@pytest.mark.parametrize("loss", ["binary_focal_crossentropy", "mse", "binary_crossentropy", "focal of the study"])
def test_labels_take_losses_of_each_label(loss: str) -> None:
    stated = {"loss": "focal"} if "study" in loss else {}
    head = settled(made("sigmoid", loss=None if stated else loss), "multilabel", **stated)
    outputs = np.array([[0.9, 0.5, 0.1]])
    wanted = {"mse": 0.27 / 3, "binary_crossentropy": -np.log([0.9, 0.5, 0.9]).mean()}
    focal = np.mean([0.1**2 * -np.log(0.9), 0.25 * np.log(2), 0.01 * -np.log(0.9)])
    found = head.metrics("multilabel", outputs, np.array([[1, 0, 0]]))["loss"]
    assert found == pytest.approx(wanted.get(loss, focal), rel=1e-4)
    with pytest.raises(InputError, match="quantities"):
        settled(made("sigmoid"), "multilabel", loss="mae")


def test_poisson_needs_outputs_that_are_never_below_zero_and_its_remedy_works() -> None:
    counts = np.arange(32.0).reshape(-1, 1) % 5
    rows = TrainingRows("regression", 1, INPUTS, counts, (0.0, 4.0))
    with pytest.raises(InputError, match='activation="exponential"'):
        read_head(made("no activation", 1), rows, TrainingSettings(loss="poisson"))
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(1, activation="exponential")(inputs))
    assert read_head(model, rows, TrainingSettings(loss="poisson")).loss_name == "poisson"
    scaled = TrainingRows("regression", 1, INPUTS, counts, (0.0, 4.0), is_scaled=True)
    with pytest.raises(InputError, match=r"data\.scale_target"):
        read_head(model, scaled, TrainingSettings(loss="poisson"))


# name → the model's end, the task, whether the data is one-hot, and a loss as it may be compiled
COMPILED = {
    "a text": ("no activation", "regression", False, lambda: "mae"),
    "a function": ("no activation", "regression", False, lambda: keras.losses.log_cosh),
    "an object": ("no activation", "regression", False, lambda: keras.losses.Huber(delta=0.3)),
    "a cosine": ("no activation", "regression", False, lambda: [keras.losses.CosineSimilarity()]),
    "a user's function": ("no activation", "regression", False, lambda: lambda y, p: ops.mean((y - p) ** 4, axis=-1)),
    "of each output": ("no activation", "regression", False, lambda: lambda y, p: (y - p) ** 4),
    "smoothed": ("softmax", "multiclass", True, lambda: keras.losses.CategoricalCrossentropy(label_smoothing=0.2)),
    "focal": ("softmax", "multiclass", True, lambda: keras.losses.CategoricalFocalCrossentropy(gamma=3.0)),
    "shares": ("softmax", "multiclass", True, lambda: "mse"),
    "a user's of one-hot rows": ("softmax", "multiclass", True, lambda: lambda y, p: ops.sum(ops.abs(y - p), axis=-1)),
    "a user's of indices": (
        "softmax",
        "multiclass",
        False,
        lambda: lambda y, p: 1.0 - ops.sum(p * ops.one_hot(ops.cast(y, "int32"), 3), axis=-1),
    ),
    "hinge": ("no activation", "multiclass", True, lambda: "categorical_hinge"),
    "of each label": ("sigmoid", "multilabel", False, lambda: "binary_focal_crossentropy"),
}


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_loss_has_the_value_of_plain_keras(name: str) -> None:
    end, task, is_one_hot, loss = COMPILED[name]
    targets: np.ndarray = {
        "regression": INPUTS[:, :3],
        "multiclass": np.arange(32, dtype=np.int32) % 3,
        "multilabel": (INPUTS[:, :3] > 0).astype(np.int32),
    }[task]
    model = made(end, loss=loss())
    expected = model.evaluate(INPUTS, np.eye(3)[targets] if is_one_hot else targets, batch_size=32, verbose=0)
    head = read_head(model, TrainingRows(task, 3, INPUTS, targets, (-9.0, 9.0), is_one_hot=is_one_hot))
    outputs = model.predict(INPUTS, verbose=0)
    assert head.metrics(task, outputs, targets)["loss"] == pytest.approx(expected, rel=1e-5)
    trained = head.make_loss()(ops.convert_to_tensor(head.targets(targets)), ops.convert_to_tensor(outputs))
    assert float(trained) == pytest.approx(expected, rel=1e-5)


def test_a_binary_loss_of_each_class_reads_the_probabilities_of_a_softmax() -> None:
    model, targets = made("softmax", loss="binary_crossentropy"), np.arange(32, dtype=np.int32) % 3
    rows = TrainingRows("multiclass", 3, INPUTS, targets, (0.0, 2.0), is_one_hot=True)
    head, shares = read_head(model, rows), model.predict(INPUTS, verbose=0)
    expected = float(keras.losses.BinaryCrossentropy()(np.eye(3)[targets], shares))
    assert head.metrics("multiclass", shares, targets)["loss"] == pytest.approx(expected, rel=1e-5)
    model.compile("sgd", loss=head.make_loss(), jit_compile=False)
    found = model.evaluate(INPUTS, head.targets(targets), batch_size=32, verbose=0)
    assert found == pytest.approx(expected, rel=1e-5)


def test_shares_need_a_softmax_which_built_in_architectures_have_not() -> None:
    shares = np.random.default_rng(0).dirichlet([1, 1, 1], 32).astype(np.float32)
    rows, settings = TrainingRows("regression", 3, INPUTS, shares, (0.0, 1.0)), TrainingSettings(loss="crossentropy")
    with pytest.raises(InputError, match="in a function of your own"):
        read_head(made("no activation"), rows, settings)
    assert read_head(made("softmax"), rows, settings).loss_name == "categorical_crossentropy"


def test_an_ignored_class_is_refused() -> None:
    with pytest.raises(InputError, match="ignore_class"):
        settled(made("softmax", loss=keras.losses.SparseCategoricalCrossentropy(ignore_class=1)))
