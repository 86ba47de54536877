"""Small data sets and recipes to train on, shared by the tests of architectures, engine and loop."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.engine import EpochOutput
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds

SEEDS = Seeds(weights=1, order=2, dropout=3)
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")  # known without importing Keras

# Of a program in a test that no other training shares: one of all rules is compiled in half as much time again.
FEW_RULES = frozenset({"sgd", "adam"})

both = pytest.mark.parametrize("results", ["tensorflow", pytest.param("jax", marks=pytest.mark.nights)], indirect=True)


def in_backend(backend: str, module: str, expression: str, folder: Path) -> Any:
    """Evaluate an expression of a test module in a process of another backend, with the folder as `sys.argv[1]`."""
    pytest.importorskip(backend)
    imports = f"import json, sys; from pathlib import Path; import {module} as module; from {module} import *"
    code = f"{imports}; getattr(module, 'setup_module', int)(); print(json.dumps({expression}))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def trained(engine: Any, recipe: Recipe, plans: Sequence[EpochPlan]) -> tuple[Any, list[EpochOutput]]:
    """Train the epochs of the plans one after the other; return the last state and all outputs."""
    state, outputs = engine.start(recipe, SEEDS), []
    for plan in plans:
        state, output = engine.run_epoch(state, plan)
        outputs.append(output)
    return state, outputs


MakeDataset = Callable[..., Dataset]
MakePlan = Callable[..., EpochPlan]


@pytest.fixture
def make_dataset() -> MakeDataset:
    """Random inputs with targets that can be learned from them."""

    def make(task: str = "multiclass", shape: tuple[int, ...] = (5,), examples: int = 22) -> Dataset:
        generator = np.random.default_rng(0)
        inputs = generator.normal(size=(2 * examples, *shape)).astype(np.float32)
        score = inputs.reshape(len(inputs), -1)[:, :2].sum(axis=1)
        targets = {
            "regression": score.astype(np.float32),
            "binary": (score > 0).astype(np.int32),
            "multiclass": np.digitize(score, [-0.7, 0.7]).astype(np.int32),
        }[task]
        half = [Examples(inputs[part], targets[part]) for part in (slice(None, examples), slice(examples, None))]
        classes = {"regression": None, "binary": (0, 1), "multiclass": (0, 1, 2)}[task]
        return Dataset(*half, half[1], task, classes, "0" * 16, (), None, {})

    return make


@pytest.fixture
def make_plan() -> MakePlan:
    """A plan with the same rate and shrink for every update unless arrays are given."""

    def make(sizes: Any = (8, 8, 6), rates: Any = 0.1, shrinks: Any = 0.0, **more: Any) -> EpochPlan:
        updates, examples = len(sizes), sum(sizes)
        epoch = more.pop("epoch", 1)
        return EpochPlan(
            epoch=epoch,
            order=np.random.default_rng(epoch).permutation(examples).astype(np.int32),
            batch_sizes=np.array(sizes, np.int32),
            learning_rates=np.broadcast_to(np.float32(rates), (updates,)).copy(),
            shrinks=np.broadcast_to(np.float32(shrinks), (updates,)).copy(),
            **{"weight_decay": 0.0, "l1": 0.0, "l2": 0.0, "penalty": 0.0, **more},
        )

    return make


@pytest.fixture
def user_model(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that writes code to a file and returns the reference to its function `build`."""

    def write(code: str) -> str:
        (tmp_path / "user.py").write_text(f"import keras\nfrom keras import layers, ops\n{code}", encoding="utf-8")
        return "user.py:build"

    return write


@pytest.fixture
def recipe() -> Callable[..., Recipe]:
    """A recipe of a tiny net; params with `__` for the dots."""

    def make(**params: Any) -> Recipe:
        given = {name.replace("__", "."): value for name, value in params.items()}
        tiny = {} if "model.architecture" in given else {"model.units": [4]}
        return read_recipe({"optimizer": "sgd", **tiny, **given})

    return make
