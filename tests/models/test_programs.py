"""Shared by trials of one program: the layout of plans, and weights drawn without a model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.engines.compiled.arrays import Batch, Update
from nightune.models.engines.compiled.batch_layout import (
    accumulated_parts,
    bucketed_parts,
    exact_parts,
    fitted_parts,
    padded_order,
)
from nightune.models.engines.make import make_engine, make_same_engine
from nightune.models.networks.architectures import build_model
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.engine import COMPILED_ENGINES
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from tests.models.conftest import BACKEND


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, tf, ClassWeights, Form, InitialWeights, Program, build_traced_optimizer
    global TrainingRows, read_head
    import keras
    import tensorflow as tf

    from nightune.models.engines.compiled.initial_weights import InitialWeights
    from nightune.models.engines.compiled.program import Form, Program
    from nightune.models.engines.compiled.traced_optimizers import build_traced_optimizer
    from nightune.models.networks.heads import read_head
    from nightune.models.networks.training_rows import TrainingRows
    from nightune.models.training.row_weights import ClassWeights


HERE = Path()
MakeRecipe = Callable[..., Recipe]
MakePlan = Callable[..., EpochPlan]
MakeDataset = Callable[..., Dataset]


def covered(plan: EpochPlan, parts: Any) -> list[int]:
    """Return the examples with a weight, in the order of the blocks."""
    order, seen = padded_order(plan, parts), []
    for part in parts:
        for start, size in part.bounds[: part.count].tolist():
            block = part.shape.block
            assert part.shape.is_accumulated or size <= block
            for skipped in range(0, size, block):
                cut = order[start + skipped : start + skipped + block]
                assert len(cut) == block
                seen += cut[: size - skipped].tolist()
    return seen


@pytest.mark.parametrize("lay_out", [bucketed_parts, accumulated_parts, fitted_parts, exact_parts])
@pytest.mark.parametrize("sizes", [[8, 8, 6], [22], [1] * 22, [3, 11, 2, 5, 1], [2, 20]])
def test_every_layout_takes_each_example_once_in_the_plans_order(
    make_plan: MakePlan, sizes: list[int], lay_out: Callable[[EpochPlan], Any]
) -> None:
    plan = make_plan(sizes=sizes)
    assert covered(plan, lay_out(plan)) == plan.order.tolist()


@pytest.mark.parametrize("lay_out", [bucketed_parts, accumulated_parts, fitted_parts, exact_parts])
@pytest.mark.parametrize(("size", "updates"), [(8, 300), (64, 40), (600, 4)])
def test_an_epoch_of_a_part_has_the_arrays_of_a_whole_one_where_there_is_room_for_it(
    make_plan: MakePlan, size: int, updates: int, lay_out: Callable[[EpochPlan], Any]
) -> None:
    whole, part = make_plan(sizes=[size] * updates), make_plan(sizes=[size] * 3, room=size * updates)
    (all_of_it,), (some,) = lay_out(whole), lay_out(part)
    assert some.shape == all_of_it.shape
    assert len(padded_order(part, (some,))) == len(padded_order(whole, (all_of_it,)))
    assert len(some.bounds) == len(all_of_it.bounds) or lay_out is fitted_parts
    assert covered(part, (some,)) == part.order.tolist()


def test_fifty_random_sizes_need_no_more_shapes_than_buckets(make_plan: MakePlan) -> None:
    generator = np.random.default_rng(0)
    plans = [make_plan(sizes=[int(size)] * 8) for size in generator.integers(1, 65, 50)]
    assert len({bucketed_parts(plan)[0].shape for plan in plans}) <= 7
    assert {bucketed_parts(make_plan(sizes=[4, 30, 9, 64, 7]))[0].shape.is_accumulated} == {True}


def test_large_batches_share_one_shape_where_they_are_divided(make_plan: MakePlan) -> None:
    plans = [make_plan(sizes=[size, size]) for size in (65, 128, 129, 1000)]
    assert len({bucketed_parts(plan, divides_large=True)[0].shape for plan in plans}) == 1
    assert all(covered(plan, bucketed_parts(plan, divides_large=True)) == plan.order.tolist() for plan in plans)
    assert not bucketed_parts(make_plan(sizes=[64, 64]), divides_large=True)[0].shape.is_accumulated


def test_sizes_from_9_to_all_share_one_shape_where_blocks_are_added_up(make_plan: MakePlan) -> None:
    plans = [make_plan(sizes=[size, size]) for size in (9, 32, 33, 200)]
    assert len({accumulated_parts(plan)[0].shape for plan in plans}) == 1
    assert not accumulated_parts(make_plan(sizes=[8, 3]))[0].shape.is_accumulated


NETS: dict[str, dict[str, Any]] = {
    "mlp": {"units": [8, 4], "dropout": 0.2, "batch_normalization": True},
    "cnn": {"filters": [2], "units": [3]},
}


@pytest.mark.parametrize("name", NETS)
def test_drawn_weights_equal_those_of_a_built_model_to_the_last_bit(name: str) -> None:
    def build(seed: int) -> keras.Model:
        return build_model(name, NETS[name], (6, 6, 1), 3, folder=HERE, seed=seed)

    initial = InitialWeights(build)
    assert initial.is_drawn
    for seed in (0, 7, 2**32 - 1):
        for drawn, built in zip(initial.draw(seed), build(seed).get_weights(), strict=True):
            np.testing.assert_array_equal(np.asarray(drawn), built)


def test_weights_that_no_initializer_explains_are_built(user_model: Callable[[str], str], tmp_path: Path) -> None:
    reference = user_model(
        """
import numpy as np
def build(input_shape, output_size):
    layer = layers.Dense(output_size)
    model = keras.Sequential([keras.Input(input_shape), layer])
    layer.kernel.assign(np.random.normal(size=(5, 3)))
    return model
