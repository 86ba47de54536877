"""Store what a finalist's models answer to the held-out rows, as a file of the finalist's run."""

import json
from dataclasses import asdict

from pydantic import TypeAdapter

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import optional_file
from nightune.tasks.tracking.store.store import Store, client
from nightune.tuning.analysis.held_out.summary import FORMAT, FinalistAnswers


def write_answers(store: Store, run_id: str, answers: FinalistAnswers) -> None:
    """Write the answers to the finalist's run."""
    client(store).log_dict(run_id, asdict(answers), names.HELD_OUT)


def read_answers(store: Store, run_id: str) -> FinalistAnswers | None:
    """Return the answers of a finalist; None if none are recorded, or their file is damaged or of another format."""
    listed = {file.path for file in client(store).list_artifacts(run_id, names.HELD_OUT_FOLDER)}
    return optional_file(store, run_id, names.HELD_OUT, parse_answers) if names.HELD_OUT in listed else None


def parse_answers(text: str) -> FinalistAnswers:
    """Read the answers from the text of their file; ValueError if it is damaged."""
    held = TypeAdapter(FinalistAnswers).validate_python(json.loads(text))
    if held.format != FORMAT:
        raise ValueError(f"format {held.format}; this version reads {FORMAT}")
    return held
