"""Refuse several workers where they could not train a study as one process does."""

import os
from collections.abc import Sequence
from importlib.util import find_spec

from nightune.models.backend import devices
from nightune.models.errors import InputError
from nightune.tasks.workers.travel import refuse_fixed_places
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.study.study import Study

OPTION, CLUSTER = "--workers", "NIGHTUNE_DASK"
STOPPING_RULE = "stopping.rule"
VISIBLE = "CUDA_VISIBLE_DEVICES"


def refuse_unusable_workers(study: Study, count: int, cluster: str | None = None) -> None:
    """Refuse workers that cannot train this study as one process would, or cannot be started; name the remedy.

    `cluster` is the address of a Dask scheduler whose workers train, instead of `count` processes of this machine.
    """
    if count == 1 and cluster is None:
        return
    given = OPTION if cluster is None else CLUSTER
    if cluster is not None and count > 1:
        raise InputError(OPTION, f"the workers of the cluster {cluster} train ({CLUSTER}); leave out the option")
    if find_spec("distributed") is None:
        raise InputError(given, "needs the package distributed: pip install 'nightune[dask]', or leave it out")
    if "median" in study.space.options(STOPPING_RULE):
        problem = (
            "'median' compares a trial with those before it, which may still train where several do; "
            f"take another rule, or tune without {given}"
        )
        raise StudyError(str(study.path), [Problem(STOPPING_RULE, problem)])
    if cluster is not None:
        refuse_fixed_places(study)


def environments_of_workers(count: int) -> list[dict[str, str]]:
    """Return what each of several local workers adds to the environment: its GPU, where Keras computes on some.

    InputError for more workers than GPUs: each would hold memory of one GPU. Imports Keras.
    """
    if count == 1:
        return [{}]
    backend, names = devices()
    gpus = [name for name in names if not name.startswith("cpu")]
    if not gpus:
        return [{} for _ in range(count)]
    if count > len(gpus):
        raise InputError(
            OPTION,
            f"{count}, but {backend} computes on {len(gpus)} GPU(s), one for a worker; "
            f"take {len(gpus) if len(gpus) > 1 else 'no --workers'}, or set {VISIBLE}=-1 to train on processors",
        )
    return [{VISIBLE: identifier} for identifier in _identifiers(gpus)[:count]]


def _identifiers(gpus: Sequence[str]) -> list[str]:
    """Return the identifier of each GPU that Keras sees, in its order: numbers, or what the user has chosen."""
    chosen = [each.strip() for each in os.environ.get(VISIBLE, "").split(",") if each.strip()]
    return chosen[: len(gpus)] if len(chosen) >= len(gpus) else [str(number) for number in range(len(gpus))]
