"""Refuse several workers where they could not train a study as one process does."""

from importlib.util import find_spec

from nightune.models.backend import devices
from nightune.models.errors import InputError
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.study.study import Study

OPTION = "--workers"
STOPPING_RULE = "stopping.rule"


def refuse_unusable_workers(study: Study, count: int) -> None:
    """Refuse workers that cannot train this study as one process would, or cannot be started; name the remedy."""
    if count == 1:
        return
    if find_spec("distributed") is None:
        raise InputError(OPTION, "needs the package distributed: pip install 'nightune[dask]', or leave out the option")
    if "median" in study.space.options(STOPPING_RULE):
        problem = (
            "'median' compares a trial with those before it, which may still train where several do; "
            "take another rule, or tune without --workers"
        )
        raise StudyError(str(study.path), [Problem(STOPPING_RULE, problem)])


def refuse_shared_gpu(count: int) -> None:
    """Refuse several workers where Keras computes on a GPU: each would hold memory on the first one. Imports Keras."""
    if count == 1:
        return
    backend, names = devices()
    others = [name for name in names if not name.startswith("cpu")]
    if others:
        raise InputError(
            OPTION,
            f"{backend} computes on {', '.join(others)}, and workers are for processors so far; leave out the option, "
            "or set CUDA_VISIBLE_DEVICES=-1 to train on processors",
        )
