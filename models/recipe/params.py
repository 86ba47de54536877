"""Convert flat dotted params to a recipe and back.

The technique packages define the vocabulary: the meaning, bounds and conditions of their keys.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from nightune.models.recipe.recipe import Recipe
from nightune.models.recipe.rules import RecipeError, refuse_contradictions
from nightune.models.techniques import losses, precision
from nightune.models.techniques.batch_sizes import keys as batch_size_keys
from nightune.models.techniques.batch_sizes.settings import BatchSizeSettings
from nightune.models.techniques.keys import NO_VALUE, Key, is_by_head
from nightune.models.techniques.learning_rates import keys as learning_rate_keys
from nightune.models.techniques.learning_rates.learning_rates import LearningRateSettings
from nightune.models.techniques.losses import TrainingSettings
from nightune.models.techniques.optimizers import keys as optimizer_keys
from nightune.models.techniques.optimizers.optimizers import OptimizerSettings
from nightune.models.techniques.penalties import keys as penalty_keys
from nightune.models.techniques.penalties.penalties import PenaltySettings
from nightune.models.techniques.precision import PrecisionSettings
from nightune.models.techniques.stopping import keys as stopping_keys
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.techniques.weight_decays import keys as weight_decay_keys
from nightune.models.techniques.weight_decays.weight_decays import WeightDecaySettings
from nightune.vocabulary import ARCHITECTURE, CHANGES, DEFAULT_ARCHITECTURE, GIVEN, MODEL_PREFIX, flat_table, suggestion

KEYS: dict[str, Key] = {
    **optimizer_keys.KEYS,
    **learning_rate_keys.KEYS,
    **batch_size_keys.KEYS,
    **weight_decay_keys.KEYS,
    **penalty_keys.KEYS,
    **stopping_keys.KEYS,
    **precision.KEYS,
    **losses.KEYS,
}


def read_recipe(params: Mapping[str, Any], architecture_keys: Mapping[str, Key] | None = None) -> Recipe:
    """Read complete or partial params; absent params have their defaults. ValueError describes the problem.

    Those of the model have their defaults with `architecture_keys` only, as in `resolve`.
    """
    complete = resolve(params, architecture_keys)
    recipe = Recipe(
        **{group: _read(group, complete) for group in _SETTINGS},
        architecture=complete[ARCHITECTURE],
        model={
            name.removeprefix(MODEL_PREFIX): value
            for name, value in complete.items()
            if name.startswith(MODEL_PREFIX) and name != ARCHITECTURE
        },
    )
    refuse_contradictions(recipe)
    for epoch in recipe.training.change_epochs:
        recipe_at(recipe, epoch)
    return recipe


def recipe_at(recipe: Recipe, epoch: int) -> Recipe:
    """Return the recipe of an epoch, counted from 1: with the values that hold then, and no changes.

    Raises ValueError for values that the changed recipe cannot have.
    """
    if not recipe.training.change_epochs:
        return recipe
    begun = recipe.training.changes_until(epoch)
    changes = {} if isinstance(begun, str) else begun
    params = {name: value for name, value in params_of(recipe).items() if name != CHANGES}
    for text in sorted(changes, key=int):
        params |= changes[text]
    try:
        return read_recipe(params)
    except ValueError as error:
        raise ValueError(f"{CHANGES}.{epoch}: {error}") from error


def params_of(recipe: Recipe) -> dict[str, Any]:
    """Return every active param, defaults included, under its dotted name: the inverse of `read_recipe`."""
    given = {name: getattr(getattr(recipe, group), field) for name, (group, field) in _FIELDS.items()}
    active = {name: value for name, value in given.items() if _is_active(name, given) and not _is_silent(name, value)}
    model = {f"{MODEL_PREFIX}{name}": value for name, value in recipe.model.items()}
    return {**active, ARCHITECTURE: recipe.architecture, **model}


def resolve(params: Mapping[str, Any], architecture_keys: Mapping[str, Key] | None = None) -> dict[str, Any]:
    """Return the complete active params as native Python values: with defaults, in the vocabulary's order.

    A silent key with its default is left out, as if it were not given, unless it is kept if given.

    `architecture_keys` are the parameters of `model.architecture`, without the prefix; with None they are not checked.
    Raises ValueError for unknown keys, invalid values and inactive keys.
    """
    keys = {**KEYS, ARCHITECTURE: Key("any", DEFAULT_ARCHITECTURE), **_model_keys(params, architecture_keys)}
    _refuse_unknown(params, keys)
    params = {
        name: value for name, value in params.items() if not _is_silent(name, value) or KEYS[name].is_kept_if_given
    }
    complete: dict[str, Any] = {}
    for name, key in keys.items():
        if _has_its_conditions(key, complete):  # what is complete is active
            value = _native(name, key, params[name]) if name in params else key.default_for(complete)
            if name in params or not _is_silent(name, value):
                complete[name] = value
    _refuse_inactive(params, complete, keys)
    _refuse_missing(complete)
    return complete


def silent_defaults() -> dict[str, Any]:
    """Return the defaults of the keys that complete params leave out where they have them."""
    return {name: key.default for name, key in KEYS.items() if key.is_silent}


def _model_keys(params: Mapping[str, Any], architecture_keys: Mapping[str, Key] | None) -> dict[str, Key]:
    if architecture_keys is not None:
        return {f"{MODEL_PREFIX}{name}": _of_model(key) for name, key in architecture_keys.items()}
    return {name: Key("any") for name in params if name.startswith(MODEL_PREFIX) and name != ARCHITECTURE}


def _of_model(key: Key) -> Key:
    """Return the key of a parameter with the prefix before the parameters of the same architecture that control it."""
    return replace(key, when={f"{MODEL_PREFIX}{name}": values for name, values in key.when.items()})


def _refuse_unknown(params: Mapping[str, Any], keys: Mapping[str, Key]) -> None:
    unknown = [f"{name!r}{suggestion(name, keys)}" for name in params if name not in keys]
    if unknown:
        raise ValueError(f"unknown param{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}")


def _refuse_inactive(params: Mapping[str, Any], complete: Mapping[str, Any], keys: Mapping[str, Key]) -> None:
    for name in params:
        if name not in complete:
            if name in batch_size_keys.KEYS and complete["optimizer"] == "gd":
                raise RecipeError("C1", f"{name}: optimizer gd has no batch size; remove the key, or use sgd")
            conditions = " and ".join(
                f"{controller} is {' or '.join(map(str, values))}" for controller, values in keys[name].when.items()
            )
            raise ValueError(f"{name}: given, but active only if {conditions}; remove it or change the condition")


def _refuse_missing(complete: Mapping[str, Any]) -> None:
    """An active key whose default is None must be given: no default suits every metric."""
    for name in complete:
        if name in KEYS and complete[name] is None:
            conditions = " and ".join(f"{controller} is {complete[controller]}" for controller in KEYS[name].when)
            raise ValueError(f"{name}: missing; needed if {conditions} ({KEYS[name].allowed})")


def _is_active(name: str, params: Mapping[str, Any], keys: Mapping[str, Key] = KEYS) -> bool:
    """True if all controlling keys are active themselves and have one of the required values."""
    return all(
        other in params and _is_active(other, params, keys) and _has_one(params[other], values, other)
        for other, values in keys[name].when.items()
    )


def _has_its_conditions(key: Key, params: Mapping[str, Any]) -> bool:
    """True if all controlling keys are among active params, with one of the required values."""
    for other, values in key.when.items():  # a loop, as this is most of the time in which params are read
        if other not in params or not _has_one(params[other], values, other):
            return False
    return True


def _has_one(value: Any, values: tuple[object, ...], name: str) -> bool:
    """True if the value, or one of a table of heads, is among the values; for GIVEN, if it is not the default."""
    if type(value) is str and values != GIVEN:  # most are options
        return value in values
    if values == GIVEN:
        return bool(value != KEYS[name].default)
    return any(each in values for each in (value.values() if isinstance(value, Mapping) else (value,)))


def _is_silent(name: str, value: Any) -> bool:
    return name in KEYS and KEYS[name].is_silent and value == KEYS[name].default


def _native(name: str, key: Key, value: Any) -> Any:
    """Convert a value, NumPy scalars included, to the plain Python type of its kind."""
    value = value.item() if hasattr(value, "item") else value
    problem = key.problem(value)
    if problem:
        nearest = suggestion(str(value), key.options) if key.kind == "option" else ""
        raise ValueError(f"{name}: {problem}{nearest} ({key.allowed})")
    if key.kind == "changes" and isinstance(value, Mapping):
        return {epoch: _flat_numbers(value[epoch]) for epoch in sorted(value, key=int)}
    if isinstance(value, Mapping) and (key.is_by_head or is_by_head(value)):
        return {head: _native(name, replace(key, is_by_head=False), value[head]) for head in sorted(value)}
    if key.kind in ("float", "integer") and value != NO_VALUE:
        return float(value) if key.kind == "float" else int(value)
    if key.kind == "numbers":
        return [float(each) for each in value]
    if key.kind == "names":
        return value if value == key.default else [value] if isinstance(value, str) else list(value)
    return {label: float(value[label]) for label in sorted(value)} if isinstance(value, Mapping) else value


def _flat_numbers(table: Mapping[str, Any]) -> dict[str, float]:
    flat = flat_table(table)
    return {name: float(flat[name]) for name in sorted(flat)}


_SETTINGS: dict[str, type] = {
    "optimizer": OptimizerSettings,
    "learning_rate": LearningRateSettings,
    "batch_size": BatchSizeSettings,
    "weight_decay": WeightDecaySettings,
    "penalty": PenaltySettings,
    "stopping": StoppingSettings,
    "precision": PrecisionSettings,
    "training": TrainingSettings,
}


def _key_of(group: str, field: str) -> str:
    """Return the key of a settings field. Settings of the optimizer have no prefix, except those of clip and average.

    The optimizer's kind is `optimizer`, and the precision's policy is `precision`.
    """
    if group == "precision":
        return group
    if group == "optimizer":
        dotted = field.replace("gradient_clip_", "gradient_clip.").replace("weight_average_", "weight_average.")
        return "optimizer" if field == "kind" else dotted
    return f"{group}.{field}"


# key → the recipe's group and the field in it
_FIELDS: dict[str, tuple[str, str]] = {
    _key_of(group, field.name): (group, field.name)
    for group, settings in _SETTINGS.items()
    for field in fields(settings)
}
# the recipe's group → its fields, and the key of each
_NAMES = {owner: {field: name for name, (group, field) in _FIELDS.items() if group == owner} for owner in _SETTINGS}


def _read(group: str, complete: Mapping[str, Any]) -> Any:
    names = _NAMES[group]
    return _SETTINGS[group](**{field: complete[name] for field, name in names.items() if name in complete})
