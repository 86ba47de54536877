"""Convert values to MLflow's entities, within its limits."""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nightune.models.serving.input_trees import plain_shape
from nightune.tasks.tracking.store import names
from nightune.tuning.trial import Value

if TYPE_CHECKING:
    from nightune.tasks.prepared_data import PreparedData

PARAM_LENGTH = 6000  # MLflow's limits
BATCH_METRICS = 800  # with the params and tags of the same call, 1000
BATCH_PARAMS = 100


def param(name: str, value: Value) -> Any:
    """Return a param for MLflow: text unchanged, other values as JSON; long text is cut and ends with its digest."""
    from mlflow.entities import Param  # noqa: PLC0415

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) > PARAM_LENGTH:
        text = f"{text[: PARAM_LENGTH - 30]}… sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return Param(name, text)


def run_tags(values: Mapping[str, str]) -> list[Any]:
    """Return tags for one call of MLflow."""
    from mlflow.entities import RunTag  # noqa: PLC0415

    return [RunTag(name, value) for name, value in values.items()]


def run_metrics(values: Mapping[str, float]) -> list[Any]:
    """Return single metrics, no curves, for one call of MLflow."""
    from mlflow.entities import Metric  # noqa: PLC0415

    now = int(time.time() * 1000)
    return [Metric(name, value, now, 0) for name, value in values.items()]


def dataset_input(data: "PreparedData") -> Any:
    """Return the prepared data as an input of a run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag  # noqa: PLC0415

    profile = json.dumps({"task": data.task, "rows": data.sizes, "input_shape": plain_shape(data.input_shape)})
    source = json.dumps({"uri": data.folder.as_uri()})
    dataset = Dataset(name="prepared data", digest=data.version, source_type="local", source=source, profile=profile)
    return DatasetInput(dataset, tags=[InputTag(names.MLFLOW_DATA_CONTEXT, "training")])


def number(value: float) -> float:
    """Replace infinity by NaN, since MLflow would store infinity as 1.8e308."""
    return value if math.isfinite(value) else math.nan


def packed(groups: Sequence[list[Any]], size: int) -> Iterator[list[Any]]:
    """Pack groups into lists of at most a size, without splitting one: an epoch is written completely or not at all."""
    chunk: list[Any] = []
    for group in groups:
        if chunk and len(chunk) + len(group) > size:
            yield chunk
            chunk = []
        chunk = chunk + group
    if chunk:
        yield chunk


def chunks(values: list[Any], size: int) -> Iterator[list[Any]]:
    """Split values into lists of at most a size."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
