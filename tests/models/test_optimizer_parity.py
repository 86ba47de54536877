"""The same trajectories as optax' and PyTorch's optimizers, where the rules are the same by design."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, decaying, passed, stock, with_part
    import keras

    from nightune.models.engines.keras_parts.updates import decaying
    from tests.models.trajectories import passed, stock, with_part


# name: params, optax' optimizer at the rate 0.01; only where the two are equal by design
OPTAX: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "sgd": ({"optimizer": "sgd"}, lambda optax: optax.sgd(0.01)),
    "momentum": ({"optimizer": "sgd", "one_minus_momentum": 0.1}, lambda optax: optax.sgd(0.01, 0.9)),
    "nesterov": (
        {"optimizer": "sgd", "one_minus_momentum": 0.1, "nesterov": True},
        lambda optax: optax.sgd(0.01, 0.9, nesterov=True),
    ),
    "adam": ({"optimizer": "adam", "epsilon": 1e-12}, lambda optax: optax.adam(0.01, eps=1e-12)),
    "rmsprop": ({"optimizer": "rmsprop"}, lambda optax: optax.rmsprop(0.01, 0.9, eps=1e-7)),
    "rmsprop centered with momentum": (
        {"optimizer": "rmsprop", "centered": True, "one_minus_momentum": 0.1},
        lambda optax: optax.rmsprop(0.01, 0.9, eps=1e-7, centered=True, momentum=0.9),
    ),
    "adagrad": (
        {"optimizer": "adagrad", "initial_accumulator": 0.3},
        lambda optax: optax.adagrad(0.01, initial_accumulator_value=0.3, eps=1e-7),
    ),
    "adadelta": ({"optimizer": "adadelta"}, lambda optax: optax.adadelta(0.01, rho=0.95, eps=1e-7)),
    "adamw": ({"optimizer": "adamw", "epsilon": 1e-12}, lambda optax: optax.adamw(0.01, eps=1e-12, weight_decay=0.0)),
    "adamax": ({"optimizer": "adamax"}, lambda optax: optax.adamax(0.01, eps=1e-7)),
    "lamb": ({"optimizer": "lamb"}, lambda optax: optax.lamb(0.01, eps=1e-7)),
    "schedule_free": (
        {"optimizer": "schedule_free", "epsilon": 1e-8},
        lambda optax: optax.contrib.schedule_free_adamw(0.01, weight_decay=0.0),
    ),
    "lion": ({"optimizer": "lion"}, lambda optax: optax.lion(0.01, b1=0.9, b2=0.99, weight_decay=0.0)),
    "clipped by the global norm": (
        {"optimizer": "sgd", "gradient_clip.kind": "global_norm", "gradient_clip.limit": 0.5},
        lambda optax: optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.01)),
    ),
    "clipped by value": (
        {"optimizer": "sgd", "gradient_clip.kind": "value", "gradient_clip.limit": 0.5},
        lambda optax: optax.chain(optax.clip(0.5), optax.sgd(0.01)),
    ),
}


@pytest.mark.parametrize("name", OPTAX)
def test_parity_with_optax_over_twenty_updates(name: str) -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    params, make_reference = OPTAX[name]
    gradients = np.random.default_rng(5).normal(size=(20, 4)).astype(np.float32)
    reference = make_reference(optax)
    values = jax.numpy.ones(4, np.float32)
    state = reference.init(values)
    for gradient in gradients:
        changes, state = reference.update(jax.numpy.asarray(gradient), state, values)
        values = optax.apply_updates(values, changes)
    ours = passed(stock(**params), gradients, rate=0.01, start=(1.0,) * 4)
    np.testing.assert_allclose(ours[-1], np.asarray(values), atol=1e-6)


def decayed(params: dict[str, Any], gradients: np.ndarray, shrink: float) -> np.ndarray:
    """Return a weight of 1 after updates at the rate 0.01, each of which first shrinks it."""
    weights = keras.Variable(np.ones(gradients.shape[1:], np.float32))
    optimizer = with_part(stock(**params), decaying, [weights])
    optimizer.build([weights])
    optimizer.learning_rate = 0.01
    optimizer.shrink.assign(shrink)
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weights])
    return keras.ops.convert_to_numpy(weights + 0.0)


DECAYING: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "momentum": (
        {"optimizer": "sgd", "one_minus_momentum": 0.1},
        lambda optax: optax.chain(optax.trace(0.9), optax.add_decayed_weights(0.1), optax.scale(-0.01)),
    ),
    "adamw": ({"optimizer": "adamw", "epsilon": 1e-12}, lambda optax: optax.adamw(0.01, eps=1e-12, weight_decay=0.1)),
    "lion": ({"optimizer": "lion"}, lambda optax: optax.lion(0.01, b1=0.9, b2=0.99, weight_decay=0.1)),
}


@pytest.mark.parametrize("name", DECAYING)
def test_parity_with_optax_over_twenty_decaying_updates(name: str) -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    params, make_reference = DECAYING[name]
    gradients = np.random.default_rng(5).normal(size=(20, 4)).astype(np.float32)
    reference = make_reference(optax)
    values = jax.numpy.ones(4, np.float32)
    state = reference.init(values)
    for gradient in gradients:
        changes, state = reference.update(jax.numpy.asarray(gradient), state, values)
        values = optax.apply_updates(values, changes)
    ours = decayed(params, gradients, shrink=0.01 * 0.1)
    np.testing.assert_allclose(ours, np.asarray(values), atol=1e-6)


# name: params, PyTorch's optimizer of a list of weights at the rate 0.01; where the two are equal by design
TORCH: dict[str, tuple[dict[str, Any], Callable[[Any, Any], Any]]] = {
    "sgd": ({"optimizer": "sgd"}, lambda optim, weights: optim.SGD(weights, 0.01)),
    "momentum": (
        {"optimizer": "sgd", "one_minus_momentum": 0.1},
        lambda optim, weights: optim.SGD(weights, 0.01, momentum=0.9),
    ),
    "nesterov": (
        {"optimizer": "sgd", "one_minus_momentum": 0.1, "nesterov": True},
        lambda optim, weights: optim.SGD(weights, 0.01, momentum=0.9, nesterov=True),
    ),
    "adam": ({"optimizer": "adam", "epsilon": 1e-12}, lambda optim, weights: optim.Adam(weights, 0.01, eps=1e-12)),
    "adamax": ({"optimizer": "adamax"}, lambda optim, weights: optim.Adamax(weights, 0.01, eps=1e-7)),
    "adadelta": ({"optimizer": "adadelta"}, lambda optim, weights: optim.Adadelta(weights, 0.01, rho=0.95, eps=1e-7)),
}


@pytest.mark.parametrize("name", TORCH)
def test_parity_with_torch_where_it_is_installed(name: str) -> None:
    torch = pytest.importorskip("torch")
    params, make_reference = TORCH[name]
    gradients = np.random.default_rng(5).normal(size=(20, 4)).astype(np.float32)
    weights = torch.ones(4, requires_grad=True)
    reference = make_reference(torch.optim, [weights])
    for gradient in gradients:
        weights.grad = torch.from_numpy(gradient.copy())
        reference.step()
    ours = passed(stock(**params), gradients, rate=0.01, start=(1.0,) * 4)
    np.testing.assert_allclose(ours[-1], weights.detach().numpy(), atol=1e-6)
