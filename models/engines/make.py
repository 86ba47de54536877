"""Create an engine by its name."""

from collections.abc import Callable
from pathlib import Path

from nightune.models.data.dataset import Dataset
from nightune.models.errors import InputError
from nightune.models.training.engine import Engine
from nightune.vocabulary import unknown_name


def make_engine(name: str, dataset: Dataset, folder: Path, *, rules: frozenset[str] | None = None) -> Engine:
    """Return the named engine for one data set; `folder` holds the files that the study refers to.

    `rules`: those of SHARED_RULES that a compiled program holds beside each other, None for all. With fewer than two
    each program has the rule of its trials.
    """
    if name not in ENGINES:
        raise InputError("engine", unknown_name(name, ENGINES))
    return ENGINES[name](dataset, folder, rules)


def make_same_engine(engine: Engine, dataset: Dataset, folder: Path) -> Engine:
    """Return an engine like the given one for another data set: it compiles the same programs."""
    return make_engine(engine.name, dataset, folder, rules=getattr(engine, "rules", None))


def _fit(dataset: Dataset, folder: Path, _rules: frozenset[str] | None) -> Engine:
    from nightune.models.engines.fit.engine import FitEngine  # noqa: PLC0415 - Keras takes seconds

    return FitEngine(dataset, folder)


def _tensorflow(dataset: Dataset, folder: Path, rules: frozenset[str] | None) -> Engine:
    from nightune.models.engines.compiled.engine import CompiledEngine  # noqa: PLC0415 - Keras takes seconds
    from nightune.models.engines.compiled.tensorflow_backend import TensorFlowBackend  # noqa: PLC0415 - TensorFlow

    return CompiledEngine(dataset, folder, TensorFlowBackend(), rules=rules)


def _jax(dataset: Dataset, folder: Path, rules: frozenset[str] | None) -> Engine:
    from nightune.models.engines.compiled.engine import CompiledEngine  # noqa: PLC0415 - Keras takes seconds
    from nightune.models.engines.compiled.jax_backend import JaxBackend  # noqa: PLC0415 - only with the extra `jax`

    return CompiledEngine(dataset, folder, JaxBackend(), rules=rules)


_Make = Callable[[Dataset, Path, frozenset[str] | None], Engine]
ENGINES: dict[str, _Make] = {"fit": _fit, "tensorflow": _tensorflow, "jax": _jax}
