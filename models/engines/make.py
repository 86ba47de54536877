"""Make an engine by its name."""

from collections.abc import Callable
from pathlib import Path

from nightune.models.data.dataset import Dataset
from nightune.models.errors import InputError
from nightune.models.training.engine import Engine
from nightune.vocabulary import unknown_name


def make_engine(name: str, dataset: Dataset, folder: Path) -> Engine:
    """Return the engine of a choice for one data set; `folder` is where a study's own files are looked for."""
    if name not in ENGINES:
        raise InputError("engine", unknown_name(name, ENGINES))
    return ENGINES[name](dataset, folder)


def _fit(dataset: Dataset, folder: Path) -> Engine:
    from nightune.models.engines.fit.engine import FitEngine  # noqa: PLC0415 - Keras takes seconds

    return FitEngine(dataset, folder)


def _tensorflow(dataset: Dataset, folder: Path) -> Engine:
    from nightune.models.engines.compiled.tensorflow_backend import make_tensorflow_engine  # noqa: PLC0415 - TensorFlow

    return make_tensorflow_engine(dataset, folder)


def _jax(dataset: Dataset, folder: Path) -> Engine:
    from nightune.models.engines.compiled.engine import CompiledEngine  # noqa: PLC0415 - Keras takes seconds
    from nightune.models.engines.compiled.jax_backend import JaxBackend  # noqa: PLC0415 - only with the extra `jax`

    return CompiledEngine(dataset, folder, JaxBackend())


ENGINES: dict[str, Callable[[Dataset, Path], Engine]] = {"fit": _fit, "tensorflow": _tensorflow, "jax": _jax}
