"""Models that train themselves in the forms of Keras' guides: trained as they say, or refused with a remedy."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.errors import InputError
from tests.models.conftest import BACKEND, MakeDataset

MakeRecipe = Callable[..., Any]

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="steps of models are written for one backend")


def setup_module() -> None:
    """Import Keras, which takes seconds."""
    global \
        keras, \
        build_model, \
        refuse_unusable_step, \
        refuse_untrainable_models, \
        try_build, \
        TrainingSettings, \
        FitEngine, \
        train, \
        read_head, \
        TrainingRows, \
        Seeds
    import keras

    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.engines.own_steps import refuse_untrainable_models, refuse_unusable_step
    from nightune.models.networks.architectures import build_model
    from nightune.models.networks.heads import read_head
    from nightune.models.networks.training_rows import TrainingRows
    from nightune.models.networks.trial_build import try_build
    from nightune.models.techniques.losses import TrainingSettings
    from nightune.models.training.loop import train
    from nightune.models.training.seeds import Seeds


BUILD = """
import numpy as np
import tensorflow as tf

class Own(keras.Model):
    def __init__(self, *given, **options):
        super().__init__(*given, **options)
        {init}
{methods}

def build(input_shape, output_size):
    inputs = keras.Input(input_shape)
    model = Own(inputs, layers.Dense(output_size)(layers.Dense(4, activation="relu")(inputs)))
    {after}
    return model
"""
STEP = """
    def train_step(self, data):
        x, y = data
        {first}
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = {loss}
        gradients = tape.gradient(loss, self.trainable_variables)
        {update}
        return {returned}
"""
OWN_LOSS = "ops.mean(keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True))"
UPDATE = "self.optimizer.apply(gradients, self.trainable_variables)"
USED_LOSS = "self.compute_loss(x=x, y=y, y_pred=y_pred)"


def step(
    loss: str = OWN_LOSS, returned: str = '{"loss": loss}', update: str = UPDATE, init: str = "pass", first: str = ""
) -> str:
    """The code of a model with this step."""
    methods = STEP.format(loss=loss, returned=returned, update=update, first=first or "pass")
    return BUILD.format(methods=methods, init=init, after="pass")


def methods(code: str, after: str = "pass", init: str = "pass") -> str:
    """The code of a model with these methods."""
    return BUILD.format(methods=code, init=init, after=after)


EACH_METRIC = """
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        for metric in self.metrics:
            metric.update_state(loss) if metric.name == "loss" else metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}
"""
TRACKERS = """
    @property
    def metrics(self):
        return [self.tracker]

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        self.tracker.update_state(loss)
        return {"total_loss": self.tracker.result(), "one": 1.0}
"""
COMPUTE_LOSS = """
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, y, y_pred, sample_weight, training) + 0.1 * ops.mean(ops.square(y_pred))
"""
PYTHON = """
    def train_step(self, data):
        x, y = data
        assert float(np.mean(x.numpy())) < 100.0
        return super().train_step(data)
