"""Embeddings whose ids repeat in a batch, and ids that a table has no row for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Examples, SealedExamples, UnsealedExamples
from nightune.models.engines.choice import choose_engine
from nightune.models.engines.make import make_engine
from nightune.models.errors import InputError
from nightune.models.recipe.params import read_recipe
from nightune.models.training.engine import COMPILED_ENGINES
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from tests.models.conftest import BACKEND, FEW_RULES

UserModel = Callable[[str], str]
COMPILED = COMPILED_ENGINES[BACKEND]
SEEDS = Seeds(weights=1, order=2, dropout=3)
ROWS, WIDTH, WORDS = 6, 3, 7
RATE, UPDATES, SIZE = 0.02, 3, 8
WORD_MODEL = """
def build(input_shape, output_size, rows: int = 6):
    hidden = [layers.Embedding(rows, 3), layers.GlobalAveragePooling1D(), layers.Dense(output_size, use_bias=False)]
    return keras.Sequential([keras.Input(input_shape), *hidden])
"""


def words(low: int = 0, high: int = ROWS, examples: int = UPDATES * SIZE) -> Examples:
    """Sentences with each word several times in a batch, and most of them several times in a sentence."""
    inputs = np.random.default_rng(0).integers(low, high, (examples, WORDS)).astype(np.int32)
    return Examples(inputs, (inputs[:, 0] > 2).astype(np.int32))


def dataset(train: Examples, **splits: Examples) -> Dataset:
    given: dict[str, Any] = {"validation": words(), "test": words(), **splits}
    return Dataset(train, given.pop("validation"), given.pop("test"), "binary", (0, 1), "0" * 16, (), None, {}, **given)


def gradients(weights: list[np.ndarray], inputs: np.ndarray, targets: np.ndarray) -> list[np.ndarray]:
    """The gradients of the mean cross-entropy of `WORD_MODEL`; a word's row gets the sum over its places."""
    table, kernel = weights
    hidden = table[inputs].mean(axis=1)
    errors = (1 / (1 + np.exp(-hidden @ kernel)) - targets[:, None]) / len(targets)
    of_table = np.zeros_like(table)
    np.add.at(of_table, inputs, np.repeat((errors @ kernel.T / WORDS)[:, None, :], WORDS, axis=1))
    return [of_table, hidden.T @ errors]


def clipped(found: list[np.ndarray], kind: str, limit: float) -> list[np.ndarray]:
    lengths = [np.linalg.norm(each) for each in found]
    if kind == "value":
        return [np.clip(each, -limit, limit) for each in found]
    if kind == "norm":
        return [each * min(1.0, limit / length) for each, length in zip(found, lengths, strict=True)]
    whole = np.linalg.norm(lengths)
    return [each * min(1.0, limit / whole) for each in found] if kind == "global_norm" else found


Step = Callable[[np.ndarray, int, dict[str, np.ndarray]], np.ndarray]  # gradient, number of the update, slots → move


