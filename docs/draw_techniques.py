"""Draw the pictures of docs/techniques.md from the code, and list each option's keys: python docs/draw_techniques.py

All pictures use the functions that train: the controller runs schedules, policies and rules on the same synthetic
losses; optimizers minimize a quadratic of two weights.
"""

import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from line_charts import Chart, Line, draw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run from anywhere

from nightune.models.recipe.params import KEYS, read_recipe  # noqa: E402
from nightune.models.techniques.learning_rates.batch_scaling import SCALINGS  # noqa: E402
from nightune.models.techniques.learning_rates.range_test import is_over, read_range_test, rising_rates  # noqa: E402
from nightune.models.techniques.optimizers.optimizers import OPTIMIZERS, OptimizerSettings, build_optimizer  # noqa: E402
from nightune.models.techniques.optimizers.search_ranges import customary_ranges  # noqa: E402
from nightune.models.techniques.penalties.penalties import PENALTIES, PenaltySettings, keras_strengths  # noqa: E402
from nightune.models.techniques.stopping.rules import LOSS_RULES  # noqa: E402
from nightune.models.training.controller import Controller  # noqa: E402
from nightune.models.training.plan import EpochPlan  # noqa: E402

PAGE, PICTURES = ROOT / "docs" / "techniques.md", ROOT / "docs" / "pictures"
EPOCHS, EXAMPLES = 40, 320

# heading of the page → the key whose options are its sections
KINDS = {
    "Optimizer": "optimizer",
    "Learning rate": "learning_rate.schedule",
    "Batch size": "batch_size.policy",
    "Weight decay": "weight_decay.profile",
    "Penalty": "penalty.kind",
    "Stopping": "stopping.rule",
}
# params that an option requires, or that make its effect visible within 40 epochs
DEMO_PARAMS: dict[str, dict[str, Any]] = {
    "learning_rate.schedule inverse_sqrt": {"learning_rate.warmup_fraction": 0.1},
    "learning_rate.schedule plateau": {"learning_rate.plateau_patience": 3},
    "batch_size.policy plateau_grow": {"batch_size.patience": 3},
    "batch_size.policy geometric": {"batch_size.size": 8},
    "batch_size.policy random": {"batch_size.maximum": 64},
    "batch_size.policy adabatch": {"batch_size.interval": 10},
    "stopping.rule patience": {"stopping.patience": 6},
    "stopping.rule combined": {"stopping.patience": 3},
    "stopping.rule threshold": {"stopping.limit": 1.1, "stopping.limit_of": "best"},
    "stopping.rule target": {"stopping.target": 0.45},
    "stopping.rule divergence": {"stopping.loss_factor": 1.5},
    "stopping.rule generalization_loss": {"stopping.alpha": 10.0},
    "stopping.rule productivity": {"stopping.alpha": 0.5},
    "stopping.rule successive_increase": {"stopping.successive": 2, "stopping.strip": 3},
}


