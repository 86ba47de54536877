"""Check a study without training: its dimensions, trials, graph keys and maximum cost."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from nightune.models.data.dataset import Dataset
from nightune.models.engines.choice import expected_engine
from nightune.models.errors import InputError
from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.recipe.rules import notes_on
from nightune.models.training.graph_key import graph_key, program_key, structure_key
from nightune.models.training.model_key import code_of
from nightune.models.training.row_weights import ClassWeights
from nightune.tasks.build_models import Builds, architectures, build_models
from nightune.tasks.first_points import portfolio_start
from nightune.tasks.load_study import refuse_missing_sampler
from nightune.tasks.prepare_data import read_dataset, weighted_options
from nightune.tasks.prior_scores import prior_scores
from nightune.tasks.propose_trials import complete_params
from nightune.tasks.prove_reopening import prove_reopening
from nightune.tasks.prove_training import prove_training
from nightune.tasks.trial.trainer import shared_rules_of
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.search.domains import table_text
from nightune.tuning.search.population import has_options, perturbed_dimensions
from nightune.tuning.search.portfolio import Beginning
from nightune.tuning.study.budgets import planned_epochs
from nightune.tuning.study.generations import generation_epochs, rules_of
from nightune.tuning.study.population import POPULATION
from nightune.tuning.study.rounds import begun_with, is_expected, is_proposed
from nightune.tuning.study.sections import MANY_TRIALS, ConfirmationSection
from nightune.tuning.study.study import Study


@dataclass(frozen=True)
class StudyCheck:
    """The plan of a sweep. `refused` counts the trials whose params contradict each other, by the violated rule.

    `notes` counts the trials that are trained with a caveat, by the caveat. `columns` describes the columns of a table,
    and `classes` counts the training rows of each class. `programs` are those of a compiled engine, if floats of users'
    functions are dropout rates, and if none is. `folds` has the number of training rows of each fold, and
    `largest_cost_epochs` counts the epochs of all folds.
    """

    study: str
    question: str
    data: dict[str, object]
    columns: list[dict[str, object]]
    classes: dict[str, int] | None
    findings: list[str]
    dimensions: list[dict[str, str]]
    method: str
    is_default_method: bool  # the study sets none
    trials: int
    brackets: list[list[dict[str, int]]]
    refused: dict[str, int]
    notes: dict[str, int]
    graph_keys: list[str]
    programs: tuple[int, int]
    largest_cost_epochs: int
    models_built: int  # 0 where no model was built
    model_findings: list[str]
    class_weights: dict[str, dict[str, float]]  # weights that the study names → class → its weight
    heads: dict[str, str]  # architecture → what its outputs are, and the loss; empty where no model was built
    sizes: dict[str, str]  # architecture → shapes and parameters of its models
    engine: str  # which `auto` will choose, and why; empty where no model was built
    points: int | None  # of the space, at least as many as trials if there are more; None: any number
    search_findings: list[str]
    folds: list[int]
    objectives: list[list[str]]  # name and direction; the first ranks trials
    confirmation: list[dict[str, int]]  # by the least number of trained trials: finalists, replicates and epochs
    is_confirming: bool  # `nightune tune` confirms; otherwise `nightune promote` does
    ends: list[str]  # what may end the search before its last trial
    start: dict[str, object] | None  # the points that the sweep begins with, if the study names a start
    population: dict[str, object] | None  # how a search by population develops
    adapts_rungs: bool  # later rounds leave out first rungs whose ranks disagree with later ones
    why_in_full: str  # why an automatic search has no rungs; empty otherwise
    is_proposing: bool  # a model proposes the trials after the first round: random points stand in for them here

    def as_json(self) -> dict[str, object]:
        """Return the fields as plain values."""
        return asdict(self)


def check_study(study: Study, before_building: Callable[[], None] | None = None) -> StudyCheck:
    """Draw the trials of the first sweep and prepare the data, without training or writing anything.

    Then call `before_building` and build the study's models, which imports Keras; with None no model is built.
    StudyError if the search needs a package that is not installed.
    """
    refuse_missing_sampler(study)
    dataset = read_dataset(study)
    started = portfolio_start(study, dataset.task, 0)
    drawn = _draw(study, started)
    builds, engine = Builds(0, ()), ""
    if before_building is not None:
        before_building()
        builds, engine = _built(study, dataset), _engine(study, drawn.recipes, dataset)
    return StudyCheck(
        study=study.name,
        question=study.question,
        data=dict(dataset.description),
        columns=[asdict(line) for line in dataset.columns],
        classes=dataset.class_counts,
        findings=list(dataset.findings),
        dimensions=_dimensions(study),
        method=study.search.method,
        is_default_method=study.search.is_default,
        trials=study.trial_count,
        brackets=[[asdict(rung) for rung in bracket.rungs] for bracket in study.brackets],
        refused=drawn.refused,
        notes=dict(Counter(note for recipe in drawn.recipes for note in notes_on(recipe))),
        graph_keys=drawn.graph_keys(study),
        programs=drawn.programs(study),
        largest_cost_epochs=planned_epochs(study.search, study.brackets) * max(1, len(dataset.folds)),
        models_built=builds.count,
        model_findings=list(builds.findings),
        class_weights=_class_weights(study, dataset),
        heads=dict(builds.heads),
        sizes=dict(builds.sizes),
        engine=engine,
        points=study.point_count,
        search_findings=[study.repeats] if study.repeats else [],
        folds=[len(fold.train) for fold in dataset.folds],
        objectives=_objectives(study),
        confirmation=_confirmations(study),
        is_confirming=study.confirmation is not None,
        ends=list(study.search.ends_in_words),
        start=None if started is None else _start(study, started, dataset.task),
        adapts_rungs=study.search.adapts_rungs,
        why_in_full=study.why_in_full,
        population=_population(study),
        is_proposing=any(is_proposed(study.search, bracket) for bracket in study.brackets),
    )


def _built(study: Study, dataset: Dataset) -> Builds:
    """Build the models, and prove that those with code of their own can be trained and opened again."""
    builds = build_models(study, dataset)
    prove_training(study, dataset, architectures(study))
    prove_reopening(study, dataset, architectures(study))
    return builds


def _dimensions(study: Study) -> list[dict[str, str]]:
    return [
        {"name": dimension.name, "values": str(dimension.domain), "when": dimension.condition_text}
        for dimension in study.space.dimensions
    ]


def _objectives(study: Study) -> list[list[str]]:
    first = study.objective
    return [[first.name, first.direction], *([each.name, each.direction] for each in first.further)]


def _class_weights(study: Study, dataset: Dataset) -> dict[str, dict[str, float]]:
    """Return the weight of each class by each option of the study."""
    return {
        option if isinstance(option, str) else table_text(option): ClassWeights(dataset).by_class(option)
        for option in weighted_options(study)
    }


def _population(study: Study) -> dict[str, object] | None:
    """Return how the population of a study develops; None for other methods."""
    if study.search.method != POPULATION:
        return None
    rules, perturbed = rules_of(study.search), perturbed_dimensions(study.space)
    return {
        "members": rules.size,
        "replaced": rules.replaced,
        "exploits_after": generation_epochs(study.search)[:-1],
        "perturbed": [each.name for each in perturbed],
        "perturbed_options": [each.name for each in perturbed if has_options(each.domain)],
        "factors": list(rules.factors),
        "resample_probability": rules.resample_probability,
    }


def _confirmations(study: Study) -> list[dict[str, int]]:
    """Return how the search may be confirmed, by the least number of trained trials: one row if that is known."""
    section = study.confirmation or ConfirmationSection()
    least = [1, MANY_TRIALS] if study.search.ends and study.trial_count >= MANY_TRIALS else [study.trial_count]
    found = [(trials, section.after(trials)) for trials in least]
    return [
        {
            "from_trials": trials,
            "finalists": each.finalists,
            "replicates": each.replicates,
            "epochs": each.trainings * study.search.epochs,
        }
        for place, (trials, each) in enumerate(found)
        if place == 0 or each != found[0][1]
    ]


@dataclass(frozen=True)
class _Drawn:
    """The recipes of the first sweep's trials, and how many were refused for each reason."""

    recipes: list[Recipe]
    refused: dict[str, int]

    def graph_keys(self, study: Study) -> list[str]:
        """Return the graph keys, by which trials are trained in cohorts."""
        return sorted({graph_key(recipe, code_of(recipe, study.path.parent)) for recipe in self.recipes})

    def programs(self, study: Study) -> tuple[int, int]:
        """Return the number of programs that a compiled engine would make, if floats of models are rates, or not."""
        rules, phases = shared_rules_of(study.space), [phase for recipe in self.recipes for phase in recipe.phases]
        most = {program_key(each, code_of(each, study.path.parent), rules) for each in phases}
        return len({structure_key(each, rules) for each in phases}), len(most)


