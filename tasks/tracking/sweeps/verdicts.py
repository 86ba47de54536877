"""Store reads of the test split and the gate's verdict on the sweep's run."""

import json
import logging
import tempfile
import time
from pathlib import Path

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.analysis.promotion_gate import Verdict, as_markdown

logger = logging.getLogger("nightune")


def record_test_read(store: Store, sweep: Sweep, why: str) -> None:
    """Record a read of the sealed test split on the sweep's run, before it happens."""
    tags = client(store).get_run(sweep.run_id).data.tags
    entry = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {why}"
    entries = [*json.loads(tags.get(names.TEST_READS, "[]")), entry]
    client(store).set_tag(sweep.run_id, names.TEST_READS, json.dumps(entries, ensure_ascii=False))
    logger.info("test split · read %d of %s: %s", len(entries), sweep.id, why)


def test_reads(store: Store, sweep: Sweep) -> int:
    """Return how often the study's sweeps have read the test split of this data version."""
    same = f"{names.tag_equals(names.KIND, 'sweep')} and {names.tag_equals(names.DATA_VERSION, sweep.data_version)}"
    runs = client(store).search_runs([sweep.experiment_id], same, max_results=10_000)
    return sum(len(json.loads(run.data.tags.get(names.TEST_READS, "[]"))) for run in runs)


def write_verdict(store: Store, sweep: Sweep, verdict: Verdict, question: str) -> None:
    """Write the verdict to the sweep's run: first the files, then the tags, which mark it complete.

    `question` identifies what was judged: the same question again returns the same verdict, without another read.
    """
    from mlflow.entities import RunTag  # noqa: PLC0415 - seconds

    client(store).log_text(sweep.run_id, verdict.as_json(), names.VERDICT_JSON)
    client(store).log_text(sweep.run_id, as_markdown(verdict), names.VERDICT_PAGE)
    tags = [
        RunTag(name, value[: names.TAG_LENGTH])
        for name, value in {**verdict_tags(verdict), names.VERDICT_QUESTION: question}.items()
    ]
    client(store).log_batch(sweep.run_id, tags=tags)


def read_verdict(store: Store, sweep: Sweep, question: str | None = None) -> Verdict | None:
    """Return the sweep's verdict, or None if there is none, or none for this question."""
    tags = client(store).get_run(sweep.run_id).data.tags
    if names.VERDICT_QUESTION not in tags or question not in (None, tags[names.VERDICT_QUESTION]):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = client(store).download_artifacts(sweep.run_id, names.VERDICT_JSON, folder)
        return Verdict.from_json(Path(path).read_text(encoding="utf-8"))


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
    tags |= {f"{names.TEST_METRIC}{name}": repr(value) for name, value in verdict.test_metrics.items()}
    return tags | ({names.BECAUSE: verdict.because} if verdict.because else {})
