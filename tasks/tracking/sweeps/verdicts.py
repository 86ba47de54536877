"""Store reads of the test split and the gate's verdict on the sweep's run."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict

from pydantic import TypeAdapter

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.entities import run_tags
from nightune.tasks.tracking.store.errors import DamagedRecordError
from nightune.tasks.tracking.store.records import Record, optional_file
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.analysis.promotion_gate import Verdict, as_markdown

logger = logging.getLogger("nightune")


def record_test_read(store: Store, sweep: Sweep, why: str) -> None:
    """Record a read of the sealed test split on the sweep's run, before it happens."""
    tags = client(store).get_run(sweep.run_id).data.tags
    entry = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {why}"
    entries = [*_read_entries(tags), entry]
    client(store).set_tag(sweep.run_id, names.TEST_READS, json.dumps(entries, ensure_ascii=False))
    logger.info("test split · read %d of %s: %s", len(entries), sweep.id, why)


def test_reads(store: Store, sweep: Sweep) -> int:
    """Return how often the study's sweeps have read the test split of this data version."""
    same = f"{names.tag_equals(names.KIND, 'sweep')} and {names.tag_equals(names.DATA_VERSION, sweep.data_version)}"
    runs = client(store).search_runs([sweep.experiment_id], same, max_results=10_000)
    return sum(len(_read_entries(run.data.tags)) for run in runs)


def _read_entries(tags: Mapping[str, str]) -> list[str]:
    """Return the recorded reads; the text of a damaged tag counts as one, since a read must not be forgotten."""
    try:
        return Record("", tags).texts(names.TEST_READS)
    except DamagedRecordError:
        return [tags[names.TEST_READS]]


def write_verdict(store: Store, sweep: Sweep, verdict: Verdict, question: str) -> None:
    """Write the verdict to the sweep's run: first the files, then the tags, which mark it complete.

    `question` identifies what was judged: the same question again returns the same verdict, without another read.
    """
    client(store).log_text(sweep.run_id, verdict.as_json(), names.VERDICT_JSON)
    client(store).log_text(sweep.run_id, as_markdown(verdict), names.VERDICT_PAGE)
    tags = {**verdict_tags(verdict), names.VERDICT_QUESTION: question}
    cut = {name: value[: names.TAG_LENGTH] for name, value in tags.items()}
    client(store).log_batch(sweep.run_id, tags=run_tags(cut))


def read_verdict(store: Store, sweep: Sweep, question: str | None = None) -> Verdict | None:
    """Return the sweep's verdict; None if there is none, none for this question, or its file is damaged."""
    tags = client(store).get_run(sweep.run_id).data.tags
    if names.VERDICT_QUESTION not in tags or question not in (None, tags[names.VERDICT_QUESTION]):
        return None
    return optional_file(store, sweep.run_id, names.VERDICT_JSON, parse_verdict)


def parse_verdict(text: str) -> Verdict:
    """Read a verdict from the text of its file; ValueError if it is damaged."""
    return TypeAdapter(Verdict).validate_python(json.loads(text))


def verdict_tags(verdict: Verdict) -> dict[str, str]:
    """Return every number of the verdict as tags, for a version and for the sweep's run."""
    tags = {
        names.VERDICT: str(verdict.decision),
        names.REASON: verdict.reason,
        names.MEASURE: verdict.measure,
        names.MINIMUM_GAIN: repr(verdict.minimum_gain),
        names.TEST_READS_SO_FAR: str(verdict.test_reads),
        names.GUARDS: json.dumps({guard.name: guard.passed for guard in verdict.guards}),
    }
    for tag, gain in ((names.GAIN, verdict.gain), (names.BASELINE_GAIN, verdict.baseline)):
        if gain is not None:
            numbers = {"": gain.gain, "_low": gain.low, "_high": gain.high, "_rows": gain.rows}
            tags |= {f"{tag}{end}": repr(value) for end, value in numbers.items()}
            tags |= {f"{tag}_losses": json.dumps([gain.challenger_loss, gain.opponent_loss])}
    if verdict.values is not None:
        tags[names.METRIC_VALUES] = json.dumps(asdict(verdict.values))
    tags |= {f"{names.TEST_METRIC}{name}": repr(value) for name, value in verdict.test_metrics.items()}
    return tags | ({names.BECAUSE: verdict.because} if verdict.because else {})