def main() -> None:
    """Write all pictures, and the lines of keys in the page."""
    PICTURES.mkdir(exist_ok=True)
    for name, chart in charts():
        (PICTURES / f"{name}.svg").write_text(draw(chart), encoding="utf-8")
    PAGE.write_text(with_keys(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def charts() -> Iterator[tuple[str, Chart]]:
    """Yield the name and the chart of every picture."""
    yield from quick_charts()
    for optimizer in OPTIMIZERS:
        yield picture("optimizer", optimizer), optimizer_chart(optimizer)


def quick_charts() -> Iterator[tuple[str, Chart]]:
    """Yield the charts that need no training library: identical bytes on every machine."""
    for schedule in KEYS["learning_rate.schedule"].options:
        yield picture("learning_rate.schedule", schedule), schedule_chart(schedule)
    for policy in KEYS["batch_size.policy"].options:
        yield picture("batch_size.policy", policy), batch_chart(policy)
    for profile in KEYS["weight_decay.profile"].options:
        yield picture("weight_decay.profile", profile), decay_chart(profile)
    for kind in PENALTIES:
        yield picture("penalty.kind", kind), penalty_chart(kind)
    for rule in KEYS["stopping.rule"].options:
        yield picture("stopping.rule", rule), stopping_chart(rule)
    yield "range_test", range_test_chart()
    yield "batch_scaling", scaling_chart()


def picture(key: str, option: str) -> str:
    """Return the name of the picture's file, without its suffix."""
    return f"{key.replace('.', '-')}-{option}"


def with_keys(page: str) -> str:
    """Return the page with the line of keys of each option updated from the vocabulary."""
    lines, key, option = page.splitlines(), "", ""
    for place, line in enumerate(lines):
        if line.startswith("## "):
            key, option = KINDS.get(line.removeprefix("## "), ""), ""
        elif heading := re.fullmatch(r"### `(\w+)`.*", line):
            option = heading[1]
        elif line.startswith("Keys:") and key and option in KEYS[key].options:
            lines[place] = keys_line(key, option)
    return "\n".join(lines) + "\n"


def keys_line(key: str, option: str) -> str:
    """Return `Keys:` with the keys that are active for this option but not for all options."""
    names = [name for name, each in KEYS.items() if option in each.when.get(key, ())]
    names = [name for name in names if not set(KEYS[key].options) <= {*KEYS[name].when[key], "gd"}]
    return f"Keys: {', '.join(f'`{name}`' for name in names) or 'none of its own'}."


def validation_loss(epoch: int) -> float:
    """Return a synthetic validation loss: it falls, stalls, falls again and finally overfits."""
    fall = 0.35 + 0.65 * math.exp(-epoch / 6.0) + 0.04 * math.sin(1.7 * epoch) * math.exp(-epoch / 12.0)
    return fall + (0.006 * (epoch - 24) if epoch > 24 else 0.0)


def training_loss(epoch: int) -> float:
    """Return the synthetic training loss: decreasing, with a bump near the end."""
    return 0.2 + 0.8 * math.exp(-epoch / 8.0) + (0.9 if 30 <= epoch <= 33 else 0.0)


def run(params: dict[str, Any]) -> tuple[list[EpochPlan], Controller]:
    """Run the controller for 40 epochs of 320 examples on the synthetic losses."""
    recipe = read_recipe({"optimizer": "sgd", "learning_rate.peak": 0.1, "stopping.rule": "none", **params})
    controller, plans = Controller(recipe, EXAMPLES, EPOCHS, 0, "val_loss", "minimize", "regression"), []
    while plan := controller.next_epoch():
        plans.append(plan)
        score = validation_loss(plan.epoch)
        # statistics for policies that follow gradient noise, which grows as the loss falls
        noise = {"gradient_square": score**2, "gradient_variance": 12.0, "epoch_gradient_square": score**2}
        controller.observe({"loss": training_loss(plan.epoch), "val_loss": score, **noise})
    return plans, controller


def per_update(plans: list[EpochPlan], name: str) -> tuple[list[float], list[float]]:
    """Return the elapsed epochs and the value of each update."""
    xs = np.concatenate([plan.epoch - 1 + np.cumsum(plan.batch_sizes) / EXAMPLES for plan in plans])
    return xs.tolist(), np.concatenate([getattr(plan, name) for plan in plans]).tolist()


def demo_params(key: str, option: str) -> dict[str, Any]:
    """Return the params that demonstrate an option."""
    return {key: option, **DEMO_PARAMS.get(f"{key} {option}", {})}


def schedule_chart(schedule: str) -> Chart:
    """Draw the learning rate over the budget, with and without a warm-up."""
    params = demo_params("learning_rate.schedule", schedule)
    lines = [Line(schedule, *per_update(run(params)[0], "learning_rates"))]
    if schedule in KEYS["learning_rate.warmup_fraction"].when["learning_rate.schedule"]:
        warm = {"learning_rate.warmup_fraction": 0.1} | {name: v for name, v in params.items() if "warmup" not in name}
        if schedule != "inverse_sqrt":
            lines.append(Line("after a warm-up", *per_update(run(warm)[0], "learning_rates"), is_dashed=True))
    return Chart(f"learning_rate.schedule = {schedule}", "epoch", "learning rate", lines)


def batch_chart(policy: str) -> Chart:
    """Draw the batch size by epoch, or of all updates for random sizes."""
    plans, _ = run(demo_params("batch_size.policy", policy))
    xs, sizes = per_update(plans, "batch_sizes")
    if policy != "random":  # without the remainders of epochs, which the policy does not choose
        xs, sizes = [plan.epoch for plan in plans], [float(plan.batch_sizes[0]) for plan in plans]
    line = Line("batch size", xs, sizes, is_step=True)
    return Chart(f"batch_size.policy = {policy}", "epoch", "examples in an update", [line])


def decay_chart(profile: str) -> Chart:
    """Draw the remaining fraction of a weight without a gradient, under a cosine schedule."""
    lines = []
    couplings = KEYS["weight_decay.coupling"].options if profile != "none" else ("learning_rate",)
    for coupling in couplings:
        strength = {"learning_rate": 0.1, "schedule": 0.01, "independent": 0.01}[coupling]
        decay = {"weight_decay.strength": strength, "weight_decay.coupling": coupling} if profile != "none" else {}
        plans, _ = run({"learning_rate.schedule": "cosine", "weight_decay.profile": profile, **decay})
        xs, shrinks = per_update(plans, "shrinks")
        lines.append(Line(f"coupling {coupling}", xs, np.cumprod(1.0 - np.array(shrinks)).tolist()))
    return Chart(f"weight_decay.profile = {profile}", "epoch", "part of a weight that is left", lines)


def penalty_chart(kind: str) -> Chart:
    """Draw two weights under SGD on ½(w − w*)² with λ = 0.3, η = 0.1 and w* = 1 or 0.25."""
    strengths = keras_strengths(PenaltySettings(kind, strength=0.3), "multiclass")
    proximal = getattr(strengths, "proximal", 0.0)
    lines = []
    for goal in (1.0, 0.25):
        weight, path = 0.6, [0.6]
        for _ in range(60):
            weight -= 0.1 * (weight - goal + strengths.l1 * float(np.sign(weight)) + 2.0 * strengths.l2 * weight)
            weight = math.copysign(max(abs(weight) - 0.1 * proximal, 0.0), weight)
            path.append(weight)
        lines.append(Line(f"without penalty {goal:g}", list(range(61)), path))
    return Chart(f"penalty.kind = {kind}", "update", "weight", lines)


def stopping_chart(rule: str) -> Chart:
    """Draw the synthetic losses, the last epoch of training and the epoch that is kept."""
    plans, controller = run(demo_params("stopping.rule", rule))
    epochs = list(range(1, EPOCHS + 1))
    validation = Line("validation loss", epochs, [validation_loss(epoch) for epoch in epochs])
    training = Line("training loss", epochs, [training_loss(epoch) for epoch in epochs], is_dashed=True)
    lines = [validation, training] if rule in LOSS_RULES else [validation]
    marks = [(float(controller.best_epoch), "kept"), (float(len(plans)), "last")]
    return Chart(f"stopping.rule = {rule}", "epoch", "loss", lines, marks)


def range_test_chart() -> Chart:
    """Draw the range test on ½θ² with SGD, whose maximum stable rate is 2."""
    rates, weight, losses = rising_rates(1e-4, 100.0, 200), 1.0, []
    for rate in rates:
        losses.append(0.5 * weight**2)
        if is_over(losses):
            break
        weight -= rate * weight
    test = read_range_test(rates, losses)
    raw = Line("loss", test.rates.tolist(), np.minimum(test.losses, 0.55).tolist(), is_dashed=True)
    lines = [Line("smoothed loss", test.rates.tolist(), np.minimum(test.smoothed, 0.55).tolist()), raw]
    marks = [(test.suggestion or 0.0, "steepest"), (2.0, "stable up to 2")]
    return Chart("range test on a quadratic", "learning rate", "loss", lines, marks, is_log_x=True)


def scaling_chart() -> Chart:
    """Draw how each batch size scales a rate that is set for batch size 64."""
    sizes, lines = [2**power for power in range(3, 11)], []
    for scaling in SCALINGS:
        params = {"learning_rate.batch_scaling": scaling, "learning_rate.peak": 1.0}
        rates = []
        for size in sizes:
            recipe = read_recipe({"optimizer": "sgd", "batch_size.size": size, **params})
            plan = Controller(recipe, 2048, 1, 0, "val_loss", "minimize", "regression").next_epoch()
            assert plan is not None
            rates.append(float(plan.learning_rates[0]))
        lines.append(Line(scaling, sizes, rates))
    title = "learning_rate.batch_scaling, reference_batch_size = 64"
    return Chart(title, "batch size", "rate, as a part of the peak", lines, is_log_x=True, is_log_y=True)


def optimizer_chart(optimizer: str) -> Chart:
    """Draw the loss over 100 updates on a quadratic, next to that of plain gradient descent."""
    lines = [Line(optimizer, list(range(101)), best_descent(optimizer))]
    if optimizer not in ("gd", "sgd"):
        lines.append(Line("sgd", list(range(101)), best_descent("sgd"), is_dashed=True))
    return Chart(f"optimizer = {optimizer}", "update", "loss", lines, is_log_y=True)


def best_descent(optimizer: str, rates: int = 9) -> list[float]:
    """Return the losses at the best of some rates in the customary range; rate 1 if the optimizer has no range."""
    peak = customary_ranges(optimizer).get("learning_rate.peak")
    tried = np.geomspace(peak["low"], peak["high"], rates).tolist() if isinstance(peak, dict) else [1.0]
    return min((descent(optimizer, rate) for rate in tried), key=lambda losses: losses[-1])


def descent(optimizer: str, rate: float) -> list[float]:
    """Return the losses ½(x² + 25y²) from (1, 1) over 100 updates; diverging ones are clipped at 1e3."""
    import keras  # noqa: PLC0415 - seconds

    settings = OptimizerSettings(**{"kind": optimizer, **_default_settings(optimizer)})
    weights = keras.Variable(np.ones((2,), np.float32))
    built = build_optimizer(settings)
    built.build([weights])
    built.learning_rate = rate
    curvatures, losses = np.array([1.0, 25.0], np.float32), []
    while len(losses) < 101 and (not losses or losses[-1] < 1e3):
        place = np.array(keras.ops.convert_to_numpy(weights))
        losses.append(float(np.clip(0.5 * (curvatures * place**2).sum(), 1e-9, 1e3)))
        built.apply([keras.ops.convert_to_tensor(curvatures * place)], [weights])
    return losses + [1e3] * (101 - len(losses))


def _default_settings(optimizer: str) -> dict[str, Any]:
    """Return the optimizer's settings at their defaults, without its kind."""
    recipe = read_recipe({"optimizer": optimizer}).optimizer
    return {name: value for name, value in vars(recipe).items() if name != "kind"}


if __name__ == "__main__":
    main()
