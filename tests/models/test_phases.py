"""Two phases of a training, as in Keras' guide to transfer learning: frozen layers, then all at a lower rate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.engines.make import make_engine
from nightune.models.recipe.params import params_of, read_recipe, resolve
from nightune.models.recipe.rules import RecipeError, notes_on
from nightune.models.techniques.losses import TrainingSettings
from nightune.models.training.controller import Controller
from nightune.models.training.engine import COMPILED_ENGINES, Engine
from nightune.models.training.folds import FoldsEngine
from nightune.models.training.graph_key import graph_key
from nightune.models.training.loop import Outcome, train
from nightune.models.training.seeds import Seeds
from tests.models.conftest import in_backend
from tests.models.test_snapshots import Kept, Resumed, is_equal

NET = """
import keras
from keras import layers

def base(freezes):
    x = inputs = keras.Input((5,))
    x = layers.Dense(6, activation="relu", kernel_regularizer="l2", name="stem")(x)
    x = layers.BatchNormalization(momentum=0.5, name="norm")(x)
    x = layers.Dropout(0.0, name="drop")(x)
    model = keras.Model(inputs, layers.Dense(4, activation="tanh", name="top")(x), name="base")
    if freezes == "whole":
        model.trainable = False
    if freezes == "stem":
        model.get_layer("stem").trainable = False
    return model

def net(input_shape, output_size, freezes: str = "", dropout: float = 0.0):
    inputs = keras.Input(input_shape)
    x = layers.Dropout(dropout)(base(freezes)(inputs)) if dropout else base(freezes)(inputs)
    return keras.Model(inputs, layers.Dense(output_size, name="head")(x))

class Own(keras.Model):
    def __init__(self, output_size):
        super().__init__()
        self.backbone = keras.Sequential([layers.Dense(4, activation="relu"), layers.BatchNormalization()])
        self.last = layers.Dense(output_size)

    def call(self, x, training=None):
        return self.last(self.backbone(x, training=training))

def own(input_shape, output_size):
    return Own(output_size)

SHARED = base("whole")