"""
COMPILE = "    def compile(self, *arguments, **options):\n        super().compile(*arguments, **options)\n"
TRAINED = {
    "returns only its loss": step(),
    "uses the compiled loss": step(loss=USED_LOSS),
    "updates each metric": methods(EACH_METRIC),
    "trackers of its own": methods(TRACKERS, init='self.tracker = keras.metrics.Mean(name="total_loss")'),
    "returns one other name": step(returned='{"entropy": loss}'),
    "calls Keras' own step": methods("    def train_step(self, data): return super().train_step(data)\n"),
    "compute_loss": methods(COMPUTE_LOSS),
    "compile that passes all on": methods(COMPILE),
    "runs eagerly": methods(PYTHON, after='model.compile("adam", run_eagerly=True)'),
    "two passes": step(loss=f"{OWN_LOSS} + 0.1 * ops.mean(ops.square(self(x + 0.1) - y_pred))"),
}


@pytest.fixture
def refused(
    make_dataset: MakeDataset, recipe: MakeRecipe, user_model: Callable[[str], str], tmp_path: Path
) -> Callable[..., str]:
    """Return a function from code and params to the refusal of its step; empty if it is trained."""

    def found(code: str, **params: Any) -> str:
        given = recipe(**{"optimizer": "adam", "model.architecture": user_model(code), "batch_size.size": 8, **params})
        try:
            refuse_unusable_step(given, make_dataset(), tmp_path)
        except InputError as error:
            return f"{error.key}: {error.message}"
        return ""

    return found


@pytest.mark.parametrize("name", TRAINED)
def test_the_forms_of_keras_guides_are_trained(
    refused: Callable[..., str],
    make_dataset: MakeDataset,
    recipe: MakeRecipe,
    user_model: Callable[[str], str],
    tmp_path: Path,
    name: str,
) -> None:
    assert refused(TRAINED[name]) == ""
    given = recipe(**{"optimizer": "adam", "model.architecture": user_model(TRAINED[name]), "learning_rate.peak": 0.05})
    dataset = make_dataset()
    outcome = train(
        FitEngine(dataset, tmp_path), given, dataset, epochs=4, seed=0, monitor="val_loss", direction="minimize"
    )
    assert outcome.epochs == 4
    assert outcome.curves["loss"][-1] < outcome.curves["loss"][0]


OTHER_UPDATE = "self.other.apply(gradients, self.trainable_variables)"
OTHER = "self.other = keras.optimizers.SGD(0.1)"
NO_OPTIMIZER = "[v.assign_sub(0.1 * g) for v, g in zip(self.trainable_variables, gradients)]"
GROWS = """if not hasattr(self, "late"):
            with tf.init_scope():
                self.late = self.add_weight(shape=(), trainable=False)"""
REFUSED = {
    "raises": (step(first="raise RuntimeError('no such batch')"), "no such batch (line"),
    "returns several values": (step(returned='{"a": loss, "b": loss}'), "named 'loss'"),
    "returns losses of rows": (step(returned='{"loss": ops.square(y_pred)}'), "one number"),
    "an optimizer of its own": (
        step(update=OTHER_UPDATE, init=OTHER),
        "more optimizers",
    ),
    "no optimizer": (step(update=NO_OPTIMIZER), "self.optimizer"),
    "variables while it trains": (step(first=GROWS), "__init__"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_steps_that_cannot_be_followed_are_refused_before_the_first_trial(
    refused: Callable[..., str], name: str
) -> None:
    code, word = REFUSED[name]
    assert word in refused(code)


@pytest.mark.parametrize(
    ("params", "key"),
    [
        ({"penalty.kind": "l2", "penalty.strength": 0.1}, "penalty.kind"),
        ({"penalty.label_smoothing": 0.2}, "penalty.label_smoothing"),
        ({"training.loss": "focal"}, "training.loss"),
    ],
)
def test_a_technique_that_the_step_leaves_out_is_refused_and_the_remedy_uses_it(
    refused: Callable[..., str], params: dict[str, Any], key: str
) -> None:
    assert refused(step(), **params).startswith(key)
    assert refused(step(loss=USED_LOSS), **params) == ""
    if key == "penalty.kind":
        assert refused(step(loss=f"{OWN_LOSS} + sum(self.losses)"), **params) == ""


def test_layers_that_only_the_step_uses_are_built_in_init(refused: Callable[..., str]) -> None:
    loss = f"{OWN_LOSS} + ops.mean(ops.square(self.extra(y_pred)))"
    said = refused(step(loss=loss, init="self.extra = layers.Dense(2)"))
    assert "self.extra.build" in said
    assert "__init__" in said
    assert refused(step(loss=loss, init="self.extra = layers.Dense(2); self.extra.build((None, 3))")) == ""


FIT = "    def fit(self, *given, **options): return super().fit(*given, **options)\n"
PREDICT = "    def predict_step(self, data): return ops.softmax(super().predict_step(data))\n"
KEEPS_LOSS = """
    def compile(self, optimizer, loss, **options):
        super().compile(optimizer, **options)
        self.own = loss
