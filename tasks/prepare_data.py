"""Load the data of a study and save it in the store."""

import logging
from pathlib import Path
from typing import cast

from nightune.models.data.dataset import Dataset
from nightune.models.data.loading import load_dataset
from nightune.models.data.names_of_studies import keep_names
from nightune.models.data.numbers_of_studies import keep_numbers
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError
from nightune.models.techniques.batch_sizes.keys import BOUNDED_BY_DATA
from nightune.models.techniques.losses import NO_WEIGHTS, ClassWeight
from nightune.models.training.loop import refuse_unknown_metric
from nightune.models.training.row_weights import KEY as CLASS_WEIGHT
from nightune.models.training.row_weights import ClassWeights
from nightune.tasks.metric_problems import metric_problems
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.step import step
from nightune.tasks.threshold_problems import threshold_problems
from nightune.tasks.tracking.store.retry import retry_call
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.search.domains import Cases, Domain, Range
from nightune.tuning.study.study import Study

logger = logging.getLogger("nightune")


@step
def prepare_data(study: Study, store_root: Path) -> PreparedData:
    """Save the study's data under `<store_root>/data/<version>`, and log its findings."""
    logger.info("reading the data …")
    dataset = read_dataset(study)
    for finding in dataset.findings:
        logger.warning("data · %s", finding)
    folder = store_root / "data"
    saved = retry_call(lambda: save_dataset(dataset, folder), str(folder))
    retry_call(lambda: keep_names(dataset, saved, study.name), str(saved))
    retry_call(lambda: keep_numbers(dataset, saved, study.name), str(saved))
    return _prepared(dataset, saved)


def read_prepared(folder: Path) -> PreparedData:
    """Return the description of data that was prepared before; InputError if it cannot be read."""
    return _prepared(open_dataset(folder), folder)


def _prepared(dataset: Dataset, folder: Path) -> PreparedData:
    return PreparedData(
        folder=folder,
        version=dataset.version,
        task=dataset.task,
        classes=dataset.classes,
        input_shape=dataset.input_shape,
        output_size=dataset.output_count,
        sizes=dataset.sizes,
        findings=dataset.findings,
    )


def read_dataset(study: Study) -> Dataset:
    """Load the data that a study names; StudyError names the wrong key."""
    try:
        dataset = load_dataset(_data_settings(study), study.path.parent)
        if not study.objective.is_own:
            refuse_unknown_metric(study.objective.metric, dataset, study.objective.key)
        for each in study.objective.further_curves:
            refuse_unknown_metric(each, dataset, study.objective.key)
        for name in study.objective.report:
            refuse_unknown_metric(name, dataset, "objective.report")
    except InputError as error:
        raise StudyError(str(study.path), [Problem(error.key, error.message)]) from error
    problems = [*_batches_above(study, dataset), *metric_problems(study, dataset), *_unknown_classes(study, dataset)]
    problems += threshold_problems(study, dataset)
    has_weights = dataset.train.weights is not None or any(head.has_weights for head in dataset.heads)
    if study.objective.average == "rows" and not has_weights:
        problems.append(Problem("objective.average", "'rows', but the data has no weights of rows; remove it"))
    if problems:
        raise StudyError(str(study.path), problems)
    return dataset


def _data_settings(study: Study) -> DataSettings:
    """Take the keys of [data]; the study's seed splits the rows if the split has none."""
    keys, split = study.data.model_dump(exclude={"split"}, exclude_none=True), study.data.split
    seed = study.seed if split.seed is None else split.seed
    by_rows, given = study.objective.average == "rows", split.model_dump(exclude={"seed", "folds"})
    return DataSettings(**keys, metrics_by_rows=by_rows, split=Split(**given, seed=seed, folds=split.folds or 0))


def weighted_options(study: Study) -> list[ClassWeight]:
    """Return the weights of classes that the study's trials can have, without `none`."""
    options = study.space.options(CLASS_WEIGHT)
    return [cast("ClassWeight", option) for option in options if option != NO_WEIGHTS]


def _unknown_classes(study: Study, dataset: Dataset) -> list[Problem]:
    """List the weights of classes that the data does not have, or of another task."""
    problems = []
    for trained in (dataset, *dataset.folds):
        for option in weighted_options(study):
            try:
                ClassWeights(trained).of(option)
            except InputError as error:
                problems.append(Problem(error.key, error.message))
    return list(dict.fromkeys(problems))


def _batches_above(study: Study, dataset: Dataset) -> list[Problem]:
    """List the batch sizes of the study that exceed the training examples, with folds those of any."""
    problems = []
    examples = min(len(each.train) for each in dataset.folds or (dataset,))
    of_fold = " of the smallest fold" if dataset.folds else ""
    for name in BOUNDED_BY_DATA:
        if name in study.space.by_name:
            largest = _largest(study.space.by_name[name].domain)
            if largest > examples:
                problem = f"{largest} is above the {examples} training examples{of_fold}"
                problems.append(Problem(name, f"{problem}; use at most {examples}"))
    return problems


def _largest(domain: Domain) -> float:
    if isinstance(domain, Cases):
        return max(_largest(case) for _, case in domain.domains)
    values = (domain.high,) if isinstance(domain, Range) else domain.options
    return max(value for value in values if isinstance(value, (int, float)))