def shared(input_shape, output_size):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Dense(output_size)(SHARED(inputs)))
"""
EPOCHS, SWITCH = 5, 3
PHASES = {"training.freeze": ["base"], "training.unfreeze_at": SWITCH, "training.fine_tuning_fraction": 0.1}
PARAMS = {"model.architecture": "net.py:net", "learning_rate.peak": 0.02, "batch_size.size": 8, **PHASES}
ROWS: dict[str, dict[str, Any]] = {
    "momentum, penalty": {
        "optimizer": "sgd",
        "one_minus_momentum": 0.1,
        "penalty.kind": "l2",
        "penalty.strength": 0.02,
    },
    "decay, average": {
        "optimizer": "adamw",
        "weight_decay.strength": 0.5,
        "weight_decay.scope": "all",
        "weight_average.kind": "exponential",
        "weight_average.one_minus_decay": 0.2,
    },
    "as its function freezes": {"optimizer": "adam", "model.freezes": "whole"},
    "an inner layer stays frozen": {"optimizer": "adam", "model.freezes": "stem"},
}
APART = 1e-5
SAMPLE = ("decay, average",)  # the others are trained in the nightly tests


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, try_build, repetition_problem, TrainingRows, compare_engines, Checkpoints, load
    import keras

    from nightune.models.engines.verification import compare_engines
    from nightune.models.networks.training_rows import TrainingRows
    from nightune.models.networks.trial_build import repetition_problem, try_build
    from nightune.models.training.checkpoint import Checkpoints, load


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phases")
    (folder / "net.py").write_text(NET)
    return folder


def data() -> Dataset:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(44, 5)).astype(np.float32)
    targets = np.digitize(inputs[:, :2].sum(axis=1), [-0.7, 0.7]).astype(np.int32)
    halves = [Examples(inputs[part], targets[part]) for part in (slice(22), slice(22, None))]
    return Dataset(*halves, halves[1], "multiclass", (0, 1, 2), "0" * 16, (), None, {})


def run(engine: Engine, params: dict[str, Any], epochs: int = EPOCHS, **more: Any) -> Outcome:
    given = {"dataset": data(), "seed": 5, "monitor": "val_loss", "direction": "minimize", **more}
    return train(engine, read_recipe({**PARAMS, **params}), epochs=epochs, **given)


def by_hand(folder: Path, params: dict[str, Any]) -> list[np.ndarray]:
    """The weights after two calls of `compile` and `fit`, as in the guide; initial weights are those of the trial."""
    recipe, dataset, seeds = read_recipe({**PARAMS, **params}), data(), Seeds.from_trial(5)
    started = make_engine("fit", dataset, folder).start(recipe, seeds)
    scope: dict[str, Any] = {}
    exec(NET, scope)
    model = scope["net"]((5,), 3, freezes=params.get("model.freezes", ""))
    model.set_weights(started.model.get_weights())
    base = model.get_layer("base")
    base.trainable = False
    for first, last, rate in ((1, SWITCH, 0.02), (SWITCH, EPOCHS + 1, 0.002)):
        if first == SWITCH:
            base.trainable = True
            base.get_layer("stem").trainable = params.get("model.freezes") != "stem"
        for layer in (base.get_layer("stem"), base.get_layer("top"), model.get_layer("head")):
            if "penalty.kind" in params:
                own = 0.01 if layer.name == "stem" else 0.0
                layer.kernel.regularizer = keras.regularizers.L2(0.02 + own)
        model.compile(optimizer(params, rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        orders = [np.random.default_rng([seeds.order, epoch]).permutation(22) for epoch in range(first, last)]
        rows = [order[start : start + 8] for order in orders for start in range(0, 22, 8)]
        batches = [(dataset.train.inputs[each], dataset.train.targets[each]) for each in rows]
        model.fit((each for each in batches), steps_per_epoch=len(batches), epochs=1, shuffle=False, verbose=0)
    return [np.array(weight) for weight in model.get_weights()]


def optimizer(params: dict[str, Any], rate: float) -> Any:
    average = {"use_ema": True, "ema_momentum": 0.8}  # which Keras writes into the model at the end of `fit`
    made = {
        "sgd": keras.optimizers.SGD(rate, momentum=0.9),
        "adam": keras.optimizers.Adam(rate),
        "adamw": keras.optimizers.AdamW(rate, weight_decay=0.5, **average),
    }
    return made[params["optimizer"]]


def last_weights(engine: Engine, params: dict[str, Any]) -> list[np.ndarray]:
    """The weights after the last epoch, which may not be the best one."""
    outcome = run(engine, params, EPOCHS + 1, until=EPOCHS)
    assert outcome.halted is not None
    return engine.weights(outcome.halted.state)


def apart(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


def compare(folder: Path, rows: Sequence[str] = SAMPLE) -> dict[str, Any]:
    """The distances of this backend's engines from plain Keras, and whether the compiled one resumes bit-equal."""
    names = ("fit", COMPILED_ENGINES[keras.backend.backend()])
    engines = {name: make_engine(name, data(), folder) for name in names}
    found: dict[str, Any] = {}
    for row in rows:
        expected = by_hand(folder, ROWS[row])
        found |= {f"{row} · {name}": apart(last_weights(each, ROWS[row]), expected) for name, each in engines.items()}
    resumed = [engines[names[1]]] if rows == SAMPLE else list(engines.values())
    return {"distances": found, "resumes": [resumes(engine, folder) for engine in resumed]}


def resumes(engine: Engine, folder: Path) -> bool:
    """Another process resumes before the switch and after it, and a rung may be between the phases.

    Where a call computes several epochs, only its last one has a snapshot; none computes both phases.
    """
    params = {"optimizer": "adam", "model.dropout": 0.3}
    for file in folder.glob("*.npz"):
        file.unlink()
    whole = run(engine, params, keeper=Kept(folder))
    kept = sorted(int(file.stem) for file in folder.glob("*.npz"))
    assert SWITCH - 1 in kept
    later = [run(engine, params, keeper=Resumed(folder, epoch)) for epoch in kept if SWITCH - 1 <= epoch < EPOCHS]
    halted = run(engine, params, until=SWITCH - 1)
    return all(is_equal(each, whole) for each in (*later, run(engine, params, halted=halted.halted)))


