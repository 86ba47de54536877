"""Read what MLflow holds with checks, because people can change or delete any of it on MLflow's pages.

A damaged record raises DamagedRecordError, which names the object, the field, its value and what is expected. Where a
record is one of many, `whole_records` leaves it out with a warning; `nightune doctor` lists all of them.
"""

import json
import logging
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from nightune.tasks.tracking.store.artifacts import local_artifact
from nightune.tasks.tracking.store.errors import DamagedRecordError, StoreError, StoreLostError
from nightune.tasks.tracking.store.store import Store, client

T = TypeVar("T")
SHOWN_CHARACTERS = 60
MAXIMUM_INTEGER = 2**63

logger = logging.getLogger("nightune")


@dataclass(frozen=True, slots=True)
class Record:
    """The tags and metrics of one object. `subject` names the object in errors."""

    subject: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)

    def text(self, tag: str) -> str:
        """Return a tag's text; it must not be empty."""
        value = self.tags.get(tag, "")
        return value if value.strip() else self.refuse(tag, self.tags.get(tag), "a text")

    def integer(self, tag: str, default: int | None = None) -> int:
        """Return a tag's whole number, 0 or more; the default if there is no such tag."""
        if default is not None and tag not in self.tags:
            return default
        value = self.tags.get(tag, "")
        is_whole = value.isascii() and value.isdigit() and int(value) < MAXIMUM_INTEGER
        return int(value) if is_whole else self.refuse(tag, self.tags.get(tag), "a whole number, 0 or more")

    def choice(self, tag: str, choices: Sequence[str]) -> str:
        """Return a tag's text, which must be one of the choices."""
        value = self.tags.get(tag)
        if value is None or value not in choices:
            self.refuse(tag, value, f"one of {', '.join(choices)}")
        return value

    def table(self, tag: str) -> dict[str, Any]:
        """Return a tag's JSON object."""
        value = _parsed(self.tags.get(tag, ""))
        return value if isinstance(value, dict) else self.refuse(tag, self.tags.get(tag), "a JSON object")

    def texts(self, tag: str) -> list[str]:
        """Return a tag's JSON list of texts; an empty one if there is no such tag."""
        value = _parsed(self.tags.get(tag, "[]"))
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return value
        return self.refuse(tag, self.tags.get(tag), "a JSON list of texts")

    def integers(self, tag: str) -> list[int]:
        """Return a tag's JSON list of whole numbers, 0 or more; an empty one if there is no such tag."""
        value = _parsed(self.tags.get(tag, "[]"))
        if isinstance(value, list) and all(type(each) is int and each >= 0 for each in value):
            return value
        return self.refuse(tag, self.tags.get(tag), "a JSON list of whole numbers, 0 or more")

    def count(self, metric: str, default: int | None = None) -> int:
        """Return a metric's whole number, 0 or more; the default if there is no such metric."""
        value = self.metrics.get(metric, default)
        if value is not None and 0 <= value < MAXIMUM_INTEGER and value == int(value):  # not for NaN
            return int(value)
        return self.refuse(metric, value, "a whole number, 0 or more")

    def quantity(self, metric: str) -> float:
        """Return a metric's value, which may be NaN."""
        value = self.metrics.get(metric)
        return self.refuse(metric, value, "a number") if value is None else float(value)

    def refuse(self, name: str, value: object, expected: str) -> NoReturn:
        """Raise the error of one field."""
        shown = "missing" if value is None else repr(str(value)[:SHOWN_CHARACTERS])
        raise DamagedRecordError(f"{self.subject}: {name}: {shown} (expected: {expected})")


def run_record(run: Any) -> Record:
    """Return the record of a run."""
    return Record(f"run {run.info.run_id} ({run.info.run_name or 'no name'})", run.data.tags, run.data.metrics)


def whole_records(objects: Iterable[Any], read: Callable[[Any], T]) -> Iterator[T]:
    """Yield what `read` returns for each object; leave out damaged ones with a warning, once for each."""
    for each in objects:
        try:
            value = read(each)
        except DamagedRecordError as error:
            warn_of_damage(str(error))
        else:
            yield value


@lru_cache(maxsize=4096)
def warn_of_damage(text: str) -> None:
    """Warn of a damaged record, once in this process."""
    logger.warning("left out · %s · `nightune doctor` lists damaged records", text)


def read_file(store: Store, run_id: str, path: str, parse: Callable[[str], T]) -> T:
    """Return the parsed text of an artifact of a run; DamagedRecordError if it is missing or not as written."""
    try:
        return parse(_text(store, run_id, path))
    except StoreLostError:
        raise
    except (StoreError, OSError) as error:
        raise DamagedRecordError(f"run {run_id}: {path}: cannot be read ({first_line(error)})") from error
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
    ) as error:  # pydantic's and JSON's are ValueErrors
        raise DamagedRecordError(f"run {run_id}: {path}: not as Nightune wrote it ({first_line(error)})") from error


def _text(store: Store, run_id: str, path: str) -> str:
    """Return the text of an artifact. A file of this machine is read where it is: MLflow would copy it in a thread."""
    file = local_artifact(store, run_id, path)
    if file is not None:
        return file.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        return Path(client(store).download_artifacts(run_id, path, folder)).read_text(encoding="utf-8")


def optional_file(store: Store, run_id: str, path: str, parse: Callable[[str], T]) -> T | None:
    """Return the parsed text of an artifact that a report can do without: None with a warning if it is damaged."""
    return next(whole_records([path], lambda each: read_file(store, run_id, each, parse)), None)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its class."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def number_of_tag(text: str) -> float:
    """Return the number of a tag that is only read by people and totals; 0 for one that was changed by hand."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
