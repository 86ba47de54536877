"""Turn points of the search space into trials: complete params, a training seed and a key."""

from collections.abc import Sequence

from models.recipe import resolve
from models.training.plan import SEMANTICS_VERSION
from models.user_code import source_digest
from tasks.prepare_data import PreparedData
from tasks.stage import stage
from tuning.samplers import SAMPLERS
from tuning.study import Study, training_seed
from tuning.trial import Params, Trial, TrialResult, Value, trial_key


@stage
def propose_trials(
    study: Study, sweep_number: int, data: PreparedData, count: int, history: Sequence[TrialResult]
) -> list[Trial]:
    """Draw the trials 0..count-1 of a sweep; the same arguments give the same trials, on any machine."""
    sampler = SAMPLERS[study.search.method]
    points = sampler(study.space, count, history, study.sweep_seed(sweep_number))
    return [make_trial(study, sweep_number, data, number, point) for number, point in enumerate(points)]


def make_trial(study: Study, sweep_number: int, data: PreparedData, number: int, point: Params) -> Trial:
    """Complete one point with the defaults of what it leaves open, and name the content by its key."""
    params = complete_params(study, point)
    seed = training_seed(study, sweep_number, number, params)
    content = {
        "params": params,
        "seed": seed,
        "data": data.version,
        "epochs": study.search.epochs,
        "objective": [study.objective.metric, study.objective.direction],
        "semantics": SEMANTICS_VERSION,
        "code": source_digest(str(params["model.architecture"]), study.path.parent),
    }
    return Trial(number=number, params=params, seed=seed, key=trial_key(content))


def complete_params(study: Study, point: Params) -> dict[str, Value]:
    """Fill in defaults; a point that no recipe can be made of stays as drawn, and its training will say why."""
    from models.architectures import architecture_keys  # noqa: PLC0415 - a user's file may import Keras

    keys = architecture_keys(str(point["model.architecture"]), study.path.parent)
    return resolve(point, keys)
