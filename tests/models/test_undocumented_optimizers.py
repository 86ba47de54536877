"""Names of optimizers that Keras does not document: each behaves as we use it, in the installed versions."""

from typing import Any

import numpy as np
import pytest

from nightune.models.recipe.params import read_recipe
from nightune.models.techniques.optimizers.optimizers import OPTIMIZERS, OptimizerSettings, build_optimizer
from tests.models.conftest import BACKEND
from tests.models.undocumented import undocumented


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, layers, ops, build_traced_optimizer, exclude_from_muon, decayed_weights, optimizers
    import keras
    from keras import layers, ops

    from nightune.models.engines.compiled.traced_optimizers import build_traced_optimizer
    from nightune.models.engines.keras_parts.muon_matrices import exclude_from_muon
    from nightune.models.engines.keras_parts.updates import decayed_weights
    from nightune.models.library_internals import optimizers


ON_TENSORFLOW = BACKEND == "tensorflow"
OURS = {"prodigy", "dog", "schedule_free"}  # written here, not Keras'


def built(optimizer: Any, count: int = 2) -> tuple[Any, list[Any]]:
    variables = [keras.Variable(np.full(2, 1.0 + place, np.float32)) for place in range(count)]
    optimizer.build(variables)
    return optimizer, variables


def gradients(count: int = 2) -> list[Any]:
    return [ops.convert_to_tensor(np.full(2, 10.0 + place, np.float32)) for place in range(count)]


def number(value: Any) -> float:
    return float(np.asarray(ops.convert_to_numpy(value)).flat[0])


@undocumented("Keras", "Optimizer._get_variable_index", "slots by variable", "library_internals.optimizers.index_of")
def test_a_variable_has_the_index_of_its_slots() -> None:
    optimizer, variables = built(keras.optimizers.Adam())
    assert [optimizers.index_of(optimizer, variable) for variable in reversed(variables)] == [1, 0]


@undocumented("Keras", "Optimizer._trainable_variables", "averages", "library_internals.optimizers.trained_variables")
def test_an_optimizer_keeps_its_variables_in_order() -> None:
    optimizer, variables = built(keras.optimizers.Adam())
    assert [id(each) for each in optimizers.trained_variables(optimizer)] == [id(each) for each in variables]


@undocumented("Keras", "Optimizer.learning_rate: a variable", "writing rates", "engines.compiled.program.Program")
def test_the_learning_rate_is_a_variable_that_each_update_reads() -> None:
    optimizer, variables = built(keras.optimizers.SGD(0.0))
    assert isinstance(optimizer.learning_rate, keras.Variable)
    optimizer.learning_rate.assign(0.1)
    optimizer.apply(gradients(), variables)
    assert number(variables[0].value) == pytest.approx(0.0)


@undocumented("Keras", "Adam._momentums, _velocities", "own Adam", "library_internals.optimizers.adam_slots")
def test_slots_of_adam_are_means_of_gradients_and_squares() -> None:
    optimizer, variables = built(keras.optimizers.Adam(beta_1=0.5, beta_2=0.75))
    optimizer.apply(gradients(), variables)
    assert [number(slot) for slot in optimizers.adam_slots(optimizer, 1)] == pytest.approx([5.5, 30.25])


@undocumented("Keras", "Nadam._u_product", "rules as data", "library_internals.optimizers.nadam_product")
def test_nadam_keeps_the_product_of_its_momentums() -> None:
    optimizer, variables = built(keras.optimizers.Nadam(beta_1=0.5))
    factors = [0.5 * (1 - 0.5 * 0.96**step) for step in (1, 2)]
    for product in (factors[0], factors[0] * factors[1]):
        optimizer.apply(gradients(), variables)
        assert number(optimizers.nadam_product(optimizer)) == pytest.approx(product)


@undocumented("Keras", "SGD.momentums", "momentum as data", "library_internals.optimizers.sgd_velocity")
def test_velocity_of_sgd_has_the_rate_in_it() -> None:
    optimizer, variables = built(keras.optimizers.SGD(0.1, momentum=0.5))
    optimizer.apply(gradients(), variables)
    assert number(optimizers.sgd_velocity(optimizer, 1)) == pytest.approx(-1.1)


