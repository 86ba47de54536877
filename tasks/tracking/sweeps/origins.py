"""Read where a sweep comes from: its start, study, seed, commit, device and environment; and attach its report."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightune.models.training.reported_names import AS_ASKED
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.artifacts import local_artifact
from nightune.tasks.tracking.store.records import optional_file
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.descriptions import own_text
from nightune.tasks.tracking.sweeps.sweeps import Sweep, parse_content, read_environment


@dataclass(frozen=True, slots=True)
class Origin:
    """What a sweep was started from. Empty where a sweep does not record it, or the record is damaged.

    `started` is in seconds since 1970. `text` is the study file of the time, `written` its tables, and `overrides` are
    the options of `nightune tune` by which the sweep differs from it.
    """

    started: float
    question: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)
    written: Mapping[str, Any] | None = None
    text: str = ""
    overrides: tuple[str, ...] = ()
    commit: str = ""
    is_changed: bool = False  # files differed from the commit
    device: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def read_origin(store: Store, sweep: Sweep) -> Origin:
    """Read a sweep's origin from its run."""
    run = client(store).get_run(sweep.run_id)
    tags = run.data.tags
    content = optional_file(store, sweep.run_id, names.STUDY_CONTENT, parse_content) or {}
    study_file = f"{names.STUDY_FOLDER}/{sweep.id.rpartition('-')[0]}.toml"
    text = optional_file(store, sweep.run_id, study_file, _whole_toml)
    written = None if text is None else tomllib.loads(text)
    return Origin(
        started=run.info.start_time / 1000,
        question=_question(written, tags.get(names.MLFLOW_NOTE, "")),
        content=content,
        written=written,
        text=text or "",
        overrides=(*(() if written is None else _overrides(written, content)), *_engine(tags)),
        commit=tags.get(names.MLFLOW_COMMIT, ""),
        is_changed=tags.get(names.GIT_CHANGED) == "true",
        device=tags.get(names.DEVICE, ""),
        environment=optional_file(store, sweep.run_id, names.ENVIRONMENT, read_environment) or {},
    )


def _whole_toml(text: str) -> str:
    """Return the text of a study; ValueError if it is damaged."""
    tomllib.loads(text)
    return text


def write_page(store: Store, sweep: Sweep, page: str) -> Path | None:
    """Attach the report to the sweep's run; return the file in the store, or None if a server keeps it."""
    client(store).log_text(sweep.run_id, page, names.REPORT_PAGE)
    return local_artifact(store, sweep.run_id, names.REPORT_PAGE)


def _question(written: Mapping[str, Any] | None, note: str) -> str:
    question = None if written is None else written.get("question")
    return question if isinstance(question, str) else own_text(note)


def _engine(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the option of an engine that was asked for."""
    if not tags.get(names.ENGINE_REASON, "").startswith(AS_ASKED):
        return ()
    return ("--engine", "fit" if tags[names.ENGINE] == "fit" else "compiled")


def _overrides(written: Mapping[str, Any], content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options that turn the study file into the sweep's content."""
    found: list[str] = []
    search, known = written.get("search"), content.get("search", {})
    for name in ("trials", "epochs"):
        file_value = search.get(name) if isinstance(search, dict) else None
        if file_value is not None and known.get(name) not in (None, file_value):
            found += [f"--{name}", str(known[name])]
    if "seed" in content and content["seed"] != written.get("seed", 0):
        found += ["--seed", str(content["seed"])]
    return tuple(found)
