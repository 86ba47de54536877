"""Values that change within a training: from which epoch on they hold, in every engine, also after a resumption."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from nightune.models.engines.make import make_engine
from nightune.models.errors import InputError
from nightune.models.recipe.params import params_of, read_recipe, recipe_at, resolve
from nightune.models.training.controller import Controller
from nightune.models.training.engine import COMPILED_ENGINES, Engine
from nightune.models.training.folds import FoldsEngine
from nightune.models.training.loop import Outcome, train
from tests.models.conftest import BACKEND
from tests.models.controllers import GRADIENTS
from tests.models.test_engine_equality import small_dataset
from tests.models.test_snapshots import FOR_ALL, Kept, Resumed, is_equal, make, run

CHANGES = {"3": {"learning_rate.peak": 0.02, "model.dropout": 0.1}, "4": {"penalty.strength": 0.5}}
PLAIN = FOR_ALL["adam with dropout"] | {"penalty.kind": "l2", "penalty.strength": 0.01}
CHANGED = PLAIN | {"training.changes": CHANGES}
ENGINES = ("fit", COMPILED_ENGINES[BACKEND])


@pytest.mark.parametrize("name", ENGINES)
def test_a_changed_training_is_its_parents_until_the_change_and_continues_it_bit_for_bit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, slow, parent = make(name), make(name), PLAIN | {"training.changes": {"3": CHANGES["3"]}}
    monkeypatch.setattr(slow, "epochs_at_once", lambda *_: 1)  # a snapshot of each epoch, not of the last of several
    whole, plain = run(engine, CHANGED, None), run(slow, PLAIN, Kept(tmp_path))
    assert whole.curves["val_loss"][:2] == plain.curves["val_loss"][:2]
    assert whole.curves["val_loss"][2] != plain.curves["val_loss"][2]
    assert whole.curves["learning_rate"] == pytest.approx([0.01, 0.01, 0.02, 0.02])
    assert whole.curves["penalty"] == [0.01, 0.01, 0.01, 0.5]
    assert is_equal(run(make(name), CHANGED, Resumed(tmp_path, 2)), whole)
    run(slow, parent, Kept(tmp_path))
    assert is_equal(run(engine, CHANGED, Resumed(tmp_path, 3)), whole)


def test_engines_agree_on_a_changed_training() -> None:
    one, other = (
        run(make(name), CHANGED | {"model.dropout": 0.0, "training.changes": SMOOTH}, None) for name in ENGINES
    )
    for name in ("val_loss", "loss", "learning_rate", "penalty"):
        np.testing.assert_allclose(one.curves[name], other.curves[name], rtol=1e-4)
    for ours, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_folds_change_in_step(tmp_path: Path) -> None:
    plain = small_dataset()
    dataset = plain.with_folds([(plain.train, plain.validation), (plain.validation, plain.train)])
    engine = make_engine("fit", dataset, Path())
    folds = cast(Engine, FoldsEngine(engine, [engine.of_fold(fold) for fold in dataset.folds]))

    def trained(keeper: Kept) -> Outcome:
        rules: dict[str, Any] = {"epochs": 3, "seed": 5, "monitor": "val_loss", "direction": "minimize"}
        return train(folds, read_recipe(CHANGED), dataset, keeper=keeper, **rules)

    whole = trained(Kept(tmp_path))
    assert whole.curves["learning_rate"] == pytest.approx([0.01, 0.01, 0.02])
    assert is_equal(trained(Resumed(tmp_path, 2)), whole)


SMOOTH = {"2": {"learning_rate.peak": 0.03, "one_minus_beta_1": 0.3}, "4": {"penalty.strength": 0.5}}


def test_a_snapshot_after_another_change_is_refused(tmp_path: Path) -> None:
    run(make("fit"), PLAIN | {"training.changes": {"2": {"learning_rate.peak": 0.5}}}, Kept(tmp_path))
    keeper = Resumed(tmp_path, 2)
    run(make("fit"), CHANGED, keeper)
    assert ["another training" in refusal for refusal in keeper.refusals] == [True]


def test_dotted_names_are_flat_and_the_last_change_holds() -> None:
    recipe = read_recipe(
        PLAIN | {"training.changes": {"10": {"learning_rate": {"peak": 1}}, "2": {"learning_rate.peak": 2}}}
    )
    assert recipe.training.changes == {"2": {"learning_rate.peak": 2.0}, "10": {"learning_rate.peak": 1.0}}
    assert [recipe_at(recipe, epoch).learning_rate.peak for epoch in (1, 2, 9, 10)] == [0.01, 2.0, 2.0, 1.0]
    assert read_recipe(params_of(recipe)) == recipe
    assert "training.changes" not in resolve(PLAIN)


def test_plans_follow_the_values_of_their_epochs() -> None:
    params = PLAIN | {"learning_rate.schedule": "cosine", "training.changes": {"3": {"learning_rate.peak": 0.02}}}
    rates = [plan_rates(controller(each)) for each in (params, PLAIN | {"learning_rate.schedule": "cosine"})]
    np.testing.assert_allclose(rates[0][:2], rates[1][:2])
    np.testing.assert_allclose(rates[0][2:], 2 * np.array(rates[1][2:]), rtol=1e-6)


ADAPTED: dict[str, dict[str, Any]] = {
    "strength of a penalty": {"penalty.kind": "l2", "penalty.adaptation": "gap_control"},
    "rate of a plateau": {"learning_rate.schedule": "plateau", "learning_rate.plateau_patience": 1},
    "size of a batch": {"batch_size.policy": "cabs", "batch_size.size": 4, "batch_size.minimum": 2},
}
LOSSES = {"loss": 1.0, "val_loss": 1.0, "train_loss_after": 1.0, "held_out_loss": 2.0, **GRADIENTS}


@pytest.mark.parametrize("name", ADAPTED)
def test_a_change_of_another_value_keeps_what_has_adapted(name: str) -> None:
    params = {"stopping.rule": "none", "gradient_clip.kind": "norm", "gradient_clip.limit": 1.0, **ADAPTED[name]}
    changes = {"training.changes": {"3": {"gradient_clip.limit": 2.0}}}
    plain, changed = (adapted_values(controller(each)) for each in (params, params | changes))
    assert plain == changed
    assert plain[2] != plain[0]


def adapted_values(planned: Controller) -> list[tuple[float, ...]]:
    values = []
    while plan := planned.next_epoch():
        values.append((plan.penalty, float(plan.learning_rates[0]), int(plan.batch_sizes[0])))
        planned.observe(LOSSES)
        planned.restore(planned.state())
    return values


def controller(params: dict[str, Any]) -> Controller:
    return Controller(read_recipe(params), 16, 4, 0, "val_loss", "minimize", "multiclass")


def plan_rates(planned: Controller) -> list[float]:
    rates = []
    while plans := planned.plans_ahead(9):
        assert len(plans) == 1 or not any(plan.begins_change for plan in plans[1:])
        for plan in plans:
            rates.append(float(plan.learning_rates[0]))
            planned.observe({"loss": 1.0, "val_loss": 1.0})
    return rates


@pytest.mark.parametrize(
    ("changes", "more", "words"),
    [
        ({"1": {"learning_rate.peak": 1.0}}, {}, "from 2"),
        ({"02": {"learning_rate.peak": 1.0}}, {}, "write 2"),
        ({"2": {"model.units": 3}}, {}, "cannot change"),
        ({"2": {"learning_rate.peek": 3}}, {}, "learning_rate.peak"),
        ({"2": {"learning_rate.peak": True}}, {}, "not a number"),
        ({"2": {"learning_rate.peak": -1.0}}, {}, "changes.2"),
        ({"2": {"weight_decay.strength": 0.1}}, {}, "active only if"),
        ({"2": {"model.dropout": 0.0}}, {}, "another graph"),
        ({"2": {"learning_rate.peak": 0.1}}, {"optimizer": "prodigy"}, "sets its own rate"),
        ({"2": {"penalty.strength": 0.1}}, {"penalty.adaptation": "gap_control"}, "penalty.adaptation"),
        ({"2": {"learning_rate.peak": 0.1}}, {"training.freeze": ["a"], "training.unfreeze_at": 3}, "second phase"),
        ("often", {}, "table"),
        ({}, {}, "table"),
    ],
)
def test_changes_that_cannot_be_trained_are_refused(changes: Any, more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_recipe(PLAIN | more | {"training.changes": changes})


def test_all_contradictions_of_changes_are_named_at_once() -> None:
    changes = {"2": {"learning_rate.peak": 0.1, "model.dropout": 0.0}, "4": {"model.dropout": 0.0}}
    with pytest.raises(ValueError, match="sets its own rate") as refusal:
        read_recipe(PLAIN | {"optimizer": "prodigy", "training.changes": changes})
    said = str(refusal.value)
    assert said.startswith("training.changes: ")
    assert ("2: model.dropout" in said, "4: model.dropout" in said) == (True, True)


OF_DROPOUT = """
import keras


def build(input_shape, output_size, dropout: float = 0.25):
    layers = [keras.layers.Dense(int(16 * (1 - dropout))), keras.layers.Dropout(dropout)]
    return keras.Sequential([keras.Input(input_shape), *layers, keras.layers.Dense(output_size)])
"""


@pytest.mark.parametrize("name", ENGINES)
def test_a_change_to_other_weights_names_the_function(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OF_DROPOUT)
    engine, dataset = make_engine(name, small_dataset(), tmp_path), small_dataset()
    params: dict[str, Any] = {"model.architecture": "own.py:build", "model.dropout": 0.25}
    recipe = read_recipe(params | {"training.changes": {"2": {"model.dropout": 0.5}}})
    with pytest.raises(InputError, match=r"own\.py:build builds other weights") as refusal:
        train(engine, recipe, dataset, epochs=3, seed=5, monitor="val_loss", direction="minimize")
    assert refusal.value.key == "training.changes.2"