@undocumented("Keras", "Adagrad._accumulators", "their start as data", "library_internals.optimizers.adagrad_sums")
def test_sums_of_adagrad_start_from_its_number() -> None:
    optimizer, variables = built(keras.optimizers.Adagrad(initial_accumulator_value=0.5))
    optimizer.apply(gradients(), variables)
    assert [number(total) for total in optimizers.adagrad_sums(optimizer)] == pytest.approx([100.5, 121.5])


@undocumented("Keras", "LossScaleOptimizer.dynamic_scale", "its curve", "library_internals.optimizers.loss_scale")
def test_loss_scale_is_halved_by_gradients_that_are_not_finite() -> None:
    optimizer, variables = built(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(), initial_scale=8.0))
    assert optimizers.loss_scale(optimizer) == 8.0
    infinite = [gradient * np.inf for gradient in gradients()]
    if ON_TENSORFLOW:
        optimizer.apply(infinite, variables)
    else:  # where `fit` hands in the state and takes it back
        values = [[variable.value for variable in each] for each in (optimizer.variables, variables)]
        _, state = optimizer.stateless_apply(values[0], infinite, values[1])
        for variable, value in zip(optimizer.variables, state, strict=True):
            variable.assign(value)
    assert optimizers.loss_scale(optimizer) == 4.0


@undocumented("Keras", "Optimizer._track_variable", "cycled momentum", "library_internals.optimizers.track_variable")
def test_a_tracked_variable_is_part_of_the_state_and_an_untracked_one_is_not() -> None:
    optimizer, _ = built(keras.optimizers.SGD())
    tracked, untracked = keras.Variable(1.0), keras.Variable(2.0)
    optimizers.track_variable(optimizer, tracked)
    optimizers.set_untracked(optimizer, "momentum", untracked)
    held = {id(variable) for variable in optimizer.variables}
    assert id(tracked) in held
    assert id(untracked) not in held
    assert optimizer.momentum is untracked


@undocumented("Keras", "Optimizer._clip_gradients", "limits as data", "library_internals.optimizers.replace_clipping")
def test_clipping_can_be_replaced() -> None:
    optimizer, variables = built(keras.optimizers.SGD(1.0, clipvalue=1.0))
    optimizers.replace_clipping(optimizer, lambda self, given: [ops.clip(each, 0.0, 0.25) for each in given])
    optimizer.apply(gradients(), variables)
    assert [number(variable.value) for variable in variables] == pytest.approx([0.75, 1.75])


@undocumented(
    "Keras", "Optimizer._backend_update_step", "own optimizers", "library_internals.optimizers.updates_together"
)
def test_one_method_makes_the_whole_update_and_can_call_that_of_its_parent() -> None:
    @optimizers.updates_together
    class Doubled(keras.optimizers.SGD):
        def update_all(self, given: list[Any], variables: list[Any], rate: Any) -> None:
            optimizers.update_by_parent(super(), given, variables, 2.0 * rate)

    optimizer, variables = built(Doubled(0.01))
    optimizer.apply(gradients(), variables)
    assert [number(variable.value) for variable in variables] == pytest.approx([0.8, 1.78])


@undocumented("Keras", "Optimizer.update_step", "own rules", "engines.compiled.traced_optimizers._sgd_step")
def test_the_step_of_one_variable_can_be_replaced() -> None:
    optimizer, variables = built(keras.optimizers.SGD(0.5))
    step = lambda gradient, variable, rate: optimizer.assign_sub(variable, 0.1 * gradient)  # noqa: E731
    optimizers.set_untracked(optimizer, "update_step", step)
    optimizer.apply(gradients(), variables)
    assert [number(variable.value) for variable in variables] == pytest.approx([0.0, 0.9])


