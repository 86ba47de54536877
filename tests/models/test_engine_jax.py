"""JAX's compiled engine: like `fit`, after any earlier trainings. One process with the backend JAX runs everything."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CODE = """
import gc, json, sys
from pathlib import Path
import jax, keras, numpy as np
from nightune.models.data.dataset import Dataset, Examples
from nightune.models.recipe.params import read_recipe
from nightune.models.engines.fit.engine import FitEngine
from nightune.models.engines.compiled.jax_backend import make_jax_engine
from nightune.models.training.loop import train
from nightune.models.training.graph_key import perturbed
from nightune.models.training.seeds import Seeds

FOLDER, CASES = Path(sys.argv[1]), json.loads(sys.argv[2])
(FOLDER / "user.py").write_text('''
import keras
class Own(keras.Model):
    def __init__(self, size):
        super().__init__()
        self.last = keras.layers.Dense(size)
    def call(self, inputs): return self.last(keras.ops.reshape(inputs, (-1, 36)))
    def train_step(self, *given): return super().train_step(*given)
def build(output_size): return Own(output_size)
def two(output_size):
    codes, image = keras.Input((2,), name="codes", dtype="int32"), keras.Input((6, 6, 1), name="image")
    flat = [keras.layers.Flatten()(each) for each in (keras.layers.Embedding(4, 2)(codes), image)]
    both = keras.layers.concatenate(flat)
    return keras.Model({"codes": codes, "image": image}, keras.layers.Dense(output_size)(both))
''')
generator = np.random.default_rng(0)
inputs = generator.normal(size=(100, 6, 6, 1)).astype(np.float32)
targets = np.digitize(inputs[:, 0, :2, 0].sum(axis=1), [-0.7, 0.7]).astype(np.int32)
halves = [Examples(inputs[part], targets[part]) for part in (slice(50), slice(50, None))]
dataset = Dataset(*halves, halves[1], "multiclass", (0, 1, 2), "0" * 16, (), None, {})
engine, fit = make_jax_engine(dataset, FOLDER, FOLDER / "compiled", cached_programs=3), FitEngine(dataset, FOLDER)

def make(params):
    tiny = {} if "model.architecture" in params else {"model.units": [6]}
    return read_recipe({"learning_rate.peak": 0.02, "stopping.rule": "none", **tiny, **params})

def end(engine, recipe, epochs=3, dataset=dataset):
    outcome = train(engine, recipe, dataset, epochs=epochs, seed=5, monitor="val_loss", direction="minimize")
    return np.concatenate([weight.ravel() for weight in outcome.weights]), outcome.curves

def distance(one, other):
    return float(np.linalg.norm(one - other) / np.linalg.norm(one))

results = {}
for name, params in CASES.items():
    recipe = make(params)
    ours, curves = end(engine, recipe)
    theirs, expected = end(fit, recipe)
    losses = np.abs(np.subtract(curves["loss"], expected["loss"])).max() / max(expected["loss"])
    results[name] = [distance(theirs, ours), float(losses)]

tags = (inputs[:, 0, :3, 0] > [-0.5, 0.0, 0.5]).astype(np.int32)
parts = [Examples(inputs[part], tags[part]) for part in (slice(50), slice(50, None))]
labels = Dataset(*parts, parts[1], "multilabel", (0, 1, 2), "1" * 16, (), None, {})
recipe = make({"optimizer": "adam", "penalty.label_smoothing": 0.1})
pair = [end(kind(labels, FOLDER), recipe, dataset=labels) for kind in (FitEngine, make_jax_engine)]
losses = [np.array(curves["val_loss"]) for _, curves in pair]
results["labels"] = [distance(pair[0][0], pair[1][0]), float(np.abs(losses[0] / losses[1] - 1).max())]

names = [{"codes": generator.integers(0, 4, (50, 2)).astype(np.int32), "image": each.inputs} for each in halves]
parts = [Examples(inputs, each.targets) for inputs, each in zip(names, halves)]
several = Dataset(*parts, parts[1], "multiclass", (0, 1, 2), "2" * 16, (), None, {})
recipe = make({"optimizer": "adam", "model.architecture": "user.py:two"})
pair = [end(kind(several, FOLDER), recipe, dataset=several) for kind in (FitEngine, make_jax_engine)]
losses = [np.array(curves["val_loss"]) for _, curves in pair]
results["several inputs"] = [distance(pair[0][0], pair[1][0]), float(np.abs(losses[0] / losses[1] - 1).max())]

first = make({"optimizer": "adam", "model.dropout": 0.2, "penalty.kind": "l2"})
second, alone = perturbed(first), make_jax_engine(dataset, FOLDER)
expected, _ = end(alone, second)
end(engine, first)
before = engine.programs
after, _ = end(engine, second)
results["isolation"] = bool(np.array_equal(after, expected))
results["second trial"] = distance(end(fit, second)[0], after)
results["programs"] = engine.programs

