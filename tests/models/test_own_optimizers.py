"""The rules that Keras lacks or has in another form, compared with closed forms and optax."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, layers, exclude_from_muon, decayed_weights, decaying, averaging, exponential_part, polynomial_part
    global Hypergradient, following_hypergradient, passed, stock, with_part
    import keras
    from keras import layers

    from nightune.models.engines.keras_parts.muon_matrices import exclude_from_muon
    from nightune.models.engines.keras_parts.updates import decayed_weights, decaying
    from nightune.models.techniques.optimizers.averaging import averaging, exponential_part, polynomial_part
    from nightune.models.techniques.optimizers.hypergradient import Hypergradient, following_hypergradient
    from tests.models.trajectories import passed, stock, with_part


def quadratic(weights: np.ndarray) -> np.ndarray:
    """The gradient of ½w²."""
    return weights


def test_a_rate_follows_its_hypergradient() -> None:
    optimizer = with_part(stock(optimizer="sgd"), following_hypergradient, Hypergradient(0.1, 1e-8, 10.0, False))
    rates = []

    def gradient(weights: np.ndarray) -> np.ndarray:
        rates.append(float(optimizer.effective_rate))
        return weights

    reached = passed(optimizer, [gradient] * 5, rate=0.1)[:, 0]
    np.testing.assert_allclose(reached[:4], [0.9, 0.729, 0.54266, 0.38248], atol=1e-5)
    np.testing.assert_allclose(rates[1:], [0.1, 0.19, 0.25561, 0.29517], atol=1e-5)


@pytest.mark.parametrize(("gradients", "bound"), [([1.0] * 30, 0.3), ([1.0, -1.0] * 15, 0.02)])
def test_a_hypergradient_stays_within_its_bounds(gradients: list[float], bound: float) -> None:
    optimizer = with_part(stock(optimizer="sgd"), following_hypergradient, Hypergradient(0.05, 0.02, 0.3, False))
    passed(optimizer, gradients, rate=0.1)
    assert float(optimizer.effective_rate) == pytest.approx(bound)


def test_the_multiplicative_hypergradient_ignores_the_scale_of_the_gradient() -> None:
    gradients = np.random.default_rng(1).normal(size=(10, 3))

    def reached(scale: float) -> np.ndarray:
        plain = stock(optimizer="adam", epsilon=1e-30)
        optimizer = with_part(plain, following_hypergradient, Hypergradient(0.1, 1e-8, 10.0, True))
        return passed(optimizer, scale * gradients, rate=0.1, start=(1.0, 2.0, 3.0))

    np.testing.assert_allclose(reached(1.0), reached(1000.0), rtol=1e-4)
    one_way = with_part(stock(optimizer="adam"), following_hypergradient, Hypergradient(0.1, 1e-8, 10.0, True))
    passed(one_way, [1.0] * 4, rate=0.1)
    assert float(one_way.effective_rate) == pytest.approx(0.1 * 1.1**3, rel=1e-5)  # the cosine is 1


def test_distance_over_gradients_matches_its_golden_trajectory() -> None:
    reached = passed(stock(optimizer="dog", initial_distance=0.05), [quadratic] * 4)[:, 0]
    np.testing.assert_allclose(reached, [0.9, 0.8331, 0.74524, 0.63669], atol=1e-5)


# name: params, γ, the reference of optax.contrib
CONTRIB: dict[str, tuple[dict[str, Any], float, Callable[[Any], Any]]] = {
    "prodigy": ({"optimizer": "prodigy", "epsilon": 1e-8}, 1.0, lambda contrib: contrib.prodigy(1.0)),
    "prodigy from afar": (
        {"optimizer": "prodigy", "epsilon": 1e-8, "initial_distance": 1e-2, "one_minus_beta_1": 0.2},
        0.5,
        lambda contrib: contrib.prodigy(0.5, betas=(0.8, 0.999), estim_lr0=1e-2),
    ),
    "dog": ({"optimizer": "dog"}, 1.0, lambda contrib: contrib.dog(1.0)),
    "dog from afar": (
        {"optimizer": "dog", "initial_distance": 0.1},
        0.5,
        lambda contrib: contrib.dog(0.5, init_step=("heuristic", 0.1)),
    ),
    "schedule_free": (
        {"optimizer": "schedule_free", "epsilon": 1e-8, "one_minus_beta_1": 0.02},
        0.05,
        lambda contrib: contrib.schedule_free_adamw(0.05, b1=0.98, weight_decay=0.0),
    ),
}


@pytest.mark.parametrize("name", CONTRIB)
def test_parity_with_optax_contrib(name: str) -> None:
    jax, contrib = pytest.importorskip("jax"), pytest.importorskip("optax").contrib
    params, rate, make_reference = CONTRIB[name]
    gradients = np.random.default_rng(5).normal(size=(40, 4)).astype(np.float32)
    reference = make_reference(contrib)
    values = jax.numpy.ones(4, np.float32)
    state = reference.init(values)
    for gradient in gradients:
        changes, state = reference.update(jax.numpy.asarray(gradient), state, values)
        values = values + changes
    optimizer = stock(**params)
    reached = passed(optimizer, gradients, rate=rate, start=(1.0,) * 4)
    assert np.abs(reached[-1] - 1).max() > 1e-6
    np.testing.assert_allclose(reached[-1], np.asarray(values), atol=1e-5)
    if params["optimizer"] == "schedule_free":
        expected = contrib.schedule_free_eval_params(state, values)
        np.testing.assert_allclose(optimizer.evaluation_values()[0], np.asarray(expected), atol=1e-5)


@pytest.mark.parametrize("kind", ["prodigy", "dog", "schedule_free"])
def test_neither_a_zero_rate_nor_a_zero_gradient_breaks_a_rule(kind: str) -> None:
    optimizer = stock(optimizer=kind)
    assert passed(optimizer, [0.0], rate=0.0)[0, 0] == 1.0
    optimizer.learning_rate = 0.0
    weights = optimizer._trainable_variables[0]
    for rate, gradient in ((0.0, 1.0), (1.0, 0.0), (1.0, 1.0)):
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(np.array([gradient], np.float32))], [weights])
        assert np.isfinite(weights.numpy()).all()


def test_schedule_free_decays_by_defazios_rule() -> None:
    weights = keras.Variable(np.ones(1, np.float32))
    optimizer = with_part(stock(optimizer="schedule_free"), decaying, [weights])
    optimizer.build([weights])
    optimizer.learning_rate = 0.1
    optimizer.shrink.assign(0.1 * 0.5)
    reached = []
    for _ in range(20):
        optimizer.apply([keras.ops.zeros(1)], [weights])
        reached.append(float(weights.numpy()[0]))
    np.testing.assert_allclose([reached[place] for place in (0, 1, 2, 19)], [0.95, 0.9239, 0.8983, 0.5352], atol=5e-5)


def test_schedule_free_gives_less_weight_to_updates_of_a_warm_up() -> None:
    optimizer = stock(optimizer="schedule_free", one_minus_beta_1=1.0)  # the model is then at z
    weights = keras.Variable(np.zeros(1, np.float32))
    optimizer.build([weights])
    bases, rates = [], [0.1, 0.2, 0.2]
    for rate in rates:
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.ones(1)], [weights])
        bases.append(float(weights.numpy()[0]))
    expected = np.average(bases, weights=np.square(rates))
    assert float(optimizer.evaluation_values()[0][0]) == pytest.approx(expected, rel=1e-5)


def test_an_exponential_average_equals_that_of_keras() -> None:
    gradients = np.random.default_rng(2).normal(size=(12, 3))
    ours = with_part(stock(optimizer="adam"), averaging, exponential_part, 0.2)
    theirs = keras.optimizers.Adam(0.1, epsilon=1e-7, use_ema=True, ema_momentum=0.8)
    start = (1.0, 2.0, 3.0)
    np.testing.assert_array_equal(
        passed(ours, gradients, rate=0.1, start=start), passed(theirs, gradients, rate=0.1, start=start)
    )
    (expected,) = theirs._model_variables_moving_average
    np.testing.assert_allclose(ours.evaluation_values()[0], expected.numpy(), rtol=1e-5)


def test_a_polynomial_average_matches_the_closed_form() -> None:
    optimizer = with_part(stock(optimizer="sgd"), averaging, polynomial_part, 0.0)
    optimizer.build([keras.Variable(np.full(1, 3.0, np.float32))])
    assert [float(value[0]) for value in optimizer.evaluation_values()] == [3.0]  # nothing to average yet
    optimizer = with_part(stock(optimizer="sgd"), averaging, polynomial_part, 0.0)
    reached = passed(optimizer, [quadratic] * 6, rate=0.3)[:, 0]
    expected = 0.0
    for update, value in enumerate(reached, start=1):
        expected += 9 / (update + 8) * (value - expected)
    assert float(optimizer.evaluation_values()[0][0]) == pytest.approx(expected, rel=1e-6)


def test_rule_c9_muon_moves_hidden_matrices_only() -> None:
    keras.utils.clear_session(free_memory=False)  # names are numbered from 1 again
    inputs = keras.Input((6,))
    hidden = layers.Embedding(5, 3)(inputs)
    hidden = layers.GRU(4)(hidden)
    hidden = layers.Dense(7, name="hidden")(hidden)
    inner = keras.Sequential([keras.Input((7,)), layers.Dense(3, name="inner_last"), layers.Activation("softmax")])
    outputs = [layers.Activation("softmax")(layers.Dense(2, name="last")(hidden)), inner(hidden)]
    model = keras.Model(inputs, outputs)
    optimizer = stock(optimizer="muon")
    excluded = exclude_from_muon(optimizer, model, decayed_weights(model))
    assert sorted(path.split("/")[-2:] for path in excluded) == sorted(
        [["embedding", "embeddings"], ["gru_cell", "bias"], ["inner_last", "kernel"], ["last", "kernel"]]
    )
    optimizer.build(model.trainable_variables)
    by_adam = {
        variable.path
        for variable, velocity in zip(model.trainable_variables, optimizer.adam_velocities, strict=True)
        if velocity is not None
    }
    by_muon = {variable.path for variable in model.trainable_variables} - by_adam
    assert {path.rsplit("/", 2)[-2] + "/" + path.rsplit("/", 1)[-1] for path in by_muon} == {
        "gru_cell/kernel",
        "gru_cell/recurrent_kernel",
        "hidden/kernel",
    }


def test_rule_c9_a_model_without_a_graph_excludes_its_last_matrix() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = layers.Dense(4, name="first"), layers.Dense(2, name="last")

        def call(self, inputs: Any) -> Any:
            return self.last(self.first(inputs))

    model = Own()
    model(np.zeros((1, 3), np.float32))
    (excluded,) = exclude_from_muon(stock(optimizer="muon"), model, decayed_weights(model))
    assert excluded.endswith("last/kernel")


def test_muon_steps_are_orthogonal_and_as_long_as_adams() -> None:
    optimizer = stock(optimizer="muon", one_minus_momentum=1.0, nesterov=False)
    weights = keras.Variable(np.zeros((8, 4), np.float32))
    optimizer.build([weights])
    optimizer.learning_rate = 1.0
    gradient = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weights])
    step = -weights.numpy().astype(np.float64) / (0.2 * np.sqrt(8))
    lengths = np.linalg.svd(step, compute_uv=False)
    assert lengths.min() > 0.6
    assert lengths.max() < 1.3  # 1 after five steps of Newton and Schulz


@pytest.mark.parametrize("relative", [1.0, 0.1])
def test_rule_c8_keras_caps_adafactors_rate_at_any_setting(relative: float) -> None:
    optimizer = stock(optimizer="adafactor")
    reached = passed(optimizer, [1.0] * 200, rate=relative, start=(1.0,))[:, 0]
    rates = -np.diff(reached, prepend=1.0) / np.maximum(1e-3, np.abs(np.concatenate([[1.0], reached[:-1]])))
    updates = np.arange(1, 201)
    np.testing.assert_allclose(rates, np.minimum(relative, 1 / np.sqrt(updates)), rtol=1e-3)
