"""Create an engine by its name."""

from collections.abc import Callable
from pathlib import Path

from nightune.models.data.dataset import Dataset
from nightune.models.errors import InputError
from nightune.models.training.engine import Engine
from nightune.vocabulary import unknown_name


def make_engine(name: str, dataset: Dataset, folder: Path, *, shares_rules: bool = True) -> Engine:
    """Return the named engine for one data set; `folder` holds the files that the study refers to.

    `shares_rules`: compiled programs hold the rules of many optimizers; not worth it for trials of one optimizer.
    """
    if name not in ENGINES:
        raise InputError("engine", unknown_name(name, ENGINES))
    return ENGINES[name](dataset, folder, shares_rules)


def make_same_engine(engine: Engine, dataset: Dataset, folder: Path) -> Engine:
    """Return an engine like the given one for another data set: it compiles the same programs."""
    return make_engine(engine.name, dataset, folder, shares_rules=getattr(engine, "shares_rules", True))


def _fit(dataset: Dataset, folder: Path, _shares_rules: bool) -> Engine:
    from nightune.models.engines.fit.engine import FitEngine  # noqa: PLC0415 - Keras takes seconds

    return FitEngine(dataset, folder)


def _tensorflow(dataset: Dataset, folder: Path, shares_rules: bool) -> Engine:
    from nightune.models.engines.compiled.engine import CompiledEngine  # noqa: PLC0415 - Keras takes seconds
    from nightune.models.engines.compiled.tensorflow_backend import TensorFlowBackend  # noqa: PLC0415 - TensorFlow

    return CompiledEngine(dataset, folder, TensorFlowBackend(), shares_rules=shares_rules)


def _jax(dataset: Dataset, folder: Path, shares_rules: bool) -> Engine:
    from nightune.models.engines.compiled.engine import CompiledEngine  # noqa: PLC0415 - Keras takes seconds
    from nightune.models.engines.compiled.jax_backend import JaxBackend  # noqa: PLC0415 - only with the extra `jax`

    return CompiledEngine(dataset, folder, JaxBackend(), shares_rules=shares_rules)


ENGINES: dict[str, Callable[[Dataset, Path, bool], Engine]] = {"fit": _fit, "tensorflow": _tensorflow, "jax": _jax}