"""
    )

    def build(seed: int) -> keras.Model:
        return build_model(reference, {}, (5,), 3, folder=tmp_path, seed=seed)

    initial = InitialWeights(build)
    assert not initial.is_drawn
    np.testing.assert_array_equal(initial.draw(3)[0], build(3).get_weights()[0])


def test_the_engine_counts_a_function_once_for_each_of_its_shapes(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    engine = make_engine(COMPILED_ENGINES[keras.backend.backend()], make_dataset(), HERE)
    counts = []
    for kind, sizes in (("sgd", [8, 8, 6]), ("adam", [4, 4, 8, 6]), ("adam", [22])):
        state = engine.start(recipe(optimizer=kind), Seeds(1, 2, 3))
        engine.run_epoch(state, make_plan(sizes=sizes))
        counts.append(engine.compilation.functions)
    assert counts == [1, 1, 2]
    assert engine.compilation.seconds > 0.0


@pytest.mark.skipif(BACKEND != "jax", reason="TensorFlow's batches share a function in any sweep")
def test_batches_of_a_short_sweep_share_a_function_on_jax_and_train_as_fit(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe
) -> None:
    dataset, given = make_dataset(examples=96), recipe(optimizer="adam", model__dropout=0.2)
    names = ("jax", "jax", "fit")
    engines = [
        make_engine(name, dataset, HERE, accumulates_blocks=few)
        for name, few in zip(names, (True, False, False), strict=True)
    ]
    for sizes in ([16] * 6, [40, 40, 16], [64, 32]):
        trained = []
        for engine in engines:
            state, output = engine.run_epoch(engine.start(given, Seeds(1, 2, 3)), make_plan(sizes=sizes, rates=0.01))
            trained.append([*engine.weights(state), np.array([output.loss])])
        for short, long, reference in zip(*trained, strict=True):
            np.testing.assert_allclose(short, reference, rtol=0, atol=2e-5)
            np.testing.assert_allclose(short, long, rtol=0, atol=2e-5)
    few, many, _ = engines
    assert (few.compilation.functions, many.compilation.functions) == (1, 2)
    assert make_same_engine(few, dataset, HERE).accumulates_blocks


def test_one_minus_a_number_near_one_keeps_its_digits(recipe: MakeRecipe) -> None:
    given = recipe(optimizer="adam")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    optimizer, numbers = build_traced_optimizer(given, model)
    for variable, read in numbers.values():
        variable.assign(read(given))
    assert float(1 - optimizer.beta_2) == float(np.float32(1 - 0.999))
    assert float(1 - optimizer.beta_2.value) != float(np.float32(1 - 0.999))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="gradients by TensorFlow's tape")
@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_padding_with_weight_zero_changes_nothing_of_an_update(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe, kind: str
) -> None:
    """As the compiled programs pad: 5 examples in a block of 8, whose others repeat examples with weight 0."""
    dataset = make_dataset("regression")
    given_recipe = recipe(optimizer=kind, penalty__kind="l2")

    def build(seed: int) -> keras.Model:
        return build_model("mlp", {"units": [4]}, (5,), 1, folder=HERE, seed=seed)

    initial, model = InitialWeights(build), build(1)
    head, form = read_head(model, TrainingRows.of(dataset)), Form(is_separable=True)
    program = Program(model, head, given_recipe, initial, ClassWeights(dataset), form)
    targets = program.head.targets(dataset.train.targets)

    def updated(indices: list[int], weights: list[float]) -> list[np.ndarray]:
        state = program.start(given_recipe, Seeds(1, 2, 3))
        state = state._replace(trainable=[tf.convert_to_tensor(value) for value in state.trainable])
        numbers = program.hyperparameters(given_recipe, make_plan(l2=0.1))
        trained = program.trained(state)
        with tf.GradientTape() as tape:
            tape.watch(trained)
            batch = Batch(dataset.train.inputs[indices], targets[indices], np.array(weights, np.float32))
            loss, _ = program.loss(trained, state.non_trainable, numbers, batch)
            total = loss + program.penalty(trained, numbers)
        rates, rule = tf.constant([0.1, 0.01, 0.0]), program.rule_index(given_recipe)
        gradients = program.joined(tape.gradient(total, trained))
        moved = program.apply(state, gradients, Update(numbers, None, None, rates, rule))
        return [np.array(value) for value in moved.trainable]

    plain = updated([0, 1, 2, 3, 4], [0.2] * 5)
    padded = updated([0, 1, 2, 3, 4, 0, 0, 0], [0.2] * 5 + [0.0] * 3)
    for one, other in zip(plain, padded, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["adam", "lamb"])
def test_what_is_kept_of_a_state_holds_the_weights_in_the_models_order(
    make_dataset: MakeDataset, recipe: MakeRecipe, kind: str
) -> None:
    dataset, given = make_dataset("regression"), recipe(optimizer=kind)

    def build(seed: int) -> keras.Model:
        return build_model("mlp", {"units": [4, 3], "batch_normalization": True}, (5,), 1, folder=HERE, seed=seed)

    model = build(1)
    head, form = read_head(model, TrainingRows.of(dataset)), Form(is_separable=False)
    program = Program(model, head, given, InitialWeights(build), ClassWeights(dataset), form)
    state = program.start(given, Seeds(1, 2, 3))
    kept, weights = program.kept(state), program.copied_weights(state)
    assert (len(kept) < len(weights)) == program.has_shared_rules
    assert [weight.shape for weight in weights] == [tuple(weight.shape) for weight in model.weights]
    for one, other in zip(program.weights_of(kept), weights, strict=True):
        np.testing.assert_array_equal(one, other)
