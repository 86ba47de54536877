"""Builders and targets of unusual forms are refused before the first trial, and whoever follows the remedy is read."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from nightune.models.errors import InputError
from nightune.tasks.build_models import Builds, build_models
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import read_dataset
from nightune.tuning.errors import StudyError
from nightune.tuning.study.study import Study

FILE = """
import keras
import numpy as np
from keras import layers, ops

cache, rng = [], np.random.default_rng(0)
x = rng.normal(size=(60, 4)).astype("float32")
three, squares = np.arange(60) % 3, x.reshape(60, 2, 2)
shares = 0.8 * np.eye(3)[three] + 0.2 * np.eye(3)[(three + 1) % 3]
places, words = np.arange(240).reshape(60, 2, 2) % 3, np.array(["one two", "two"] * 30)[:, None]


def ids(texts):
    vectorize = layers.TextVectorization(max_tokens=20, output_sequence_length=4)
    vectorize.adapt(texts)
    return ops.convert_to_numpy(vectorize(texts))


def load():
    return {load}


def build(input_shape, output_size, {parameters}):
    inputs = keras.Input(input_shape)
    {before}
    model = keras.Model(inputs, {outputs})
    {after}
    return model
"""
SOFTMAX = "layers.Dense(output_size, 'softmax')(inputs)"
SIGMOID = "layers.Dense(output_size, 'sigmoid')(inputs)"
LENGTHS = "layers.Lambda(lambda z: ops.tanh(ops.abs(z)))(layers.Dense(output_size)(inputs))"
ONE_HOT, QUANTITY = "x, np.eye(3)[three]", "x, x[:, 0]"
TAGS = "x, (x > 0).astype(int)"
COMPILED = "model.compile('adam', {})".format
KEPT = "cache.append(cache[0] if cache else layers.Dense(9, name='kept')); cache[0].trainable = {}".format
DRAWN = "places = list({}.permutation(4)[:2])".format
FLAT = "layers.Flatten()(layers.Dense({})(inputs))".format
SOFT = "keras.losses.CategoricalCrossentropy(from_logits=True)"
REGRESSION = 'task = "regression"'


@dataclass(frozen=True)
class Case:
    """Parts of a study and its file; `word` is one of the refusal, and a remedy replaces parts."""

    load: str = "x, three"
    outputs: str = "layers.Dense(output_size)(inputs)"
    before: str = "pass"
    after: str = "pass"
    parameters: str = "width=8"
    data: str = ""
    training: str = ""
    space: str = ""
    model: str = ""
    word: str = ""

    def read(self, folder: Path) -> Builds:
        loaded = self.study(folder)
        return build_models(loaded, read_dataset(loaded))

    def study(self, folder: Path) -> Study:
        parts = {name: getattr(self, name) for name in ("load", "outputs", "before", "after", "parameters")}
        (folder / "all.py").write_text(FILE.format(**parts))
        study = folder / "study.toml"
        study.write_text(
            f'question = "Which?"\n[data]\nsource = "all.py:load"\n{self.data}\n'
            f'[model]\narchitecture = "all.py:build"\n{self.model}\n[training]\n{self.training}\n'
            f'[space]\noptimizer = "adam"\n{self.space}\n[search]\ntrials = 1\nepochs = 1\n'
            '[objective]\nmetric = "val_loss"\n'
        )
        return load_study(study)


SHARES = Case(load="x, shares", data=REGRESSION, training='loss = "crossentropy"', outputs=SOFTMAX)
RECURRENT = "layers.Dense(output_size)(layers.LSTM(4, stateful={})(inputs))".format
BATCHES = Case(load="squares, three", before="inputs = keras.Input(batch_shape=(64, 2, 2))")
COMPILED_SHARES = replace(SHARES, training="", after=COMPILED("'categorical_crossentropy'"))
CASES: dict[str, tuple[Case, list[Case]]] = {
    "weights of an earlier call": (
        Case(before=KEPT(True), outputs="layers.Dense(output_size)(cache[0](inputs))", word="make its layers inside"),
        [
            Case(before=KEPT(False), outputs="layers.Dense(output_size)(cache[0](inputs))"),
            Case(before="cache = [layers.Dense(9)]", outputs="layers.Dense(output_size)(cache[0](inputs))"),
        ],
    ),
    "moving means of an earlier call": (
        Case(
            before="cache.append(layers.BatchNormalization(center=False, scale=False))",
            outputs="layers.Dense(output_size)(cache[0](inputs))",
            word="moving_mean",
        ),
        [Case(outputs="layers.Dense(output_size)(layers.BatchNormalization()(inputs))")],
    ),
    "a structure that is counted": (
        Case(
            before="cache.append(0)",
            outputs="layers.Dense(output_size)(layers.Dense(len(cache))(inputs))",
            word="arguments alone",
        ),
        [Case(outputs="layers.Dense(output_size)(layers.Dense(width)(inputs))")],
    ),
    "a constant that is drawn": (
        Case(
            before=DRAWN("np.random"),
            outputs="layers.Dense(output_size)(ops.take(inputs, places, axis=1))",
            word="default_rng(0)",
        ),
        [
            Case(
                before=DRAWN("np.random.default_rng(0)"),
                outputs="layers.Dense(output_size)(ops.take(inputs, places, axis=1))",
            )
        ],
    ),
    "a state from batch to batch": (
        replace(BATCHES, outputs=RECURRENT(True), word="without stateful"),
        [replace(BATCHES, outputs=RECURRENT(False))],
    ),
    "a policy of its own": (
        Case(before="keras.config.set_dtype_policy('mixed_bfloat16')", word='precision = "mixed_bfloat16"'),
        [Case(space='precision = "mixed_bfloat16"')],
    ),
    "a number format of its own": (
        Case(before="keras.config.set_floatx('float64')", word="give dtype"),
        [Case(outputs="layers.Dense(output_size, dtype='float64')(inputs)")],
    ),
    "an order of axes of its own": (
        Case(before="keras.config.set_image_data_format('channels_first')", word="give data_format"),
        [Case(outputs="layers.Dense(output_size)(layers.Flatten(data_format='channels_first')(inputs))")],
    ),
    "an epsilon of its own": (
        Case(before="keras.config.set_epsilon(1e-3)", word="give epsilon"),
        [Case(outputs="layers.Dense(output_size)(layers.BatchNormalization(epsilon=1e-3)(inputs))")],
    ),
    "an answer without an axis": (
        Case(load=QUANTITY, outputs="ops.sum(layers.Dense(9)(inputs), axis=1)", word="Reshape((1,))"),
        [Case(load=QUANTITY, outputs="layers.Reshape((1,))(ops.sum(layers.Dense(9)(inputs), axis=1))")],
    ),
    "a softmax over the batch": (
        Case(outputs="layers.Softmax(axis=0)(layers.Dense(output_size)(inputs))", word="over the last axis"),
        [Case(outputs="layers.Softmax(axis=-1)(layers.Dense(output_size)(inputs))")],
    ),
    "parameters without names": (
        Case(parameters="**more", model="width = 9", word="width: int = 16"),
        [Case(parameters="width: int = 16", model="width = 9")],
    ),
    "shares of classes": (
        Case(load="x, shares", outputs=SOFTMAX, word='loss = "crossentropy"'),
        [SHARES, COMPILED_SHARES, Case(load="x, shares.argmax(axis=1)")],
    ),
    "shares without a softmax": (replace(SHARES, outputs=Case.outputs, word="end in a softmax"), [SHARES]),
    "shares from logits": (
        Case(load="x, shares", data=REGRESSION, after=COMPILED(SOFT), word="without from_logits"),
        [COMPILED_SHARES],
    ),
    "a loss of the whole batch": (
        Case(load=TAGS, outputs=SIGMOID, after=COMPILED("keras.losses.Dice()"), word="axis=-1"),
        [
            Case(load=TAGS, training='loss = "focal"', after=COMPILED("keras.losses.Dice()")),
            Case(load=TAGS, outputs=SIGMOID, after=COMPILED("keras.losses.Dice(axis=1)")),
        ],
    ),
    "an overlap of logits": (
        Case(load=TAGS, after=COMPILED("keras.losses.Dice(axis=1)"), word="end in a sigmoid"),
        [Case(load=TAGS, outputs=SIGMOID, after=COMPILED("keras.losses.Dice(axis=1)"))],
    ),
    "outputs of several axes": (
        Case(load="squares, x", outputs="layers.Dense(2)(inputs)", word="layers.Flatten()"),
        [Case(load="squares, x", outputs=FLAT(2))],
    ),
    "classes of each place": (
        Case(load="squares, places", word="np.arange(3)"),
        [
            Case(
                load="squares, places[..., None] == np.arange(3)",
                data='task = "multilabel"',
                outputs="layers.Dense(3, activation='sigmoid')(layers.Reshape((2, 2, 1))(inputs))",
            )
        ],
    ),
    "texts as inputs": (
        Case(load="words, three", word="TextVectorization"),
        [
            Case(
                load="ids(words), three",
                outputs="layers.Dense(output_size)(layers.Flatten()(layers.Embedding(20, 4)(inputs)))",
            )
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_unusual_form_is_refused_with_a_remedy_that_works(name: str, tmp_path: Path) -> None:
    refused, remedies = CASES[name]
    with pytest.raises(StudyError) as caught:
        refused.read(tmp_path)
    assert refused.word in str(caught.value)
    for number, remedy in enumerate(remedies):
        (tmp_path / str(number)).mkdir()
        assert remedy.read(tmp_path / str(number)).heads


def test_layers_that_are_adapted_once_may_be_kept(tmp_path: Path) -> None:
    made = "cache.append(cache[0] if cache else layers.Normalization(mean=0.5, variance=2.0))"
    assert Case(before=made, outputs="layers.Dense(output_size)(cache[0](inputs))").read(tmp_path).heads


@pytest.mark.parametrize("case", [SHARES, COMPILED_SHARES], ids=["stated", "compiled"])
def test_shares_are_trained_by_their_cross_entropy(case: Case, tmp_path: Path) -> None:
    assert "categorical_crossentropy" in case.read(tmp_path).heads["all.py:build"]


@pytest.mark.parametrize("outputs", [SIGMOID, LENGTHS], ids=["sigmoid", "lengths"])
@pytest.mark.parametrize("loss", ["'mse'", "lambda y_true, y_pred: ops.sum((y_true - y_pred) ** 2, axis=-1)"])
def test_a_loss_that_states_no_meaning_takes_outputs_of_classes_as_they_are(
    outputs: str, loss: str, tmp_path: Path
) -> None:
    case = Case(load=ONE_HOT, outputs=outputs, after=COMPILED(loss))
    assert "between 0 and 1" in case.read(tmp_path).heads["all.py:build"]
    replace(case, training='outputs = "logits"').read(tmp_path)
    for refused in (replace(case, after="pass"), replace(case, training='outputs = "probabilities"')):
        with pytest.raises(StudyError, match="distribution"):
            refused.read(tmp_path)


def test_a_compiled_loss_of_targets_with_several_axes_is_not_called_unused(tmp_path: Path) -> None:
    flat = "layers.Reshape((2, 2))(layers.Dense(4)(layers.Flatten()(inputs)))"
    case = Case(load="squares, squares", data=REGRESSION, outputs=flat, after=COMPILED("'mae'"))
    builds = case.read(tmp_path)
    assert "mae" in builds.heads["all.py:build"]
    assert not [each for each in builds.findings if "loss mae is not used" in each]
    other = replace(case, training='loss = "huber"').read(tmp_path)
    assert [each for each in other.findings if "loss mae is not used" in each]


FAILS = """class Fails(layers.Layer):
        def call(self, x, training=False):
            if training and {}:
                raise ValueError("no labels")
            return x