"""
GAN = "    def compile(self, d_optimizer, g_optimizer, loss_fn): super().compile()\n"
NARROW = "    def compile(self, optimizer, loss=None): super().compile(optimizer, loss)\n"


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (methods(FIT), "train_step"),
        (methods(PREDICT), "in call"),
        (methods(KEEPS_LOSS, after='model.compile("adam", "mae")'), "super().compile"),
        (methods(GAN), "g_optimizer"),
        (methods(NARROW), "**options"),
        (methods("    def compute_metrics(self, *given, **named): return {}\n"), "objective"),
        (methods("", after="model.fit = lambda *given: None"), "train_step"),
    ],
)
def test_methods_that_trials_do_not_call_are_refused_by_the_build(
    user_model: Callable[[str], str], tmp_path: Path, code: str, word: str
) -> None:
    with pytest.raises(InputError) as caught:
        build_model(user_model(code), {}, (5,), 3, folder=tmp_path, seed=0)
    assert word in caught.value.message


REPLACES = """
    def compile(self, optimizer="adam", loss=None, **options):
        super().compile({optimizer}, {loss}, **options)
"""


@pytest.mark.parametrize(("optimizer", "loss"), [("optimizer", '"mse"'), ("keras.optimizers.SGD(1e-5)", "loss")])
def test_a_compile_that_replaces_what_the_study_settles_is_refused(
    refused: Callable[..., str],
    make_dataset: MakeDataset,
    user_model: Callable[[str], str],
    tmp_path: Path,
    optimizer: str,
    loss: str,
) -> None:
    code = methods(REPLACES.format(optimizer=optimizer, loss=loss))
    assert "replaces" in refused(code)
    build = try_build(user_model(code), {}, TrainingSettings(), TrainingRows.of(make_dataset()), tmp_path)
    assert "replaces" in str(build.problem)
    assert refused(methods(REPLACES.format(optimizer="optimizer", loss="loss"))) == ""


def test_rows_without_weight_at_the_start_refuse_no_step(
    make_dataset: MakeDataset, recipe: MakeRecipe, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    dataset = make_dataset(examples=200)
    weights = np.where(np.arange(200) < 100, 0.0, 1.0).astype(np.float32)
    train_rows, held = (replace(each, weights=weights) for each in (dataset.train, dataset.validation))
    code = step(loss="self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=data[2])").replace(
        "= data", "= data[:2]"
    )
    given = recipe(**{"model.architecture": user_model(code), "batch_size.size": 8, "penalty.label_smoothing": 0.1})
    refuse_unusable_step(given, replace(dataset, train=train_rows, validation=held), tmp_path)


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_a_step_that_leaves_out_the_loss_is_refused_with_weights_of_classes_too(
    refused: Callable[..., str], class_weight: str
) -> None:
    each = OWN_LOSS.removeprefix("ops.mean(").removesuffix(")")
    code = step(loss=f"ops.mean(data[2] * {each}) if len(data) == 3 else {OWN_LOSS}").replace("= data", "= data[:2]")
    said = refused(code, **{"training.loss": "focal", "training.class_weight": class_weight})
    assert said.startswith("training.loss")


def test_a_step_trains_with_the_loss_that_its_model_was_compiled_with(
    make_dataset: MakeDataset, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    code = methods(EACH_METRIC, after='model.compile("adam", keras.losses.CategoricalHinge())')
    model = build_model(user_model(code), {}, (5,), 3, folder=tmp_path, seed=0)
    assert read_head(model, TrainingRows.of(make_dataset()), folder=tmp_path).loss_name == "categorical_hinge"


def test_a_study_of_which_the_first_models_fail_is_trained(
    make_dataset: MakeDataset, recipe: MakeRecipe, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(
        """
