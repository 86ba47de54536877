"""Params that contradict each other are refused by a named rule, never approximated."""

from typing import Any

import numpy as np
import pytest

from nightune.models.recipe.params import KEYS, params_of, read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.recipe.rules import NOTES, RULES, RecipeError, notes_on
from nightune.models.techniques.optimizers.optimizers import OPTIMIZERS, build_optimizer


def recipe(**params: Any) -> Recipe:
    return read_recipe(params)


# rule: params that it refuses, and a word of its message
REFUSED = {
    "C18": ({"training.changes": {"2": {"learning_rate.peak": 0.1}}, "optimizer": "dog"}, "dog.*sets its own rate"),
    "C1": ({"optimizer": "gd", "batch_size.size": 32}, "batch_size.size"),
    "C2 dog": ({"optimizer": "dog", "learning_rate.schedule": "cosine"}, "dog .*allowed: fixed"),
    "C2 schedule_free": (
        {"optimizer": "schedule_free", "learning_rate.schedule": "linear"},
        "learning_rate.schedule: linear.*schedule_free.*allowed: fixed",
    ),
    "C2 prodigy": (
        {"optimizer": "prodigy", "learning_rate.schedule": "plateau"},
        "prodigy .*allowed: fixed, cosine",
    ),
    "C2 hypergradient": (
        {"learning_rate.hypergradient_strength": 0.1, "learning_rate.schedule": "step"},
        "adam with a hypergradient .*allowed: fixed",
    ),
    "C2 warm-up": (
        {"learning_rate.hypergradient_strength": 0.1, "learning_rate.warmup_fraction": 0.1},
        r"learning_rate\.warmup_fraction",
    ),
    "C2 bounds": (
        {"learning_rate.hypergradient_strength": 0.1, "learning_rate.hypergradient_maximum": 1e-4},
        "0.001 is not between the hypergradient's bounds 1e-08 and 0.0001",
    ),
    "C2 combined": (
        {"optimizer": "dog", "stopping.rule": "combined"},
        r"stopping\.action: rate .*dog",
    ),
    "C2 adabatch": ({"optimizer": "prodigy", "batch_size.policy": "adabatch"}, "adabatch .*lowers the rate"),
    "C2 decay": (
        {"optimizer": "dog", "weight_decay.profile": "fixed", "weight_decay.coupling": "learning_rate"},
        r"weight_decay\.coupling: learning_rate.*dog.*allowed: schedule, independent",
    ),
    "C4": (
        {"learning_rate.schedule": "plateau", "learning_rate.plateau_patience": 5, "stopping.patience": 5},
        "stopping.patience",
    ),
    "C1 combined": (
        {"optimizer": "gd", "stopping.rule": "combined", "stopping.action": "batch"},
        r"stopping\.action: batch .*gd",
    ),
    "C3 rate and combined": (
        {"learning_rate.schedule": "plateau", "stopping.rule": "combined"},
        "learning_rate.schedule plateau and stopping.rule combined: only one of them",
    ),
    "C3 batch and combined": (
        {"batch_size.policy": "plateau_grow", "stopping.rule": "combined"},
        "only one of them",
    ),
    "C3 two that grow": (
        {"batch_size.policy": "geometric", "stopping.rule": "combined", "stopping.action": "alternate"},
        "alternate and batch_size.policy",
    ),
    "C11 combined": (
        {"batch_size.size": 1024, "stopping.rule": "combined", "stopping.action": "batch"},
        r"batch_size\.size: 1024 is above stopping\.batch_maximum, 512",
    ),
    "C3 rate and batch": (
        {"learning_rate.schedule": "plateau", "batch_size.policy": "plateau_grow"},
        "only one of them",
    ),
    "C4 batch": (
        {"batch_size.policy": "plateau_grow", "batch_size.patience": 10},
        r"stopping\.patience: 10 .*batch_size\.patience, 10",
    ),
    "C11 growing": (
        {"batch_size.policy": "geometric", "batch_size.size": 64, "batch_size.maximum": 32},
        r"batch_size\.size: 64 is above batch_size\.maximum, 32",
    ),
    "C11 measured": (
        {"batch_size.policy": "gns", "batch_size.size": 8},
        r"batch_size\.size: 8 is below batch_size\.minimum, 16",
    ),
    "C11 random": (
        {"batch_size.policy": "random", "batch_size.minimum": 1024},
        r"batch_size\.minimum: 1024 is above",
    ),
    "C11 ratio": (
        {"batch_size.policy": "random", "batch_size.minimum": 128, "batch_size.ratio": 8},
        r"batch_size\.ratio: 8 times batch_size\.minimum is 1024, above batch_size\.maximum, 512",
    ),
    "C10 wsd": (
        {
            "learning_rate.schedule": "wsd",
            "learning_rate.warmup_fraction": 0.5,
            "learning_rate.decay_fraction": 0.6,
        },
        r"warmup_fraction 0\.5 .*decay_fraction 0\.6 .*budget",
    ),
    "C10 exponential": (
        {"learning_rate.schedule": "exponential", "learning_rate.final_fraction": 0.0},
        "final_fraction",
    ),
    "C5": (
        {"penalty.kind": "l2", "optimizer": "adamw"},
        "penalty.kind: l2 and weight_decay.profile .*is_beside_weight_decay",
    ),
    "C6": (
        {"penalty.kind": "l1_proximal", "optimizer": "adam"},
        "penalty.threshold: .*adam .*decoupled",
    ),
    "C13 no split": (
        {"penalty.kind": "l1", "penalty.adaptation": "gap_control", "penalty.held_out_fraction": 0.0},
        "penalty.held_out_fraction: .*gap_control",
    ),
    "C13 kind": (
        {"penalty.kind": "l1", "penalty.adaptation": "t1t2"},
        "t1t2 .*l2, not l1",
    ),
    "C13 order": (
        {"penalty.kind": "l1", "penalty.adaptation": "gap_control", "penalty.minimum": 0.1, "penalty.maximum": 0.01},
        r"penalty\.minimum: 0\.1 is above penalty\.maximum, 0\.01",
    ),
    "C14 micro-batches": (
        {"precision": "mixed_float16", "batch_size.micro_size": 4},
        "mixed_float16 .*batch_size.micro_size",
    ),
    "C14 measured": (
        {"precision": "mixed_float16", "batch_size.policy": "gns"},
        "mixed_float16 .*batch_size.policy gns",
    ),
    "C15": (
        {"penalty.label_smoothing": 0.1, "training.loss": "focal"},
        r"penalty\.label_smoothing: .*training\.loss is focal",
    ),
    "C16": (
        {"stopping.rule": "generalization_loss", "training.loss": "poisson"},
        r"stopping\.rule: generalization_loss .*poisson",
    ),
    "C16 batch": (
        {"batch_size.policy": "cabs", "training.loss": "cosine"},
        r"batch_size\.policy: cabs .*cosine",
    ),
    "C10 inverse_sqrt": ({"learning_rate.schedule": "inverse_sqrt"}, "warmup_fraction"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_contradicting_params_are_refused_by_a_named_rule(case: str) -> None:
    params, words = REFUSED[case]
    with pytest.raises(RecipeError, match=words) as refusal:
        read_recipe(params)
    assert refusal.value.rule == case.split(maxsplit=1)[0]
    assert refusal.value.rule not in str(refusal.value)
    assert isinstance(refusal.value, ValueError)


def test_rule_c4_allows_a_stop_after_the_plateau() -> None:
    plateau = {"learning_rate.schedule": "plateau", "learning_rate.plateau_patience": 5}
    assert recipe(**plateau, **{"stopping.patience": 6})
    assert recipe(**plateau, **{"stopping.rule": "none"})
    with pytest.raises(RecipeError, match="use at least 2"):  # patience 0 acts as 1
        recipe(**{**plateau, "learning_rate.plateau_patience": 0, "stopping.patience": 1})


def test_rule_c5_allows_l2_beside_a_decay_on_request() -> None:
    assert recipe(**{"penalty.kind": "l2", "optimizer": "adamw", "penalty.is_beside_weight_decay": True})
    assert recipe(**{"penalty.kind": "l2", "optimizer": "adamw", "weight_decay.profile": "none"})
    assert recipe(**{"penalty.kind": "l1", "optimizer": "adamw"})


def test_rule_c6_allows_sgd_and_allows_adam_where_the_threshold_is_declared() -> None:
    proximal = {"penalty.kind": "l1_proximal"}
    assert recipe(**proximal, optimizer="sgd")
    assert recipe(**proximal, optimizer="gd")
    assert recipe(**{**proximal, "optimizer": "adam", "penalty.threshold": "decoupled"})


def test_rule_c13_holds_out_a_tenth_by_default() -> None:
    adapting = recipe(**{"penalty.kind": "l2", "penalty.adaptation": "t1t2"})
    assert adapting.penalty.held_out_fraction == 0.1


def test_every_rule_has_a_row() -> None:
    assert {case.split()[0] for case in REFUSED} == set(RULES)


def test_rule_c2_allows_warm_up_and_fixed_values() -> None:
    for kind in ("dog", "prodigy", "schedule_free"):
        assert recipe(optimizer=kind, **{"learning_rate.warmup_fraction": 0.1, "weight_decay.profile": "fixed"})
    assert recipe(optimizer="prodigy", **{"learning_rate.schedule": "cosine"})
    assert recipe(optimizer="dog", **{"stopping.rule": "combined", "stopping.action": "batch"})
    assert recipe(**{"learning_rate.hypergradient_strength": 0.1})


def test_rule_c8_reports_adafactors_cap() -> None:
    (note,) = notes_on(recipe(optimizer="adafactor", **{"learning_rate.peak": 0.1}))
    assert "0.1 from update 100" in note


def test_rule_c9_reports_what_muon_leaves_to_adam() -> None:
    (note,) = notes_on(recipe(optimizer="muon"))
    assert "embeddings" in note


def test_most_recipes_need_no_note() -> None:
    assert set(NOTES) == {"C8", "C9", "C17"}
    assert notes_on(recipe()) == []


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_rule_c12_keras_gets_every_number_as_a_python_float(kind: str) -> None:
    keys = [name for name, key in KEYS.items() if key.kind == "float" and "limit" not in name and key.default]
    counting = [name for name in keys if name in params_of(recipe(optimizer=kind))]
    read = recipe(optimizer=kind, **{name: np.float32(params_of(recipe(optimizer=kind))[name]) for name in counting})
    whole = recipe(optimizer=kind, **{"learning_rate.peak": 1})
    assert (
        {type(params_of(read)[name]) for name in counting} == {type(params_of(whole)["learning_rate.peak"])} == {float}
    )
    keras = pytest.importorskip("keras")
    assert isinstance(build_optimizer(read.optimizer), keras.optimizers.Optimizer)
