"""The recipe: flat params to checked settings, and back."""

import json
import subprocess
import sys
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from nightune.models.recipe.params import KEYS, params_of, read_recipe, resolve
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.batch_sizes import keys as batch_size_keys
from nightune.models.techniques.batch_sizes.settings import BatchSizeSettings
from nightune.models.techniques.keys import Key
from nightune.models.techniques.learning_rates import keys as learning_rate_keys
from nightune.models.techniques.learning_rates.learning_rates import LearningRateSettings
from nightune.models.techniques.optimizers import keys as optimizer_keys
from nightune.models.techniques.optimizers.optimizers import OptimizerSettings
from nightune.models.techniques.penalties import keys as penalty_keys
from nightune.models.techniques.penalties.penalties import PenaltySettings
from nightune.models.techniques.stopping import keys as stopping_keys
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.techniques.weight_decays import keys as weight_decay_keys
from nightune.models.techniques.weight_decays.weight_decays import WeightDecaySettings
from nightune.vocabulary import GIVEN

MODULES = {
    "": (optimizer_keys, OptimizerSettings),
    "learning_rate.": (learning_rate_keys, LearningRateSettings),
    "batch_size.": (batch_size_keys, BatchSizeSettings),
    "weight_decay.": (weight_decay_keys, WeightDecaySettings),
    "penalty.": (penalty_keys, PenaltySettings),
    "stopping.": (stopping_keys, StoppingSettings),
}


NEEDED = ("stopping.limit", "stopping.target")  # keys without a default


def recipe(**params: Any) -> Recipe:
    return read_recipe(params)


@pytest.mark.parametrize("prefix", MODULES)
def test_every_key_is_a_field_of_a_settings_class_and_every_field_a_key(prefix: str) -> None:
    module, settings = MODULES[prefix]
    names = {"optimizer" if (prefix, each.name) == ("", "kind") else prefix + each.name for each in fields(settings)}
    flat = {name.replace("gradient_clip.", "gradient_clip_") for name in module.KEYS}
    assert {name.replace("weight_average.", "weight_average_") for name in flat} == names


@pytest.mark.parametrize("name", KEYS)
def test_every_key_has_a_meaning_a_valid_default_and_known_conditions(name: str) -> None:
    key = KEYS[name]
    assert key.meaning
    assert key.problem(key.default) is None or name in (*NEEDED, "training.quantiles")
    for controller, values in key.when.items():
        assert values == GIVEN or set(values) <= set(KEYS[controller].options), f"{name} when {controller}"


def test_a_recipe_is_read_without_loading_keras() -> None:
    words = "import sys, nightune.models.recipe.params, nightune.models.training.controller"
    words += "; print({'keras', 'sklearn', 'pandas'} & {*sys.modules})"
    outcome = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == "set()"


def test_empty_params_give_a_complete_recipe() -> None:
    params = params_of(recipe())
    assert params["optimizer"] == "adam"
    assert params["learning_rate.peak"] == 0.001
    assert params["batch_size.size"] == 32
    assert params["stopping.patience"] == 10
    assert params["model.architecture"] == "mlp"
    assert "weight_decay.strength" not in params
    assert "one_minus_momentum" not in params


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"optimizer": "gd", "learning_rate.schedule": "one_cycle"},
        {"optimizer": "adamw", "penalty.kind": "elastic", "penalty.l1_ratio": 0.25},
        {"learning_rate.schedule": "plateau", "stopping.rule": "none", "model.units": [64, 32], "model.dropout": 0.5},
    ],
)
def test_a_recipe_and_its_params_survive_a_round_trip_through_json(params: dict[str, Any]) -> None:
    first = read_recipe(params)
    assert read_recipe(json.loads(json.dumps(params_of(first)))) == first
    assert resolve(params) == params_of(first)
    assert resolve(params_of(first)) == params_of(first)


def test_params_hold_active_keys_only() -> None:
    params = params_of(recipe(optimizer="gd", **{"learning_rate.schedule": "step"}))
    assert [name for name in params if name.startswith("batch_size.")] == ["batch_size.micro_size"]
    assert {name for name in params if name.startswith("learning_rate.step_")} == {
        "learning_rate.step_factor",
        "learning_rate.step_count",
        "learning_rate.step_first",
        "learning_rate.step_gap",
    }
    assert "learning_rate.final_fraction" not in params


def test_adamw_decays_by_default() -> None:
    assert recipe(optimizer="adamw").weight_decay == WeightDecaySettings("fixed", 0.004)
    assert recipe(optimizer="adamw", **{"weight_decay.profile": "none"}).weight_decay.profile == "none"
    assert recipe(optimizer="adam").weight_decay.profile == "none"


def test_values_are_native_python_of_their_kind() -> None:
    params = resolve({"learning_rate.peak": np.float32(0.5), "batch_size.size": np.int64(16), "stopping.patience": 4.0})
    assert [(type(params[name]), params[name]) for name in ("learning_rate.peak", "batch_size.size")] == [
        (float, 0.5),
        (int, 16),
    ]
    assert type(params["stopping.patience"]) is int
    assert type(resolve({"learning_rate.peak": 1})["learning_rate.peak"]) is float