from nightune.models.engines import compared_trainings, verification
compared_trainings.COMPARED_EXAMPLES, shared = 24, make_jax_engine(dataset, FOLDER)
verified = verification.compare_engines([first], dataset, FOLDER, lambda name: shared)
compiled = shared.compilation.functions
trained, _ = end(shared, first)
results["verified"] = [verified.refusal is None, compiled, shared.compilation.functions, shared.programs]
results["trained after it"] = bool(np.array_equal(trained, end(alone, first)[0]))

state = engine.start(first, Seeds(1, 2, 3))
kept = engine.weights(state)
initial = [weight.copy() for weight in kept]
from nightune.models.training.controller import Controller
plan = Controller(first, 50, 3, 1, "val_loss", "minimize", "multiclass").next_epoch()
state, _ = engine.run_epoch(state, plan)
results["kept"] = bool(all(np.array_equal(one, other) for one, other in zip(kept, initial)))
results["moved"] = bool(any(not np.array_equal(one, other) for one, other in zip(engine.weights(state), initial)))
del state, kept

def live():
    gc.collect()
    return len(jax.live_arrays())

end(engine, first, 1)
arrays = live()
for _ in range(20):
    end(engine, second, 1)
results["arrays grown"] = live() - arrays
random = make({"model.batch_normalization": True, "batch_size.policy": "random"})
results["refusals"] = [engine.refusals(each) for each in (first, random, make({"model.architecture": "user.py:build"}))]
results["cached"] = any((FOLDER / "compiled").iterdir())
results["tags"] = dict(engine.tags)
print(json.dumps(results))
"""

DECAY = {"weight_decay.profile": "fixed", "weight_decay.strength": 0.1}
ELASTIC = {"penalty.kind": "elastic", "penalty.strength": 1e-2}
NESTEROV = {"one_minus_momentum": 0.2, "nesterov": True}
CASES: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "batch_size.size": 7, "learning_rate.schedule": "cosine", **NESTEROV, **ELASTIC},
    "adam": {"optimizer": "adam", "one_minus_beta_2": 0.01, **DECAY, **ELASTIC},
    "lamb": {"optimizer": "lamb", "one_minus_beta_1": 0.3, **DECAY},
    "random batches": {"optimizer": "rmsprop", "batch_size.policy": "random", "batch_size.minimum": 3},
    "remainder dropped": {"optimizer": "sgd", "batch_size.size": 9, "batch_size.remainder": "drop"},
    "dropout": {"optimizer": "adamw", "model.dropout": 0.3, "batch_size.size": 16},
    "normalized": {"optimizer": "adam", "model.batch_normalization": True, "batch_size.size": 16},
    "cnn": {"optimizer": "nadam", "model.architecture": "cnn", "model.filters": [2], "batch_size.size": 16},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("jax")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(folder), json.dumps(CASES)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("name", [*CASES, "labels", "several inputs"])
def test_three_epochs_match_fit(results: dict[str, Any], name: str) -> None:
    weights, losses = results[name]
    assert weights < 1e-5
    assert losses < 1e-5


def test_a_trial_does_not_depend_on_earlier_trials(results: dict[str, Any]) -> None:
    assert results["isolation"]


def test_a_second_trial_in_the_same_program_has_its_own_numbers(results: dict[str, Any]) -> None:
    assert results["second trial"] < 1e-5


def test_the_check_compiles_the_programs_of_the_trials(results: dict[str, Any]) -> None:
    assert results["verified"] == [True, 1, 1, 1]
    assert results["trained after it"]


def test_programs_are_bounded_and_trials_leave_nothing_behind(results: dict[str, Any]) -> None:
    assert results["programs"] <= 3
    assert results["arrays grown"] <= 0


def test_weights_that_were_read_are_not_changed_by_later_epochs(results: dict[str, Any]) -> None:
    assert results["kept"]
    assert results["moved"]


def test_recipes_that_cannot_be_compiled_are_refused_with_the_reason(results: dict[str, Any]) -> None:
    none, random, own = results["refusals"]
    assert none == []
    assert "random" in random[0]
    assert own == ["user.py:build has a train_step of its own"]


def test_compiled_programs_are_kept_for_other_processes(results: dict[str, Any]) -> None:
    assert results["cached"]


def test_compiled_programs_are_found_in_a_store_that_was_moved(tmp_path: Path) -> None:
    code = (
        "import sys, jax; from pathlib import Path; from nightune.models.backend import keep_compiled\n"
        "keep_compiled(Path(sys.argv[1])); jax.jit(lambda x: 3 * x + 1)(2.0)"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(sys.path)}

    def compiled(folder: Path) -> set[str]:
        subprocess.run([sys.executable, "-c", code, str(folder)], env=environment, check=True, capture_output=True)
        return {file.name for file in folder.glob("*-cache")}

    first = compiled(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert compiled(tmp_path / "there") == first != set()


def test_tags_say_what_computed(results: dict[str, Any]) -> None:
    assert results["tags"]["nightune.engine"] == "jax"
    assert results["tags"]["nightune.device"]