@pytest.mark.skipif(not ON_TENSORFLOW, reason="the sum over replicas is TensorFlow's")
@undocumented(
    "Keras", "TFOptimizer._all_reduce_sum_gradients", "memory", "library_internals.optimizers.wrap_replica_sum"
)
def test_the_sum_over_replicas_can_be_replaced() -> None:
    optimizer, variables = built(keras.optimizers.SGD(1.0))
    optimizers.wrap_replica_sum(
        optimizer, lambda summed: lambda pairs: [(0.1 * each[0], each[1]) for each in summed(pairs)]
    )
    optimizer.apply(gradients(), variables)
    assert [number(variable.value) for variable in variables] == pytest.approx([0.0, 0.9])


@pytest.mark.skipif(not ON_TENSORFLOW, reason="other backends have this update")
@undocumented("Keras", "BaseOptimizer", "compiled updates", "library_internals.optimizers.with_neutral_update")
def test_the_neutral_update_is_replaced_by_names_that_both_bases_have() -> None:
    from keras.src.backend.tensorflow.optimizer import TFOptimizer
    from keras.src.optimizers.base_optimizer import BaseOptimizer

    for name in optimizers.REPLACED_ON_TENSORFLOW:
        assert callable(BaseOptimizer.__dict__[name]), name
        assert name in TFOptimizer.__dict__, name


@pytest.mark.parametrize("kind", ["sgd", "nadam"])
@undocumented("Keras", "BaseOptimizer", "compiled updates", "library_internals.optimizers.with_neutral_update")
def test_the_neutral_update_writes_into_a_scope_only(kind: str) -> None:
    optimizer = optimizers.with_neutral_update(build_optimizer(OptimizerSettings(kind)))
    optimizer, variables = built(optimizer)
    optimizer.learning_rate.assign(0.5)
    pairs = [(variable, ops.copy(variable.value)) for variable in (*variables, *optimizer.variables)]
    with keras.StatelessScope(pairs) as scope:
        optimizer.apply(gradients(), variables)
        moved = number(scope.get_current_value(variables[0]))
    assert moved < 1.0
    assert [number(variable.value) for variable in variables] == [1.0, 2.0]


@pytest.mark.parametrize("kind", [kind for kind in OPTIMIZERS if kind not in OURS])
@undocumented(
    "Keras",
    "attributes of optimizers",
    "numbers as data",
    "engines.compiled.traced_optimizers.build_traced_optimizer",
)
def test_an_optimizer_holds_its_numbers_under_the_names_that_are_replaced(kind: str) -> None:
    recipe = read_recipe({"optimizer": kind, "gradient_clip.kind": "norm", "gradient_clip.limit": 3.0})
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(1)])
    _, numbers = build_traced_optimizer(recipe, model)
    own = build_optimizer(recipe.optimizer)
    held = {name: read(recipe) for name, (_, read) in numbers.items() if not name.startswith("one_minus_")}
    held.pop("nesterov_part", None)  # of our step of SGD
    assert held
    assert {name: getattr(own, name) for name in held} == pytest.approx(held)


@undocumented("Keras", "Optimizer.apply: called by fit", "decay", "engines.keras_parts.updates.decaying")
def test_fit_calls_the_apply_of_the_optimizer_and_of_one_inside_a_loss_scale() -> None:
    class Halving(keras.optimizers.SGD):
        def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
            super().apply([0.5 * gradient for gradient in grads], trainable_variables)

    for wrap in (lambda optimizer: optimizer, keras.optimizers.LossScaleOptimizer):
        model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False, kernel_initializer="ones")])
        model.compile(wrap(Halving(0.5)), "mse", auto_scale_loss=False)
        model.fit(np.ones((4, 1)), np.zeros((4, 1)), verbose=0)
        assert number(model.trainable_variables[0].value) == pytest.approx(0.5)


@undocumented("Keras", "Muon.exclude_layers", "Muon", "engines.keras_parts.muon_matrices.exclude_from_muon")
def test_muon_leaves_the_paths_to_adam_that_it_is_given_before_it_is_built() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(4), layers.Dense(1)])
    muon = build_optimizer(OptimizerSettings("muon"))
    excluded = exclude_from_muon(muon, model, decayed_weights(model))
    assert excluded == [model.layers[-1].kernel.path]
    assert [muon._should_use_adamw(layer.kernel) for layer in model.layers] == [False, False, True]
