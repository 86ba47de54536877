"""Create an engine by its name."""

from collections.abc import Callable
from pathlib import Path

from nightune.models.data.dataset import Dataset
from nightune.models.errors import InputError
from nightune.models.training.engine import Engine
from nightune.vocabulary import unknown_name


def make_engine(
    name: str, dataset: Dataset, folder: Path, *, rules: frozenset[str] | None = None, accumulates_blocks: bool = False
) -> Engine:
    """Return the named engine for one data set; `folder` holds the files that the study refers to.

    `rules`: those of SHARED_RULES that a compiled program holds beside each other, None for all. With fewer than two
    each program has the rule of its trials. With `accumulates_blocks` JAX adds up batches of all sizes from
    blocks: fewer functions to compile, which take a little longer and round differently.
    """
    if name not in ENGINES:
        raise InputError("engine", unknown_name(name, ENGINES))
    return ENGINES[name](dataset, folder, rules, accumulates_blocks)


def make_same_engine(engine: Engine, dataset: Dataset, folder: Path) -> Engine:
    """Return an engine like the given one for another data set: it compiles the same programs."""
    accumulates = getattr(engine, "accumulates_blocks", False)
    return ENGINES[engine.name](dataset, folder, getattr(engine, "rules", None), accumulates)


def _fit(dataset: Dataset, folder: Path, _rules: frozenset[str] | None, _accumulates: bool) -> Engine:
    from nightune.models.engines.fit.engine import FitEngine  # noqa: PLC0415 - Keras takes seconds

    return FitEngine(dataset, folder)


def _tensorflow(dataset: Dataset, folder: Path, rules: frozenset[str] | None, _accumulates: bool) -> Engine:
    from nightune.models.engines.compiled.engine import CompiledEngine  # noqa: PLC0415 - Keras takes seconds
    from nightune.models.engines.compiled.tensorflow_backend import TensorFlowBackend  # noqa: PLC0415 - TensorFlow

    return CompiledEngine(dataset, folder, TensorFlowBackend(), rules=rules)


def _jax(dataset: Dataset, folder: Path, rules: frozenset[str] | None, accumulates: bool) -> Engine:
    from nightune.models.engines.compiled.engine import CompiledEngine  # noqa: PLC0415 - Keras takes seconds
    from nightune.models.engines.compiled.jax_backend import JaxBackend  # noqa: PLC0415 - only with the extra `jax`

    return CompiledEngine(dataset, folder, JaxBackend(accumulates), rules=rules)


_Make = Callable[[Dataset, Path, frozenset[str] | None, bool], Engine]
ENGINES: dict[str, _Make] = {"fit": _fit, "tensorflow": _tensorflow, "jax": _jax}
