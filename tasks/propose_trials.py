"""Convert points of the search space to trials: complete params, a training seed and a key."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nightune.models.networks.architectures import architecture_keys
from nightune.models.networks.compiled_source import compiles_other_loss
from nightune.models.recipe.params import read_recipe, resolve
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.losses import TrainingSettings
from nightune.models.training.capabilities import only_in_fit
from nightune.models.training.model_key import losses_digest
from nightune.models.training.plan import SEMANTICS_VERSION
from nightune.models.user_code import source_digest
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.step import step
from nightune.tuning.search.expectation import expectations
from nightune.tuning.search.guidance import NO_GUIDANCE, Guidance
from nightune.tuning.search.observations import Observation
from nightune.tuning.study.population import POPULATION
from nightune.tuning.study.rounds import begun_with, is_expected, proposed_by
from nightune.tuning.study.study import Study, training_seed
from nightune.tuning.trial import Bracket, Expectation, Params, Trial, Value, trial_key

STAND_INS = 1000
NO_STOPPING: Params = {"stopping.rule": "none"}


@dataclass(frozen=True)
class Kept:
    """The first points of a bracket, as the sweep's run has them, and what was expected of them.

    They were proposed at an earlier start, or are those that the sweep begins with: the best of earlier sweeps, then,
    `of_portfolio`, those of the portfolio.
    """

    points: Sequence[Params] = ()
    expected: Sequence[Expectation | None] = ()
    of_portfolio: int = 0


NOTHING_KEPT = Kept()


@step
def propose_trials(
    study: Study,
    sweep_number: int,
    data: PreparedData,
    bracket: Bracket,
    history: Sequence[Observation],
    kept: Kept = NOTHING_KEPT,
    guidance: Guidance = NO_GUIDANCE,
) -> list[Trial]:
    """Draw the trials of a bracket, or propose them from what was observed before; the same arguments, the same trials.

    Those with kept points come first. `guidance` is what guides a model beside the results.
    """
    count = len(kept.points)
    points = study.points(bracket, history, sweep_number, kept.points, guidance)
    trials = [make_trial(study, sweep_number, data, bracket.first + place, each) for place, each in enumerate(points)]
    by = proposed_by(study.search, bracket, count, kept.of_portfolio)
    expected: list[Expectation | None] = [None] * len(points)
    if is_expected(study.search, bracket):
        before = [*kept.expected, *[None] * count][:count]
        seen = [each for each in history if each.number < bracket.first]
        more = expectations(study.space, seen, points[len(before) :], study.objective.direction, guidance.prior)
        expected = [*before, *more]
    return [replace(each, proposed_by=by(place), expected=expected[place]) for place, each in enumerate(trials)]


def make_trial(
    study: Study, sweep_number: int, data: PreparedData, number: int, point: Params, seed: int | None = None
) -> Trial:
    """Complete a point with defaults and compute its key; `seed` is that of another trial, if it continues one.

    A point with contradictions stays as drawn: its training reports why it fails.
    """
    try:
        params = complete_params(study, point)
    except ValueError:
        params = dict(point)
    seed = training_seed(study, sweep_number, number, params) if seed is None else seed
    key = content_key(study, sweep_number, data, params, seed)
    return Trial(number=number, params=params, seed=seed, key=key, point=point)


def content_key(study: Study, sweep_number: int, data: PreparedData, params: Params, seed: int) -> str:
    """Return the key of a trial, a hash of all that affects its result: params, seed, data, budget, objective, code."""
    content = {
        "params": params,
        "seed": seed,
        "data": data.version,
        "epochs": study.search.epochs,
        "objective": [study.objective.name, study.objective.direction],
        "semantics": SEMANTICS_VERSION,
        "code": source_digest(str(params["model.architecture"]), study.path.parent)
        + _stopping_digest(study, params)
        + _loss_digest(study, data, params)
        + metric_digest(study),
    }
    if further := study.objective.further:  # measured with the trial
        content["further"] = [[each.name, each.direction] for each in further]
    if study.limits.of_model:  # a trial over them is not trained, or not ranked
        content["limits"] = study.limits.of_model
    if params.get("stopping.rule") == "median":
        content["sweep"] = sweep_number  # depends on earlier trials, so it is not reusable in another sweep
    return trial_key(content)


def metric_digest(study: Study) -> str:
    """Return the digest of the user's metrics; empty for built-in ones."""
    return "".join(source_digest(each, study.path.parent, study.objective.key) for each in study.objective.named)


def _stopping_digest(study: Study, params: Params) -> str:
    """Return the digest of a user's stopping rule; empty if there is none."""
    return source_digest(str(params.get("stopping.rule", "")), study.path.parent, "stopping.rule")


def _loss_digest(study: Study, data: PreparedData, params: Params) -> str:
    """Return the digest of a user's loss, or that another loss than the default is compiled; empty for the default."""
    folder = study.path.parent
    if "training.loss" in params:
        return losses_digest(TrainingSettings(loss=params["training.loss"]).losses, folder)  # type: ignore[arg-type]
    is_other = compiles_other_loss(str(params["model.architecture"]), folder, data.task)
    return " compiled loss" if is_other else ""


def sample_recipes(study: Study, sweep_number: int = 0, count: int = 50, first: Sequence[Params] = ()) -> list[Recipe]:
    """Return the recipes of a sweep's first trials, and of all others that only the engine `fit` can train.

    `first` are the points that it begins with. Points with contradictions are omitted. Where a model proposes trials,
    points at random stand in for them, many enough to have every option that is not rare.
    """
    drawn = max(study.trial_count, STAND_INS) if study.search.row.proposer is not None else study.trial_count
    points = begun_with(first, study.draw(study.space, drawn, [], study.sweep_seed(sweep_number)))
    recipes: list[Recipe] = []
    for number, point in enumerate(points):
        try:
            recipe = read_recipe(complete_params(study, point))
        except ValueError:
            continue  # its trial reports why
        if number < count or only_in_fit(recipe):
            recipes.append(recipe)
    return recipes


def complete_params(study: Study, point: Params) -> dict[str, Value]:
    """Complete a point with defaults; ValueError names contradicting params.

    Members of a population have no rule that stops them: the worst are replaced.
    """
    if study.search.method == POPULATION:
        point = {**NO_STOPPING, **point}
    keys = architecture_keys(str(point["model.architecture"]), study.path.parent)
    return resolve(point, keys)