"""
OWN_LAYER = "layers.Dense(output_size)(Fails()(inputs))"


def test_own_code_that_raises_while_it_trains_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no labels .*all.py"):
        prove(Case(before=FAILS.format("width < 20"), outputs=OWN_LAYER), tmp_path)
    searched = Case(before=FAILS.format("width < 20"), outputs=OWN_LAYER, model="width = [8, 32]")
    prove(searched, tmp_path)  # some trials can be trained: the others report it
    large = "batch_size.size = 100\nlearning_rate.schedule = 'cosine'"
    prove(
        Case(
            before=FAILS.format(False), outputs=OWN_LAYER, load="np.repeat(x, 9, 0), np.repeat(three, 9)", space=large
        ),
        tmp_path,
    )


def prove(case: Case, folder: Path) -> None:
    from nightune.tasks.prove_training import prove_training

    study = case.study(folder)
    prove_training(study, read_dataset(study), ["all.py:build"])


@pytest.mark.parametrize("kind", ["own", "c"])
def test_a_training_step_that_one_option_brings_is_tried(kind: str, tmp_path: Path) -> None:
    """The middle of words is the first, and the ends are the first and the last."""
    after = "if kind == 'own': model.train_step = lambda data: dict()"
    case = Case(parameters="kind='a'", after=after, space=f'model.kind = ["a", "{kind}", "b"]')
    if kind == "c":
        prove(case, tmp_path)
        return
    with pytest.raises(StudyError, match="train_step"):
        prove(case, tmp_path)


KEEPS = Case(
    before="cache.append(layers.Dense(9)); first = cache[0] if width == 16 else layers.Dense(9)",
    outputs="layers.Dense(output_size)(first(inputs))",
)


@pytest.mark.parametrize("width", [16, 24])
def test_layers_of_an_earlier_call_that_one_option_returns_are_refused(width: int, tmp_path: Path) -> None:
    case = replace(KEEPS, parameters="width=4", model=f"width = [4, 8, {width}, 32]")
    if width == 24:
        assert case.read(tmp_path).count == 4
        return
    with pytest.raises(StudyError, match=r"width = 16: .*earlier call .*line"):
        case.read(tmp_path)


def test_a_trial_refuses_weights_of_an_earlier_one_that_no_check_has_seen(tmp_path: Path) -> None:
    from nightune.models.engines.keras_parts.recipe_models import build_recipe_model
    from nightune.models.recipe.params import read_recipe

    dataset = read_dataset(KEEPS.study(tmp_path))
    for width in (8, 16):
        recipe = read_recipe({"model.architecture": "all.py:build", "model.width": width, "optimizer": "adam"})
        first = build_recipe_model(recipe, dataset, tmp_path, 1)
        if width == 8:
            assert build_recipe_model(recipe, dataset, tmp_path, 2) is not first
            continue
        with pytest.raises(InputError, match="earlier call"):
            build_recipe_model(recipe, dataset, tmp_path, 2)


@pytest.mark.skipif(os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow", reason="the layer fails there alone")
def test_models_of_keras_that_raise_while_they_train_are_refused_with_the_engine(tmp_path: Path) -> None:
    from nightune.models.engines.choice import choose_engine
    from nightune.tasks.prove_reopening import recipes_of

    # Keras 3.15 crops images in a functional model only while it trains.
    cropped = "layers.Dense(output_size)(layers.Flatten()(layers.RandomCrop(7, 7)(inputs)))"
    study = Case(load="rng.normal(size=(60, 8, 8, 1)), three", outputs=cropped).study(tmp_path)
    recipes = list(recipes_of(study, "all.py:build"))
    with pytest.raises(InputError, match="while it trains"):
        choose_engine("auto", recipes, read_dataset(study), tmp_path)
