"""Several heads with weights of classes and rows, in all engines: as plain Keras, resumed, stacked, in two phases."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.data.few_rows import are_first, few_rows
from nightune.models.training.engine import COMPILED_ENGINES, Engine
from nightune.models.training.loop import Outcome
from nightune.models.training.row_weights import ClassWeights, weights_of_classes
from tests.models.conftest import FEW_RULES, in_backend
from tests.models.test_classes_by_head import PARAMS, WEIGHTS, load
from tests.models.test_snapshots import Kept, Resumed, is_equal

EPOCHS, SWITCH = 3, 2
PHASES = {"training.freeze": ["trunk"], "training.unfreeze_at": SWITCH, "training.fine_tuning_fraction": 0.1}
# what the loader returns, and params
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "a head at positions": ("(x, named)", {"penalty.label_smoothing": 0.1}),
    "classes by head": ("(x, named)", {"training.class_weight": WEIGHTS}),
    "one word, rows by head": (
        "(x, named, own)",
        {"training.class_weight": "sqrt", "training.loss_weights": {"shade": 2.0, "total": 0.1}},
    ),
    "rows of all, word": ("(x, named, own['shade'])", {"training.class_weight": "balanced"}),
    "rows by head": ("(x, named, own)", {}),
    "two phases": ("(x, named, own)", {"training.class_weight": WEIGHTS, **PHASES}),
}
STACKED = (WEIGHTS, "balanced", {"kind": "sqrt"}, {"shade": {"5": 9.0}})
APART, STACKS_APART = 1e-5, 1e-6


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, build_model, make_engine, read_recipe, refuse_untrainable, train, Seeds
    import keras

    from nightune.models.engines.make import make_engine
    from nightune.models.engines.own_steps import refuse_untrainable
    from nightune.models.networks.architectures import build_model
    from nightune.models.recipe.params import read_recipe
    from nightune.models.training.loop import train
    from nightune.models.training.seeds import Seeds


def by_keras(folder: Path, dataset: Dataset, params: dict[str, Any], epochs: int) -> list[np.ndarray]:
    """The weights after Keras' own fit, with weights of classes and rows as a dictionary of `sample_weight`."""
    seeds, recipe = Seeds.from_trial(5), read_recipe(params)
    started = make_engine("fit", dataset, folder).start(recipe, seeds)
    model = build_model("net.py:build", {}, dataset.input_shape, dataset.output_size, folder=folder, seed=0)
    plain: Any = model.nightune_packing.model
    plain.set_weights(started.model.get_weights())
    share, weights, targets, losses = params.get("penalty.label_smoothing", 0.0), {}, {}, {}
    for head in dataset.heads:
        alone = dataset.of_head(head)
        known = alone.train.targets.reshape(-1, 4, 4) if head.name == "shade" else alone.train.targets
        weights[head.name] = np.ones(len(known)) if alone.train.weights is None else alone.train.weights
        weights[head.name] = weights[head.name].reshape(-1, *[1] * (known.ndim - 1)) * (known >= 0)
        stated = params.get("training.class_weight", {})
        own = stated.get(head.name) if isinstance(stated, dict) else stated
        if own and head.name != "total":
            weights[head.name] = weights[head.name] * ClassWeights(alone).of(own)[np.maximum(known, 0)]
        targets[head.name] = known
        if head.name in ("kind", "shade"):
            targets[head.name] = keras.utils.to_categorical(np.maximum(known, 0), 3)
            is_logits = head.name == "shade"
            losses[head.name] = keras.losses.CategoricalCrossentropy(is_logits, label_smoothing=share)
    losses |= {"ripe": keras.losses.BinaryCrossentropy(label_smoothing=share), "total": "mse"}
    factors = {name: params.get("training.loss_weights", {}).get(name, 1.0) for name in losses}
    for epoch in range(1, epochs + 1):
        if epoch in (1, params.get("training.unfreeze_at")):
            share = set_phase(plain, epoch, params)
            plain.compile(keras.optimizers.Adam(0.02 * share), losses, loss_weights=factors)
        order = np.random.default_rng([seeds.order, epoch]).permutation(len(dataset.train))
        y, w = ({name: each[order] for name, each in given.items()} for given in (targets, weights))
        options = {"batch_size": 16, "epochs": 1, "shuffle": False, "verbose": 0}
        plain.fit(dataset.train.inputs[order], y, sample_weight=w, **options)
    return [np.array(weight) for weight in plain.get_weights()]


def set_phase(model: Any, epoch: int, params: dict[str, Any]) -> float:
    """Freeze or unfreeze the trunk as Keras' guide does; return the share of the learning rate."""
    is_frozen = "training.freeze" in params and epoch == 1
    model.get_layer("trunk").trainable = not is_frozen
    return params["training.fine_tuning_fraction"] if epoch > 1 else 1.0


def run(engine: Any, params: dict[str, Any], dataset: Dataset, epochs: int = EPOCHS, **more: Any) -> Outcome:
    budget: dict[str, Any] = {"seed": 5, "monitor": "val_loss", "direction": "minimize", **more}
    return train(engine, read_recipe(params), dataset, epochs=epochs, **budget)