def check(found: dict[str, Any]) -> None:
    assert max(found["distances"].values()) <= APART, found
    assert set(found["resumes"]) == {True}


def test_both_engines_train_as_keras_guide_does_and_resume_across_the_switch(folder: Path) -> None:
    check(compare(folder))


@pytest.mark.nights
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_all_engines_train_as_keras_guide_does(backend: str, folder: Path) -> None:
    check(in_backend(backend, __name__, "compare(Path(sys.argv[1]), list(ROWS))", folder))


def test_frozen_weights_and_moving_means_do_not_change_in_the_first_phase(folder: Path) -> None:
    params = {
        "optimizer": "adamw",
        "weight_decay.scope": "all",
        "weight_decay.strength": 0.5,
        "training.unfreeze_at": 0,
    }
    engine = make_engine("fit", data(), folder)
    recipe = read_recipe({**PARAMS, **params})
    model = engine.start(recipe, Seeds.from_trial(5)).model
    outcome = run(engine, {**params, "penalty.kind": "l1"}, epochs=2)
    changed = [not np.array_equal(*pair) for pair in zip(model.get_weights(), outcome.weights, strict=True)]
    in_base = {id(weight) for weight in model.get_layer("base").weights}
    assert changed == [id(weight) not in in_base for weight in model.weights]


def controller(**params: Any) -> Controller:
    given = {key.replace("__", "."): value for key, value in params.items()}
    recipe = read_recipe({"training.freeze": "base", "training.unfreeze_at": 4, **given})
    return Controller(recipe, 10, 8, 0, "val_loss", "minimize", "multiclass")


def plans(made: Controller, score: float = 1.0) -> list[Any]:
    found = []
    while plan := made.next_epoch():
        found.append(plan)
        made.observe({"val_loss": score, "loss": score})
    return found


def test_the_second_phase_has_a_share_of_the_schedules_rate_and_no_call_computes_both_phases() -> None:
    made = controller(learning_rate__schedule="linear", learning_rate__peak=1.0, stopping__rule="none")
    assert [plan.epoch for plan in made.plans_ahead(8)] == [1, 2, 3]
    found = plans(made)
    alone = plans(controller(learning_rate__schedule="linear", learning_rate__peak=1.0, training__unfreeze_at=0))
    rates = [float(plan.learning_rates[0]) for plan in found]
    expected = [float(plan.learning_rates[0]) * (0.1 if plan.epoch >= 4 else 1.0) for plan in alone]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert [plan.epoch for plan in found if plan.begins_fine_tuning] == [4]
    assert not any(plan.begins_fine_tuning for plan in alone)


def test_no_rule_ends_the_first_phase_and_plateaus_are_counted_anew() -> None:
    assert len(plans(controller(stopping__patience=2))) == 4 + 2  # epoch 4 is the rule's first
    assert len(plans(controller(stopping__patience=2, training__unfreeze_at=0))) == 1 + 2
    plateau = {"learning_rate__schedule": "plateau", "learning_rate__plateau_patience": 1, "stopping__rule": "none"}
    rates = [float(plan.learning_rates[0]) for plan in plans(controller(**plateau, learning_rate__peak=1.0))]
    np.testing.assert_allclose(rates, [1, 1, 0.5, 0.1, 0.1, 0.05, 0.025, 0.0125], rtol=1e-6)


def test_params_without_phases_stay_as_they_were_and_those_with_phases_are_complete() -> None:
    assert not [name for name in resolve({"training.loss": "focal"}) if "freez" in name or "tuning" in name]
    given = read_recipe({"training.freeze": ["base"], "training.unfreeze_at": 2})
    phases = {name: value for name, value in params_of(given).items() if name.startswith("training.")}
    assert phases == {"training.freeze": ["base"], "training.unfreeze_at": 2, "training.fine_tuning_fraction": 0.1}
    with pytest.raises(ValueError, match=r"active only if .* is given"):
        resolve({"training.unfreeze_at": 3})
    keys = [graph_key(each, "") for each in (*given.phases, given.as_built, read_recipe({}))]
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]