import keras

class Narrow(keras.layers.Layer):
    def __init__(self, width):
        super().__init__()
        self.width = width

    def call(self, inputs, training=False):
        if training and self.width < 5:
            raise ValueError("too narrow")
        return inputs

def build(input_shape, output_size, width: int = 1):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Dense(output_size)(Narrow(width)(inputs)))
"""
    )
    own = [recipe(**{"model.architecture": "own.py:build", "model.width": width}) for width in range(1, 6)]
    with pytest.raises(InputError, match="too narrow"):
        refuse_untrainable_models(own[:4], make_dataset(), tmp_path)
    refuse_untrainable_models(own, make_dataset(), tmp_path)


def test_a_step_trains_as_in_plain_keras(
    make_dataset: MakeDataset, recipe: MakeRecipe, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    """One batch an epoch: the order of the rows changes nothing."""
    reference, dataset = user_model(step()), make_dataset()
    params = {"optimizer": "sgd", "batch_size.size": 22, "learning_rate.peak": 0.1}
    given, engine = recipe(**{**params, "model.architecture": reference}), FitEngine(dataset, tmp_path)
    outcome = train(engine, given, dataset, epochs=4, until=3, seed=5, monitor="val_loss", direction="minimize")
    plain = build_model(reference, {}, (5,), 3, folder=tmp_path, seed=Seeds.from_trial(5).weights)
    plain.compile(keras.optimizers.SGD(0.1))
    plain.fit(dataset.train.inputs, dataset.train.targets, batch_size=22, epochs=3, verbose=0)
    assert outcome.halted is not None
    for one, other in zip(engine.weights(outcome.halted.state), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


POSITIONS_STEP = """
    def train_step(self, data):
        {unpacked} = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = {loss}
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {{"loss": loss}}
"""
MEANS = "ops.mean(keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True) * weight[:, None])"


PLAIN_MEANS = MEANS.replace(" * weight[:, None]", "")


@pytest.mark.parametrize(
    ("loss", "is_refused"),
    [
        (MEANS, True),
        ("self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=weight)", False),
        (PLAIN_MEANS, True),
        ("self.compute_loss(x=x, y=y, y_pred=y_pred)", False),  # rows have no weights of their own
    ],
)
def test_weights_of_classes_at_positions_need_the_compiled_loss(
    loss: str, is_refused: bool, make_dataset: MakeDataset, recipe: MakeRecipe, user_model: Any, tmp_path: Path
) -> None:
    has_weights = "weight" in loss
    step = POSITIONS_STEP.format(loss=loss, unpacked="x, y, weight" if has_weights else "x, y")
    code = BUILD.format(init="", methods=step, after="")
    code = code.replace("layers.Dense(output_size)", "layers.Dense(output_size[-1])")
    dataset = make_dataset()
    random = np.random.default_rng(0)
    steps = random.normal(size=(60, 5, 2)).astype(np.float32)
    targets = (steps[..., 0] > 0.5).astype(np.int32)
    rows = [
        replace(
            each,
            inputs=steps[part],
            targets=targets[part],
            weights=np.ones(30, np.float32) if has_weights else None,
        )
        for each, part in ((dataset.train, slice(30)), (dataset.validation, slice(30, 60)))
    ]
    dataset = replace(dataset, train=rows[0], validation=rows[1], task="positions", classes=(0, 1))
    dataset = replace(dataset, description={"target_shape": [5]})
    given = recipe(
        **{"model.architecture": user_model(code), "batch_size.size": 8, "training.class_weight": "balanced"}
    )
    if is_refused:
        with pytest.raises(InputError, match="compute_loss") as caught:
            refuse_unusable_step(given, dataset, tmp_path)
        assert caught.value.key == "training.class_weight"
    else:
        refuse_unusable_step(given, dataset, tmp_path)