def compare(folder: Path, cases: Sequence[str], epochs: Sequence[int] = range(1, EPOCHS)) -> dict[str, Any]:
    """The largest difference of a weight from plain Keras', by case and engine; what resumes after the epochs."""
    found: dict[str, float] = {}
    resumed = {}
    for case in cases:
        result, more = CASES[case]
        dataset, params = load(folder, result), {**PARAMS, **more}
        expected, curves = by_keras(folder, dataset, params, EPOCHS), []
        for name in ("fit", COMPILED_ENGINES[keras.backend.backend()]):
            engine = make_engine(name, dataset, folder, rules=FEW_RULES)
            outcome = run(engine, params, dataset, EPOCHS + 1, until=EPOCHS)
            assert outcome.halted is not None
            pairs = zip(engine.weights(outcome.halted.state), expected, strict=True)
            found[f"{case} · {name}"] = max(float(np.abs(one - other).max()) for one, other in pairs)
            curves.append(outcome.curves)
            resumed[f"{case} · {name}"] = resumes(engine, params, dataset, folder / f"{case} · {name}", epochs)
        for name, curve in curves[0].items():
            if name.startswith("val_") or name == "loss":
                np.testing.assert_allclose(curve, curves[1][name], rtol=1e-3, atol=1e-5, err_msg=f"{case} {name}")
    return {"apart": found, "resumes": resumed}


def resumes(engine: Engine, params: dict[str, Any], dataset: Dataset, place: Path, epochs: Sequence[int]) -> bool:
    """Whether trainings that resume after these epochs end bit-equal to a whole one."""
    place.mkdir()
    whole = run(engine, params, dataset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "epochs_at_once", lambda *_: 1)
        kept = run(engine, params, dataset, keeper=Kept(place))
    later = [run(engine, params, dataset, keeper=Resumed(place, epoch)) for epoch in epochs]
    return all(is_equal(each, whole) for each in (kept, *later))


def stacks(folder: Path) -> dict[str, Any]:
    """How far stacked trials of other weights of classes are from single ones, and how many were in a stack."""
    from nightune.models.engines.compiled.side_by_side import train_side_by_side
    from nightune.models.engines.compiled.vmap_stacks import Stacks

    found: dict[str, Any] = {}
    for case in ("rows by head", "two phases"):
        result, more = CASES[case]
        dataset = load(folder, result)
        engine = make_engine("jax", dataset, folder, rules=FEW_RULES)
        trials = [{**PARAMS, **more, "training.class_weight": each} for each in STACKED]
        alone = [run(engine, params, dataset) for params in trials]
        kept = Stacks(len(trials))
        trainings = [partial(run, params=params, dataset=dataset) for params in trials]
        together = train_side_by_side(engine, trainings, len(trials), kept.run_epochs)
        pairs = [zip(*(each.weights for each in both), strict=True) for both in zip(alone, together, strict=True)]
        apart = max(float(np.abs(one - other).max()) for pair in pairs for one, other in pair)
        differ = min(float(np.abs(alone[0].weights[0] - each.weights[0]).max()) for each in alone[1:])
        found[case] = {"apart": apart, "differ": differ, "largest": kept.largest}
    return found


def test_engines_train_as_plain_keras_does_and_resume_bit_equal(tmp_path: Path) -> None:
    check(compare(tmp_path, ["two phases"], [1]))


@pytest.mark.nights
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_all_engines_train_as_plain_keras_does(backend: str, tmp_path: Path) -> None:
    check(in_backend(backend, __name__, "compare(Path(sys.argv[1]), list(CASES))", tmp_path))


def check(found: dict[str, Any]) -> None:
    assert max(found["apart"].values()) <= APART, found
    assert all(found["resumes"].values()), found


@pytest.mark.nights
def test_stacked_trials_have_weights_of_their_own_and_match_single_ones(tmp_path: Path) -> None:
    for case, found in in_backend("jax", __name__, "stacks(Path(sys.argv[1]))", tmp_path).items():
        assert found["apart"] <= STACKS_APART < 1e-3 < found["differ"], case
        assert found["largest"] == len(STACKED), case


def test_a_head_that_learns_from_later_rows_alone_is_trained_in_short_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load(tmp_path, "(x, named, own)")
    kind, shade = dataset.heads[:2]
    targets = dataset.train.targets.copy()
    targets[:20, kind.described["weight_column"]] = 0.0
    targets[:24, slice(*shade.columns)] = -1.0
    late = replace(dataset, train=replace(dataset.train, targets=targets))
    rows = few_rows(late, late.train, 16)
    assert (rows.targets[:, kind.described["weight_column"]] > 0).sum() >= 4
    assert (rows.targets[:, slice(*shade.columns)] >= 0).any(axis=1).sum() >= 4
    assert not are_first(late, late.train, 16)
    assert are_first(dataset, dataset.train, 16)
    monkeypatch.setattr("nightune.models.engines.own_steps.ROWS", 16)
    params = {**PARAMS, "training.class_weight": {"kind": {"high": 3.0}}}
    refuse_untrainable(read_recipe(params), late, tmp_path)


def test_rows_of_a_head_have_both_a_weight_and_a_class_with_one(tmp_path: Path) -> None:
    dataset = load(tmp_path, "(x, named, own)")
    kind = dataset.heads[0]
    column, low = kind.described["weight_column"], (kind.classes or ()).index("low")
    targets = dataset.train.targets.copy()
    targets[:, column] = 1.0
    targets[:30, kind.columns[0]] = low
    late = replace(dataset, train=replace(dataset.train, targets=targets))
    option = {"kind": {"low": 0.0, "high": 1.0}}
    (weights,) = weights_of_classes(late, [read_recipe({**PARAMS, "training.class_weight": option}).training])
    assert are_first(late, late.train, 16)
    assert not are_first(late, late.train, 16, [weights])
    chosen = few_rows(late, late.train, 16, [weights]).targets
    assert (chosen[:, kind.columns[0]] != low).sum() >= 4