def _start(study: Study, started: Beginning, task: str) -> dict[str, object]:
    """Say how many configurations of the portfolio begin the sweep, how many as they are, and what was changed.

    `expected_from` is the number of recorded configurations from whose scores the model begins; 0 without a prior.
    """
    first = started.fitted[: study.brackets[0].trials]
    prior = prior_scores(study, task) if any(is_expected(study.search, each) for each in study.brackets) else None
    return {
        "by": study.search.start or study.search.method,
        "configurations": started.configurations,
        "points": len(first),
        "expected_from": 0 if prior is None else len(prior.points),
        "as_they_are": sum(each.is_whole for each in first),
        **replace(started, fitted=first).changes,
        "without_family": list(started.without_family),
        "left_out": dict(started.left_out),
    }


def _draw(study: Study, started: Beginning | None) -> _Drawn:
    recipes: list[Recipe] = []
    refused: Counter[str] = Counter()
    drawn = study.draw(study.space, study.trial_count, [], study.sweep_seed(0))
    for point in begun_with([] if started is None else started.points, drawn):
        try:
            recipes.append(read_recipe(complete_params(study, point)))
        except ValueError as error:
            refused[str(error)] += 1
    return _Drawn(recipes, dict(refused))


def _engine(study: Study, recipes: Sequence[Recipe], dataset: Dataset) -> str:
    try:
        return expected_engine(recipes, dataset, study.path.parent)
    except InputError as error:
        raise StudyError(str(study.path), [Problem(error.key, error.message)]) from error
