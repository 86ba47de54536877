"""The description of a sweep's run in MLflow: what people wrote, and the report in short, with stills of two figures.

MLflow shows a description as Markdown. An address without a host is that of the server which shows the page; pictures
that stand in the text itself (`data:`) are removed by it (decision 141).
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.artifacts import delete_artifacts
from nightune.tasks.tracking.store.entities import run_tags
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep

PNG = ".png"
BEGIN, END = "<!-- report -->", "<!-- end of the report -->"  # around what a report wrote


@dataclass(frozen=True)
class ShortReport:
    """The report of a sweep in short: Markdown, and what stands in the first tags of its run.

    `stills` are PNG pictures by the name of their figure; they become artifacts of the run, which the text shows.
    """

    text: str
    answer: str = ""
    next_step: str = ""
    stills: Mapping[str, bytes] = field(default_factory=dict)


def write_description(store: Store, sweep: Sweep, question: str, short: ShortReport) -> None:
    """Write the report in short below the question in the description of the sweep's run; keep what people wrote."""
    _attach(store, sweep, short.stills)
    tags = client(store).get_run(sweep.run_id).data.tags
    values = dict(zip(names.FOR_READERS, (short.answer, short.next_step), strict=True))
    values |= _note(sweep, tags.get(names.MLFLOW_NOTE, question), short)
    written = {name: value[: names.TAG_LENGTH] for name, value in values.items()}
    client(store).log_batch(sweep.run_id, tags=run_tags(written))
    _remove_others(store, sweep, short.stills)


def own_text(description: str) -> str:
    """Return what stood in a description before a report was written to it."""
    return description.partition(BEGIN)[0].strip()


def _note(sweep: Sweep, held: str, short: ShortReport) -> dict[str, str]:
    """Return the description with the report in it; nothing if what people wrote leaves no room for it."""
    before, mark, rest = held.partition(BEGIN)
    after = rest.partition(END)[2] if mark else ""
    shown = "".join(f"\n\n{_picture(sweep, name)}" for name in short.stills)
    room = names.TAG_LENGTH - len(before) - len(after) - len(BEGIN) - len(END) - len(shown) - 4
    if room <= 0:
        return {}
    return {names.MLFLOW_NOTE: f"{before.rstrip()}\n\n{BEGIN}\n{short.text[:room]}{shown}\n{END}{after}"}


def _attach(store: Store, sweep: Sweep, stills: Mapping[str, bytes]) -> None:
    if not stills:
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, png in stills.items():
            Path(folder, f"{name}{PNG}").write_bytes(png)
        client(store).log_artifacts(sweep.run_id, folder, names.REPORT_FOLDER)


def _remove_others(store: Store, sweep: Sweep, stills: Mapping[str, bytes]) -> None:
    """Delete the pictures of an earlier report that this one does not have: its sweep had fewer trials."""
    drawn = {f"{names.REPORT_FOLDER}/{name}{PNG}" for name in stills}
    held = [str(each.path) for each in client(store).list_artifacts(sweep.run_id, names.REPORT_FOLDER)]
    for path in held:
        if path.endswith(PNG) and path not in drawn:
            delete_artifacts(store, sweep.run_id, path)


def _picture(sweep: Sweep, name: str) -> str:
    query = urlencode({"path": f"{names.REPORT_FOLDER}/{name}{PNG}", "run_uuid": sweep.run_id})
    return f"![{name.capitalize()}](get-artifact?{query})"
