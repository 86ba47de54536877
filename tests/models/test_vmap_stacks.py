"""Stacked trials on JAX match single ones, independent of each other. One process runs everything."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.nights  # on CPUs trials are stacked only on request

CODE = """
import json, sys
from dataclasses import replace
from functools import partial
from pathlib import Path
import jax, numpy as np
from nightune.models.data.dataset import Dataset, Examples
from nightune.models.recipe.params import read_recipe
from nightune.models.engines.compiled import vmap_stacks as stacks
from nightune.models.training.controller import Controller
from nightune.models.engines.compiled.jax_backend import make_jax_engine
from nightune.models.engines.compiled.side_by_side import train_side_by_side
from nightune.models.training.folds import FoldsEngine
from nightune.models.training.loop import train
from nightune.models.training.seeds import Seeds
from nightune.models.engines.compiled.vmap_stacks import Stacks, stack_members

generator = np.random.default_rng(0)
inputs = generator.normal(size=(100, 6)).astype(np.float32)
targets = np.digitize(inputs[:, :2].sum(axis=1), [-0.7, 0.7]).astype(np.int32)
halves = [Examples(inputs[part], targets[part]) for part in (slice(50), slice(50, None))]
dataset = Dataset(*halves, halves[1], "multiclass", (0, 1, 2), "0" * 16, (), None, {})
engine = make_jax_engine(dataset, Path("."))

def make(**params):
    named = {name.replace("__", "."): value for name, value in params.items()}
    return read_recipe({"model.units": [6], "model.dropout": 0.2, "learning_rate.peak": 0.02, **named})

techniques = [
    *({"optimizer": kind} for kind in ("adafactor", "muon", "prodigy", "dog", "schedule_free")),
    {"optimizer": "adam", "weight_average__kind": "exponential"},
    {"optimizer": "sgd", "learning_rate__hypergradient_strength": 1e-3},
    {"optimizer": "sgd", "penalty__kind": "l1_proximal", "penalty__strength": 1e-2},
    {"optimizer": "adam", "learning_rate__schedule": "one_cycle", "learning_rate__one_cycle_momentum": "mirrored"},
    {"optimizer": "adam", "batch_size__micro_size": 4},
    {"optimizer": "adam", "training__class_weight": "balanced"},
    {"optimizer": "adam", "training__class_weight": {"0": 4.0}},
]
recipes = [
    make(optimizer="adam", batch_size__size=16),
    make(optimizer="adamw", batch_size__size=13, penalty__kind="l1", penalty__strength=1e-3),
    make(optimizer="adam", batch_size__size=8, learning_rate__schedule="cosine"),
    make(optimizer="sgd", one_minus_momentum=0.1, nesterov=True, stopping__rule="patience", stopping__patience=1,
         learning_rate__peak=0.5),
    make(optimizer="adam", batch_size__policy="random", batch_size__minimum=3),
    make(optimizer="adam", **{"model__batch_normalization": True, "batch_size__size": 16}),
    make(optimizer="adam", **{"model__batch_normalization": True, "batch_size__size": 16, "learning_rate__peak": 0.01}),
    *(make(batch_size__size=size, **technique) for technique in techniques for size in (16, 24)),
]

def training(recipe, seed, engine):
    return train(engine, recipe, dataset, epochs=4, seed=seed, monitor="val_loss", direction="minimize")

alone = [training(recipe, seed, engine) for seed, recipe in enumerate(recipes)]
kept = Stacks(4)
trainings = [partial(training, recipe, seed) for seed, recipe in enumerate(recipes)]
stacked = train_side_by_side(engine, trainings, 4, kept.run_epochs)
results = {"distances": [], "members": stack_members(), "largest": kept.largest}
for one, other in zip(alone, stacked):
    flat = [np.concatenate([weight.ravel() for weight in outcome.weights]) for outcome in (one, other)]
    results["distances"].append(float(np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[0])))

folded = dataset.with_folds([(halves[0], halves[1]), (halves[1], halves[0])])
whole = make_jax_engine(folded, Path("."))
parts = [whole.of_fold(fold) for fold in folded.folds]

def on_folds(recipe, seed, engine):
    return train(FoldsEngine(engine, parts, trains_all_rows=seed == 2), recipe, folded, epochs=3, seed=seed,
                 monitor="val_loss", direction="minimize")

same = [partial(on_folds, make(optimizer="adam", learning_rate__peak=rate), seed)
        for seed, rate in enumerate((0.01, 0.02, 0.03))]
folds = Stacks(4)
together = train_side_by_side(whole, same, 4, folds.run_epochs)
results["folds"] = max(
    abs(one(whole).objective - other.objective) for one, other in zip(same, together)
)
results["largest of folds"] = folds.largest

def how(outcome):
    return outcome.status, outcome.epochs, outcome.best_epoch, sorted(outcome.curves)

results["same ends"] = [how(one) == how(other) for one, other in zip(alone, stacked)]

def member(recipe, seed):
    seeds = Seeds.from_trial(seed)
    plan = Controller(recipe, 50, 3, seeds.order, "val_loss", "minimize", "multiclass").next_epoch()
    return engine.start(recipe, seeds), plan

ours, neighbour = member(recipes[0], 1), member(recipes[1], 2)
broken = jax.tree.map(lambda leaf: leaf * np.nan if leaf.dtype == np.float32 else leaf, neighbour[0].arrays)
nan = replace(neighbour[0], arrays=broken), neighbour[1]
first = Stacks(2).run_epochs([ours, neighbour])
second = Stacks(2).run_epochs([ours, nan])
leaves = [jax.tree.leaves(each[0][0].arrays) for each in (first, second)]
results["isolated"] = all(np.array_equal(one, other) for one, other in zip(*leaves))
results["isolated outputs"] = bool(np.array_equal(first[0][1].outputs, second[0][1].outputs))
results["neighbour"] = bool(np.isnan(second[1][1].outputs).any() and not np.isnan(first[1][1].outputs).any())

run, tried = stacks._run, []
def small(program, members):
    tried.append(len(members))
    if len(members) > 2:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
    return run(program, members)
stacks._run = small
halving = Stacks(8)
five = [member(recipes[0], seed) for seed in range(5)]
halved = halving.run_epochs(five)
halving.run_epochs(five)
results["tried"] = tried
stacks._run = run
whole = Stacks(8).run_epochs(five)
results["halved"] = max(float(np.abs(a[1].outputs - b[1].outputs).max()) for a, b in zip(halved, whole))
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    pytest.importorskip("jax")
    paths = os.pathsep.join(sys.path)
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": paths, "NIGHTUNE_STACK": "4"}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_stacked_trials_match_single_ones(results: dict[str, Any]) -> None:
    assert max(results["distances"]) < 1e-6
    assert all(results["same ends"])
    assert results["largest"] > 1


def test_a_stacked_trial_stays_bit_equal_beside_one_with_nan(results: dict[str, Any]) -> None:
    assert results["isolated"]
    assert results["isolated outputs"]
    assert results["neighbour"]


def test_a_stack_that_does_not_fit_is_halved_and_stays_so(results: dict[str, Any]) -> None:
    assert results["tried"] == [5, 2, 2, 1, 2, 2, 1]
    assert results["halved"] < 1e-6


def test_trials_with_folds_are_stacked_fold_by_fold(results: dict[str, Any]) -> None:
    assert results["folds"] < 1e-5
    assert results["largest of folds"] == 3


def test_the_stack_size_can_be_set(results: dict[str, Any]) -> None:
    assert results["members"] == 4