def sgd(g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    s["v"] = 0.9 * s.get("v", 0 * g) - RATE * g
    return s["v"]


def adam(g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    s["m"], s["v"] = 0.9 * s.get("m", 0 * g) + 0.1 * g, 0.999 * s.get("v", 0 * g) + 0.001 * g**2
    return -RATE * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * s["m"] / (np.sqrt(s["v"]) + 1e-7)


def nadam(g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    now, following = (0.9 * (1 - 0.5 * 0.96**number) for number in (t, t + 1))
    s["product"] = s.get("product", np.float64(1.0)) * now
    s["m"], s["v"] = 0.9 * s.get("m", 0 * g) + 0.1 * g, 0.999 * s.get("v", 0 * g) + 0.001 * g**2
    ahead = following * s["m"] / (1 - s["product"] * following) + (1 - now) * g / (1 - s["product"])
    return -RATE * ahead / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-7)


def adamax(g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    s["m"], s["u"] = 0.9 * s.get("m", 0 * g) + 0.1 * g, np.maximum(0.999 * s.get("u", 0 * g), np.abs(g))
    return -RATE / (1 - 0.9**t) * s["m"] / (s["u"] + 1e-7)


def rmsprop(g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    s["s"] = 0.9 * s.get("s", 0 * g) + 0.1 * g**2
    return -RATE * g / np.sqrt(s["s"] + 1e-7)


def adagrad(g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    s["s"] = s.get("s", 0 * g + 0.1) + g**2
    return -RATE * g / np.sqrt(s["s"] + 1e-7)


def adadelta(g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    s["s"], last = 0.9 * s.get("s", 0 * g) + 0.1 * g**2, s.get("d", 0 * g)
    move = -g * np.sqrt(last + 1e-7) / np.sqrt(s["s"] + 1e-7)
    s["d"] = 0.9 * last + 0.1 * move**2
    return RATE * move


def lion(g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    last, s["m"] = s.get("m", 0 * g), 0.99 * s.get("m", 0 * g) + 0.01 * g
    return -RATE * np.sign(0.9 * last + 0.1 * g)


FORMULAS: dict[str, tuple[Step, dict[str, Any]]] = {
    "sgd": (sgd, {"one_minus_momentum": 0.1}),
    "adam": (adam, {}),
    "adamw": (adam, {"weight_decay.profile": "none"}),
    "nadam": (nadam, {}),
    "adamax": (adamax, {}),
    "rmsprop": (rmsprop, {"one_minus_rho": 0.1}),
    "adagrad": (adagrad, {}),
    "adadelta": (adadelta, {"one_minus_rho": 0.1}),
    "lion": (lion, {}),
    "muon": (adam, {}),  # which leaves tables and outputs to Adam
}
CLIPS = {"none": 0.0, "norm": 0.05, "value": 0.02, "global_norm": 0.05}


def one_epoch() -> EpochPlan:
    order, rates = np.random.default_rng(1).permutation(UPDATES * SIZE), np.full(UPDATES, RATE, np.float32)
    sizes = np.full(UPDATES, SIZE, np.int32)
    return EpochPlan(1, order.astype(np.int32), sizes, rates, 0 * rates, weight_decay=0.0, l1=0.0, l2=0.0, penalty=0.0)


def trained(name: str, params: dict[str, Any], folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The weights before and after an epoch."""
    engine: Any = make_engine(name, dataset(words()), folder, rules=FEW_RULES)
    state = engine.start(read_recipe(params), SEEDS)
    begin = engine.weights(state)
    return begin, engine.weights(engine.run_epoch(state, one_epoch())[0])


def assert_on_the_way(ends: list[np.ndarray], expected: list[np.ndarray], begin: list[np.ndarray]) -> None:
    way = max(float(np.abs(one - other).max()) for one, other in zip(expected, begin, strict=True))
    for one, other in zip(ends, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * way + 1.2e-7)  # a unit in the last place of 1


def is_nightly(kind: str, clip: str, name: str) -> bool:
    """The compiled engine adds up before any rule: a rule of one slot, of two, and one of its own show it."""
    if name != "fit":
        return kind not in ("sgd", "adam", "muon")
    return kind != "adam" and clip not in ("none", "global_norm")


ROWS_OF_FORMULAS = [
    pytest.param(kind, clip, name, marks=[pytest.mark.nights] if is_nightly(kind, clip, name) else [])
    for kind in FORMULAS
    for clip in CLIPS
    for name in (("fit", COMPILED) if clip == "none" else ("fit",))
]


@pytest.mark.parametrize(("kind", "clip", "name"), ROWS_OF_FORMULAS)
def test_rows_that_repeat_are_added_up_before_the_formula(
    kind: str, clip: str, name: str, user_model: UserModel, tmp_path: Path
) -> None:
    step, params = FORMULAS[kind]
    if clip != "none":
        params = {**params, "gradient_clip.kind": clip, "gradient_clip.limit": CLIPS[clip]}
    params = {"model.architecture": user_model(WORD_MODEL), "optimizer": kind, **params}
    train = words()
    begin, ends = trained(name, params, tmp_path)
    weights = [each.astype(np.float64) for each in begin]
    slots: list[dict[str, np.ndarray]] = [{}, {}]
    for number, rows in enumerate(np.split(one_epoch().order, UPDATES), start=1):
        found = clipped(gradients(weights, train.inputs[rows], train.targets[rows]), clip, CLIPS[clip])
        weights = [w + step(g, number, s) for w, g, s in zip(weights, found, slots, strict=True)]
    assert_on_the_way(ends, weights, begin)


ONE_HOT_MODEL = """
class Words(layers.Layer):
    def __init__(self):
        super().__init__()
        self.begin = keras.initializers.RandomUniform()

    def build(self, shape):
        self.table = self.add_weight(shape=(6, 3), initializer=self.begin)

    def call(self, ids):
        return ops.one_hot(ops.cast(ids, "int32"), 6) @ self.table


def build(input_shape, output_size):
    hidden = [Words(), layers.GlobalAveragePooling1D(), layers.Dense(output_size, use_bias=False)]
    return keras.Sequential([keras.Input(input_shape), *hidden])
"""


@pytest.mark.parametrize("kind", ["gd", "lamb", "adafactor", "prodigy", "dog", "schedule_free"])
def test_a_table_is_trained_like_a_matrix_of_the_words(kind: str, user_model: UserModel, tmp_path: Path) -> None:
    distance = {"initial_distance": 0.01} if kind in ("prodigy", "dog") else {}
    params: dict[str, Any] = {"optimizer": kind, **distance, "gradient_clip.kind": "norm", "gradient_clip.limit": 0.05}
    begin, ends = trained("fit", {**params, "model.architecture": user_model(WORD_MODEL)}, tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "one_hot.py").write_text((tmp_path / user_model(ONE_HOT_MODEL)[:-6]).read_text())
    same, expected = trained("fit", {**params, "model.architecture": "other/one_hot.py:build"}, tmp_path)
    np.testing.assert_array_equal(begin[0], same[0])
    assert_on_the_way(ends, expected, begin)


def test_auto_takes_the_compiled_engine_for_words(user_model: UserModel, tmp_path: Path) -> None:
    params = {"model.architecture": user_model(WORD_MODEL), "batch_size.size": 8}
    choice = choose_engine("auto", [read_recipe({"optimizer": "adam", **params})], dataset(words()), tmp_path)
    assert choice.name == COMPILED, choice.reason


TOO_HIGH = words(1, ROWS + 1)


@pytest.mark.parametrize("name", ["fit", COMPILED])
@pytest.mark.parametrize("split", ["train", "validation", "ranking_apart", "test", "sealed test"])
def test_ids_without_a_row_are_refused_before_training(
    name: str, split: str, user_model: UserModel, tmp_path: Path
) -> None:
    if split == "sealed test":
        sealed = SealedExamples(len(TOO_HIGH), lambda: UnsealedExamples(TOO_HIGH.inputs, TOO_HIGH.targets))
        data = dataset(words(), test=sealed)  # type: ignore[arg-type]
    else:
        data = dataset(**{"train": words(), split: TOO_HIGH})
    recipe = read_recipe({"model.architecture": user_model(WORD_MODEL), "optimizer": "adam"})
    word = {"train": "training", "ranking_apart": "ranking"}.get(split, split.removeprefix("sealed "))
    with pytest.raises(InputError, match=rf"'embedding\w*' has 6 rows.*{word} split, input \d has the id 6.*to 7 or"):
        make_engine(name, data, tmp_path).start(recipe, SEEDS)
    with pytest.raises(InputError, match="rows"):
        choose_engine("auto" if name == COMPILED else "fit", [recipe], data, tmp_path)


def test_negative_ids_are_refused(user_model: UserModel, tmp_path: Path) -> None:
    recipe = read_recipe({"model.architecture": user_model(WORD_MODEL), "optimizer": "adam"})
    with pytest.raises(InputError, match=r"has the id -1 \(ids from -1 to 5\): number the ids from 0"):
        make_engine("fit", dataset(words(-1)), tmp_path).start(recipe, SEEDS)


HIDDEN_LOOKUPS = {
    "a column": "inputs = keras.Input(input_shape); x = layers.Flatten()(layers.Embedding(6, 2)(inputs[:, 2]))",
    "a shift": "inputs = keras.Input(input_shape); x = layers.Flatten()(layers.Embedding(6, 2)(inputs + 0))",
    "a model": """inputs = keras.Input(input_shape)
    inner = keras.Sequential([keras.Input(input_shape), layers.Embedding(6, 2), layers.Flatten()])
    x = inner(inputs)""",
    "the second of two": """inputs = keras.Input(input_shape)
    x = layers.Concatenate()([layers.Flatten()(layers.Embedding(rows, 2)(inputs)) for rows in (9, 6)])""",
    "the second call": """inputs = keras.Input(input_shape)
    table = layers.Embedding(6, 2)
    x = layers.Concatenate()([table(ops.minimum(inputs[:, 0], 2)), table(inputs[:, 1])])""",
}


@pytest.mark.parametrize("kind", HIDDEN_LOOKUPS)
def test_ids_are_checked_wherever_the_embedding_is(kind: str, user_model: UserModel, tmp_path: Path) -> None:
    code = f"""
def build(input_shape, output_size):
    {HIDDEN_LOOKUPS[kind]}
    return keras.Model(inputs, layers.Dense(output_size)(x))
"""
    recipe = read_recipe({"model.architecture": user_model(code), "optimizer": "adam"})
    make_engine("fit", dataset(words()), tmp_path).start(recipe, SEEDS)  # these have rows
    with pytest.raises(InputError, match=r"has 6 rows.*the id 6"):
        make_engine("fit", dataset(TOO_HIGH), tmp_path).start(recipe, SEEDS)


def test_a_class_of_models_is_checked_and_shifted_ids_are_not_refused(user_model: UserModel, tmp_path: Path) -> None:
    code = """
class Net(keras.Model):
    def __init__(self, output_size):
        super().__init__()
        self.table, self.end = layers.Embedding(6, 2), layers.Dense(output_size)

    def call(self, inputs):
        return self.end(ops.mean(self.table(ops.cast(inputs, "int32") - 1), axis=1))


def build(input_shape, output_size):
    return Net(output_size)
"""
    recipe = read_recipe({"model.architecture": user_model(code), "optimizer": "adam"})
    shifted = {"train": TOO_HIGH, "validation": TOO_HIGH, "test": TOO_HIGH}
    make_engine("fit", dataset(**shifted), tmp_path).start(recipe, SEEDS)
    with pytest.raises(InputError, match="has the id -1"):
        make_engine("fit", dataset(**{**shifted, "validation": words()}), tmp_path).start(recipe, SEEDS)


def test_a_subclass_is_judged_by_the_ids_that_it_looks_up() -> None:
    import keras

    from nightune.models.networks.embedding_ids import refuse_ids_outside_tables

    class Own(keras.layers.Embedding):  # type: ignore[misc]
        def __init__(self, change: Callable[[Any], Any]) -> None:
            super().__init__(6, 2, name="own")
            self.change = change

        def call(self, ids: Any) -> Any:
            return super().call(self.change(keras.ops.cast(ids, "int32")))

    def model(change: Callable[[Any], Any]) -> Any:
        return keras.Sequential([keras.Input((WORDS,)), Own(change), keras.layers.Flatten(), keras.layers.Dense(1)])

    look_up = keras.layers.Embedding.call
    refuse_ids_outside_tables(model(lambda ids: ids % 6), dataset(TOO_HIGH, validation=TOO_HIGH, test=TOO_HIGH))
    with pytest.raises(InputError, match=r"'own' has 6 rows.*the id 6"):
        refuse_ids_outside_tables(model(lambda ids: ids + 1), dataset(words()))
    assert keras.layers.Embedding.call is look_up


def test_a_sweep_goes_on_if_some_of_its_models_have_the_rows(user_model: UserModel, tmp_path: Path) -> None:
    params = {"model.architecture": user_model(WORD_MODEL), "optimizer": "adam"}
    recipes = [read_recipe({**params, "model.rows": rows}) for rows in (6, 7)]
    assert choose_engine("fit", recipes, dataset(TOO_HIGH), tmp_path).name == "fit"
    with pytest.raises(InputError, match="rows"):
        choose_engine("fit", recipes[:1], dataset(TOO_HIGH), tmp_path)