def test_an_optimizer_that_sets_its_rate_has_no_lower_one_and_phases_without_epochs_are_said() -> None:
    frozen = {"training.freeze": "base", "training.unfreeze_at": 3}
    with pytest.raises(RecipeError, match=r"fine_tuning_fraction.*sets its own rate"):
        read_recipe({"optimizer": "dog", **frozen})
    assert read_recipe({"optimizer": "dog", **frozen, "training.fine_tuning_fraction": 1.0}).training.second_phase == 3
    (note,) = notes_on(read_recipe({**frozen, "training.unfreeze_at": 1}))
    assert "freezes nothing" in note


def built(folder: Path, freeze: Any, function: str = "net", unfreeze_at: int = 2, **model: Any) -> Any:
    training = TrainingSettings(freeze=freeze, unfreeze_at=unfreeze_at)
    return try_build(f"net.py:{function}", model, training, TrainingRows.of(data()), folder)


@pytest.mark.parametrize(
    ("freeze", "model", "words"),
    [
        ("bas", {}, ["'bas'", "did you mean 'base'", "head", "stem"]),
        (["base", "x*"], {}, ["'x*'", "known"]),
        ("drop", {}, ["without weights", "drop"]),
        (["base", "head"], {}, ["freezes all weights"]),
        ("*", {}, ["freezes all weights"]),
    ],
)
def test_names_that_cannot_be_frozen_are_refused_with_the_layers(
    freeze: Any, model: dict[str, str], words: list[str], folder: Path
) -> None:
    problem = built(folder, freeze, **model).problem
    assert problem.key == "training.freeze"
    assert all(word in problem.message for word in words), problem.message


def test_layers_match_by_names_patterns_and_attributes(folder: Path) -> None:
    assert all(built(folder, each).problem is None for each in ("base", "b?se", ["st*", "top"], ["base", "stem"]))
    assert built(folder, "stem", freezes="whole").problem is None  # Keras trains it, though the whole is frozen
    assert built(folder, "backbone", "own").problem is None
    assert "'backbon'" in built(folder, "backbon", "own").problem.message


def test_a_backbone_that_is_loaded_once_may_be_frozen_but_not_trained(folder: Path) -> None:
    rows = TrainingRows.of(data())
    for unfreeze_at, is_refused in ((0, False), (2, True)):
        training = TrainingSettings(freeze=["base"], unfreeze_at=unfreeze_at)
        first = built(folder, ["base"], "shared", unfreeze_at).build
        found = repetition_problem("net.py:shared", {}, training, rows, folder, first)
        assert (found is not None) == is_refused


def test_folds_unfreeze_in_step_and_models_are_kept_as_their_function_makes_them(folder: Path, tmp_path: Path) -> None:
    first, second = data().train, data().validation
    dataset = data().with_folds([(first, second), (second, first)])
    engine = make_engine("fit", dataset, folder)
    folds = cast(Engine, FoldsEngine(engine, [engine.of_fold(fold) for fold in dataset.folds]))
    params = {"optimizer": "adam", "training.unfreeze_at": 2}
    whole = run(folds, params, epochs=2, dataset=dataset, keeper=Kept(tmp_path))
    assert is_equal(run(folds, params, epochs=2, dataset=dataset, keeper=Resumed(tmp_path, 1)), whole)
    path = tmp_path / "model.keras"
    assert Checkpoints(engine, folder, dataset).prepare(whole, path)()
    assert len(load(path).trainable_weights) == 8


def test_the_check_of_engines_trains_both_phases(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    engine = make_engine(COMPILED_ENGINES[keras.backend.backend()], data(), folder)
    unfreeze = engine.unfreeze
    monkeypatch.setattr(engine, "unfreeze", lambda state: seen.append(state) or unfreeze(state))
    recipe = read_recipe({**PARAMS, "optimizer": "sgd", "training.unfreeze_at": 40})
    assert compare_engines([recipe], data(), folder, make=lambda _: engine).refusal is None
    assert len(seen) == 2
