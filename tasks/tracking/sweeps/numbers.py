"""Choose the number of a study's next sweep: no number is used twice, even if runs were deleted or moved."""

import re
from collections.abc import Iterator
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client

MAXIMUM_DIGITS = 6


def next_number(store: Store, experiment_id: str, study_name: str) -> int:
    """Return one more than the highest number that a sweep of the study ever had.

    It also reads deleted runs, sweeps in other experiments (the study's own may have been renamed) and registered
    versions, and the number that the experiment keeps. Where it keeps none, an earlier version of Nightune may have
    made it: then it also reads trials whose sweep is gone, which takes the longer, the more trials there are.
    """
    kept = client(store).get_experiment(experiment_id).tags.get(names.LAST_SWEEP_NUMBER, "")
    ids = [*_sweep_ids(store, study_name), *_version_ids(store, study_name)]
    ids += [f"{study_name}-{kept}"] if kept.isdecimal() else _trial_ids(store, experiment_id, study_name)
    found = (_number(sweep_id, study_name) for sweep_id in ids)
    numbers = [number for number in found if number is not None]
    return 1 + max([*numbers, *_numbers_of_own_sweeps(store, experiment_id)], default=-1)


def keep_number(store: Store, experiment_id: str, number: int) -> None:
    """Let the experiment keep a sweep's number before its run is created: a kill between both skips the number."""
    client(store).set_experiment_tag(experiment_id, names.LAST_SWEEP_NUMBER, str(number))


def _sweep_ids(store: Store, study_name: str) -> list[str]:
    """Return the ids of the sweeps of this name in all experiments; for MLflow, `_` and `%` stand for any character."""
    condition = f"{names.tag_equals(names.KIND, 'sweep')} and tags.`{names.SWEEP}` LIKE '{study_name}-%'"
    runs = _runs(store, [*_experiments(store)], condition)
    return [run.data.tags.get(names.SWEEP, "") for run in runs]


def _numbers_of_own_sweeps(store: Store, experiment_id: str) -> list[int]:
    runs = _runs(store, [experiment_id], names.tag_equals(names.KIND, "sweep"))
    numbers = (run.data.tags.get(names.SWEEP_NUMBER, "") for run in runs)
    return [int(number) for number in numbers if number.isdecimal()]


def _trial_ids(store: Store, experiment_id: str, study_name: str) -> Iterator[str]:
    """Yield the highest sweep id among the study's runs for each number of digits, so that few runs are read."""
    for digits in range(1, MAXIMUM_DIGITS + 1):
        condition = f"tags.`{names.SWEEP}` LIKE '{study_name}-{'_' * digits}'"
        order = [f"tags.`{names.SWEEP}` DESC"]
        for run in client(store).search_runs([experiment_id], condition, _all(), max_results=1, order_by=order):
            yield str(run.data.tags[names.SWEEP])


def _version_ids(store: Store, study_name: str) -> list[str]:
    versions = client(store).search_model_versions(f"name = '{study_name}'", max_results=10_000)
    return [str(version.tags.get(names.SWEEP, "")) for version in versions]


def _experiments(store: Store) -> Iterator[str]:
    token = None
    while True:
        page = client(store).search_experiments(view_type=_all(), max_results=1000, page_token=token)
        yield from (str(experiment.experiment_id) for experiment in page)
        token = page.token
        if not token:
            return


def _runs(store: Store, experiment_ids: list[str], condition: str) -> list[Any]:
    return list(client(store).search_runs(experiment_ids, condition, _all(), max_results=10_000))


def _all() -> Any:
    from mlflow.entities import ViewType  # noqa: PLC0415 - MLflow takes seconds to import

    return ViewType.ALL


def _number(sweep_id: str, study_name: str) -> int | None:
    found = re.fullmatch(rf"{re.escape(study_name)}-(\d{{1,{MAXIMUM_DIGITS}}})", sweep_id)
    return None if found is None else int(found[1])
