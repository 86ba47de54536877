"""Models of users' functions that differ in dropout rates alone share a program, which trains them as `fit` does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.engines.make import make_engine
from nightune.models.training.loop import train
from nightune.models.training.seeds import Seeds
from tests.models.conftest import BACKEND, FEW_RULES, MakeDataset

SEEDS = Seeds(1, 2, 3)
PLAIN = """
def build(input_shape, output_size, units: int = 4, dropout: float = 0.2, spatial: float = 0.0):
    stack = [keras.Input(input_shape), layers.Dense(units, "relu"), layers.Dropout(dropout)]
    stack += [layers.Reshape((units, 1)), layers.SpatialDropout1D(spatial), layers.Flatten()]
    return keras.Sequential([*stack, layers.Dense(output_size)])
"""
OWN_LAYER = PLAIN.replace("layers.Dense(units", "Own(units").replace(
    "def build", "class Own(layers.Dense):\n    pass\n\ndef build"
)
USES_RATE = PLAIN.replace('units, "relu"', 'units, "relu", kernel_regularizer=keras.regularizers.L2(0.1 * dropout)')
NAMES_RATE = PLAIN.replace("layers.Dropout(dropout)", 'layers.Dropout(dropout, name=f"drop_{int(100 * dropout)}")')
OTHER_WEIGHTS = PLAIN.replace(
    'units, "relu"', 'units, "relu", kernel_initializer="zeros" if dropout > 0.4 else "glorot_uniform"'
)
SECRET_WEIGHTS = PLAIN.replace("    return keras.Sequential(", "    model = keras.Sequential(") + (
    "    model.layers[0].bias.assign(np.full(units, dropout))\n    return model\n"
)
COMPILED = PLAIN.replace("    return keras.Sequential(", "    model = keras.Sequential(") + (
    '    model.compile("adam", keras.losses.CategoricalHinge() if dropout > 0.4 else None)\n    return model\n'
)

SECRET_PENALTY = PLAIN.replace("    return keras.Sequential(", "    model = keras.Sequential(") + (
    "    model.layers[0].kernel.regularizer = keras.regularizers.L2(dropout)\n    return model\n"
)
OWN_LOSS = PLAIN.replace("    return keras.Sequential(", "    model = keras.Sequential(") + (
    "    def smooth(y_true, y_pred):\n"
    "        return dropout * keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)\n"
    '    model.compile("adam", smooth)\n    return model\n'
)


@pytest.fixture
def programs(
    make_dataset: MakeDataset, recipe: Callable[..., Any], user_model: Callable[[str], str], tmp_path: Path
) -> Callable[..., list[Any]]:
    """Return a function from code and parameters of several models to the programs that train them."""

    def compiled(code: str, *models: dict[str, Any]) -> list[Any]:
        engine = make_engine(BACKEND, make_dataset(), tmp_path, rules=FEW_RULES)
        reference = user_model(f"import numpy as np\n{code}")
        given = [
            recipe(**{"model.architecture": reference, **{f"model.{name}": value for name, value in model.items()}})
            for model in models
        ]
        return [engine.start(each, SEEDS).executable for each in given]

    return compiled


def test_rates_above_zero_share_a_program(programs: Callable[..., list[Any]]) -> None:
    models = ({"dropout": 0.1}, {"dropout": 0.5}, {"dropout": 0.0}, {"dropout": 0.1, "units": 5})
    first, second, without, wider = programs(PLAIN, *models)
    assert first is second
    assert len({id(first), id(without), id(wider)}) == 3


def test_the_rate_of_each_layer_is_its_own(programs: Callable[..., list[Any]]) -> None:
    first, second, third = programs(
        PLAIN, *({"dropout": rate, "spatial": other} for rate, other in ((0.1, 0.3), (0.2, 0.4), (0.1, 0.0)))
    )
    assert first is second
    assert first is not third


@pytest.mark.parametrize(
    "code", [OWN_LAYER, USES_RATE, NAMES_RATE, OTHER_WEIGHTS, SECRET_WEIGHTS, COMPILED, SECRET_PENALTY, OWN_LOSS]
)
def test_models_that_differ_in_more_than_rates_have_programs_of_their_own(
    programs: Callable[..., list[Any]], code: str
) -> None:
    first, second = programs(code, {"dropout": 0.1}, {"dropout": 0.5})
    assert first is not second


def test_a_shared_program_trains_each_rate_as_fit_does(
    make_dataset: MakeDataset, recipe: Callable[..., Any], user_model: Callable[[str], str], tmp_path: Path
) -> None:
    dataset, reference = make_dataset(), user_model(PLAIN)
    fit, compiled = make_engine("fit", dataset, tmp_path), make_engine(BACKEND, dataset, tmp_path, rules=FEW_RULES)
    ends = []
    for dropout, spatial in ((0.2, 0.1), (0.6, 0.3), (0.0, 0.5)):
        model = {"model.architecture": reference, "model.dropout": dropout, "model.spatial": spatial}
        given = recipe(**{**model, "optimizer": "adam", "batch_size.size": 8})
        outcomes = [
            train(engine, given, dataset, epochs=2, seed=4, monitor="val_loss", direction="minimize")
            for engine in (fit, compiled)
        ]
        for one, other in zip(*(outcome.weights for outcome in outcomes), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
        rates = [layer.rate for layer in compiled.model(given, outcomes[1].weights).layers if hasattr(layer, "rate")]
        assert rates == [dropout, spatial]
        ends.append(outcomes[1].weights[0])
    assert not np.allclose(ends[0], ends[1])
    assert compiled.programs == 2  # type: ignore[attr-defined] # of a compiled engine


def test_the_engines_are_compared_with_two_rates(
    make_dataset: MakeDataset,
    recipe: Callable[..., Any],
    user_model: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from nightune.models.engines.compiled.alike_models import AlikeModels
    from nightune.models.engines.verification import compare_engines

    reference = user_model(PLAIN)
    given = [
        recipe(**{"model.architecture": reference, "model.units": 8, "model.dropout": rate}) for rate in (0.1, 0.6)
    ]
    assert compare_engines(given, make_dataset(), tmp_path).refusal is None
    monkeypatch.setattr(AlikeModels, "rates", lambda *_: ())  # a program that holds the first rate as a constant
    assert "differ" in (compare_engines(given, make_dataset(), tmp_path).refusal or "")
    assert compare_engines(given[:1], make_dataset(), tmp_path).refusal is None
