"""The learning rate on a plateau: the goldens and Keras' own callback."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.controllers import controller, plateau_params, scores_of_a_training, train

# settings, the rate after epochs 0, 1, 2, … under a constant loss
PLATEAUS = {
    "patience 2": ({"patience": 2}, [0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.0125]),
    "cooldown 2": (
        {"patience": 2, "cooldown": 2},
        [0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.0125],
    ),
    "minimum": ({"patience": 1, "minimum": 0.03}, [0.1, 0.05, 0.03, 0.03, 0.03]),
    "patience 1": ({"patience": 1}, [0.1, 0.05, 0.025, 0.0125]),
    "patience 0": ({"patience": 0}, [0.1, 0.05, 0.025, 0.0125]),
}


@pytest.mark.parametrize("name", PLATEAUS)
def test_plateau_matches_its_golden_rates(name: str) -> None:
    numbers, rates_after = PLATEAUS[name]
    plans = train(controller(plateau_params(**numbers), epochs=20), [1.0] * (len(rates_after) + 1))
    np.testing.assert_allclose([plan.learning_rates[0] for plan in plans[1:]], rates_after, rtol=1e-6)


def test_a_nan_ends_the_training_and_lowers_nothing() -> None:
    trained = controller(plateau_params(patience=1), epochs=20)
    plans = train(trained, [math.nan, 3, 2, 1])
    assert (len(plans), trained.status, trained.best_epoch) == (1, "diverged", 0)


def test_a_plateau_scales_a_warm_up_too() -> None:
    params = {**plateau_params(patience=1), "learning_rate.warmup_fraction": 0.5, "batch_size.size": 20}
    plans = train(controller(params, epochs=4), [1.0] * 4)
    np.testing.assert_allclose([plan.learning_rates[0] for plan in plans], [0.05, 0.1, 0.05, 0.025], rtol=1e-6)


@pytest.fixture(scope="module")
def keras() -> Any:
    return pytest.importorskip("keras")


def keras_rates(keras: Any, scores: list[float], **arguments: Any) -> list[float]:
    """The rate after each epoch under Keras' own ReduceLROnPlateau."""

    class Model:
        optimizer = keras.optimizers.SGD(0.1)

    callback = keras.callbacks.ReduceLROnPlateau(monitor="val_score", mode="min", factor=0.5, **arguments)
    callback.set_model(Model())
    callback.on_train_begin()
    rates = []
    for epoch, score in enumerate(scores):
        callback.on_epoch_end(epoch, {"val_score": score})
        rates.append(float(Model.optimizer.learning_rate))
    return rates


# Keras reads the rate by an old NumPy call; ends when its callback no longer warns.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@settings(max_examples=40, deadline=None)
@given(
    scores=scores_of_a_training,
    patience=st.integers(0, 3),
    cooldown=st.integers(0, 3),
    min_delta=st.sampled_from([0, 2]),
)
def test_plateau_matches_the_callback_of_keras(
    keras: Any, scores: list[float], patience: int, cooldown: int, min_delta: int
) -> None:
    numbers = {"patience": patience, "cooldown": cooldown, "min_delta": min_delta}
    plans = train(controller(plateau_params(**numbers, minimum=0.01), epochs=40), [*scores, 0.0])
    expected = keras_rates(keras, scores, min_lr=0.01, **numbers)
    np.testing.assert_allclose([plan.learning_rates[0] for plan in plans[1:]], expected, rtol=1e-5)


def test_a_plateau_grows_the_batch_and_then_lowers_the_rate() -> None:
    params = {
        "batch_size.policy": "plateau_grow",
        "batch_size.size": 32,
        "batch_size.factor": 5,
        "batch_size.maximum": 512,
        "batch_size.patience": 1,
        "learning_rate.peak": 0.1,
        "stopping.rule": "none",
    }
    plans = train(controller(params, examples=2000, epochs=9), [1.0] * 6)
    assert [plan.batch_sizes[0] for plan in plans] == [32, 32, 160, 512, 512, 512]
    rates = [plan.learning_rates[0] for plan in plans]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.1, 0.064, 0.0128, 0.00256], rtol=1e-6)