def test_unknown_params_are_refused_all_at_once_with_the_nearest_spelling() -> None:
    with pytest.raises(ValueError, match=r"'learning_rate\.peek'; did you mean 'learning_rate\.peak'\?, 'zebra'"):
        resolve({"learning_rate.peek": 0.1, "zebra": 1})


def test_an_unknown_option_is_refused_with_the_nearest_and_the_known() -> None:
    with pytest.raises(ValueError, match=r"optimizer: unknown 'rmsprob'; did you mean 'rmsprop'\? \(known: gd, sgd, "):
        recipe(optimizer="rmsprob")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate.peak", 0.0),
        ("learning_rate.peak", float("nan")),
        ("learning_rate.peak", float("inf")),
        ("learning_rate.peak", "0.1"),
        ("learning_rate.peak", True),
        ("learning_rate.warmup_fraction", 1.0),
        ("batch_size.size", 0),
        ("batch_size.size", 8.5),
        ("stopping.patience", -1),
        ("one_minus_beta_1", 0.0),
    ],
)
def test_a_value_out_of_bounds_or_of_another_type_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        recipe(**{name: value})


def test_an_inactive_param_is_refused_with_its_condition() -> None:
    with pytest.raises(ValueError, match=r"nesterov: .*optimizer is sgd"):
        recipe(optimizer="adam", nesterov=True)


def test_model_params_are_checked_against_the_architecture_where_it_is_known() -> None:
    keys = {"dropout": Key("float", 0.0, low=0.0, high=1.0), "depth": Key("integer", 2, low=1)}
    resolved = resolve({"model.architecture": "mlp", "model.dropout": 0.5}, keys)
    assert (resolved["model.dropout"], resolved["model.depth"]) == (0.5, 2)
    with pytest.raises(ValueError, match=r"model\.dropout: 2 is out of range"):
        resolve({"model.dropout": 2}, keys)
    with pytest.raises(ValueError, match=r"'model\.dropuot'; did you mean 'model\.dropout'"):
        resolve({"model.dropuot": 0.5}, keys)


@pytest.mark.parametrize("name", NEEDED)
def test_a_key_without_a_default_is_required_where_it_is_active(name: str) -> None:
    rule = "target" if name == "stopping.target" else "threshold"
    assert KEYS[name].default is None
    with pytest.raises(ValueError, match=rf"{name}: .*stopping\.rule is {rule} \(allowed: a number\)"):
        recipe(**{"stopping.rule": rule})
    assert params_of(recipe(**{"stopping.rule": rule, name: 0.5}))[name] == 0.5
    assert name not in params_of(recipe())


def test_the_largest_batch_is_the_one_that_a_policy_or_a_rule_may_reach() -> None:
    assert recipe().largest_batch == 32
    assert recipe(optimizer="gd").largest_batch == 0
    random = recipe(**{"batch_size.policy": "random", "batch_size.minimum": 10, "batch_size.ratio": 4})
    assert random.largest_batch == 40
    combined = recipe(**{"stopping.rule": "combined", "stopping.action": "batch", "stopping.batch_maximum": 128})
    assert combined.largest_batch == 128
    assert recipe(**{"batch_size.policy": "plateau_grow", "batch_size.maximum": 256}).largest_batch == 256


def test_a_geometric_batch_grows_by_a_fifth_by_default() -> None:
    assert recipe(**{"batch_size.policy": "geometric"}).batch_size.factor == 1.2
    assert recipe(**{"batch_size.policy": "plateau_grow"}).batch_size.factor == 2.0


def test_the_defaults_of_a_stopping_rule_are_its_own() -> None:
    def settings(rule: str) -> StoppingSettings:
        return recipe(**{"stopping.rule": rule}).stopping

    assert (settings("patience").patience, settings("combined").patience) == (10, 3)
    assert (settings("successive_increase").successive, settings("divergence").successive) == (3, 1)
    assert (settings("generalization_loss").alpha, settings("productivity").alpha) == (5.0, 1.0)


def test_the_defaults_of_an_optimizer_are_its_own() -> None:
    assert recipe(optimizer="lion").optimizer.one_minus_beta_2 == 0.01
    assert recipe(optimizer="adamax").optimizer.one_minus_beta_2 == 0.001
    assert recipe(optimizer="adadelta").optimizer.one_minus_rho == 0.05
    assert recipe(optimizer="rmsprop").optimizer.one_minus_rho == 0.1


def test_a_clip_is_read_with_its_limit() -> None:
    clipped = recipe(**{"gradient_clip.kind": "global_norm", "gradient_clip.limit": 0.5})
    assert (clipped.optimizer.gradient_clip_kind, clipped.optimizer.gradient_clip_limit) == ("global_norm", 0.5)
    assert params_of(clipped)["gradient_clip.limit"] == 0.5
    assert "gradient_clip.limit" not in params_of(recipe())
    with pytest.raises(ValueError, match=r"gradient_clip\.limit: .*gradient_clip\.kind is norm"):
        recipe(**{"gradient_clip.limit": 0.5})
