"""What the gate read and what it said, on the sweep's run."""

import json
import logging
import tempfile
import time
from pathlib import Path

from nightune.tasks.tracking.store.names import TAG_LENGTH
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.analysis.promotion_gate import Verdict, as_markdown

logger = logging.getLogger("nightune")

FILE, PAGE = "promotion/verdict.json", "promotion/verdict.md"
READS, VERDICT, QUESTION = "nightune.test_reads", "nightune.verdict", "nightune.verdict_question"


def record_test_read(store: Store, sweep: Sweep, why: str) -> None:
    """Note a read of the sealed test split on the sweep's run, before it happens."""
    tags = client(store).get_run(sweep.run_id).data.tags
    entry = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {why}"
    entries = [*json.loads(tags.get(READS, "[]")), entry]
    client(store).set_tag(sweep.run_id, READS, json.dumps(entries, ensure_ascii=False))
    logger.info("test split · read %d of %s: %s", len(entries), sweep.id, why)


def test_reads(store: Store, sweep: Sweep) -> int:
    """How often any sweep of the study has read the test split of this data version."""
    same = f"tags.`nightune.kind` = 'sweep' and tags.`nightune.data_version` = '{sweep.data_version}'"
    runs = client(store).search_runs([sweep.experiment_id], same, max_results=10_000)
    return sum(len(json.loads(run.data.tags.get(READS, "[]"))) for run in runs)


def write_verdict(store: Store, sweep: Sweep, verdict: Verdict, question: str) -> None:
    """Put the verdict on the sweep's run: files, and tags last, which say that all is there.

    `question` names what was asked: the same question again is answered by the same verdict, without another read.
    """
    from mlflow.entities import RunTag  # noqa: PLC0415 - seconds

    client(store).log_text(sweep.run_id, verdict.as_json(), FILE)
    client(store).log_text(sweep.run_id, as_markdown(verdict), PAGE)
    tags = [RunTag(name, value[:TAG_LENGTH]) for name, value in {**verdict_tags(verdict), QUESTION: question}.items()]
    client(store).log_batch(sweep.run_id, tags=tags)


def read_verdict(store: Store, sweep: Sweep, question: str | None = None) -> Verdict | None:
    """The sweep's verdict, or None where there is none, or none on this question."""
    tags = client(store).get_run(sweep.run_id).data.tags
    if QUESTION not in tags or question not in (None, tags[QUESTION]):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = client(store).download_artifacts(sweep.run_id, FILE, folder)
        return Verdict.from_json(Path(path).read_text(encoding="utf-8"))


def verdict_tags(verdict: Verdict) -> dict[str, str]:
    """Every number of the verdict as tags, for a version and for the sweep's run."""
    tags = {
        VERDICT: str(verdict.decision),
        "nightune.reason": verdict.reason,
        "nightune.measure": verdict.measure,
        "nightune.minimum_gain": repr(verdict.minimum_gain),
        "nightune.test_reads_so_far": str(verdict.test_reads),
        "nightune.guards": json.dumps({guard.name: guard.passed for guard in verdict.guards}),
    }
    for name, gain in (("gain", verdict.gain), ("baseline_gain", verdict.baseline)):
        if gain is not None:
            numbers = {"": gain.gain, "_low": gain.low, "_high": gain.high, "_rows": gain.rows}
            tags |= {f"nightune.{name}{end}": repr(value) for end, value in numbers.items()}
            tags |= {f"nightune.{name}_losses": json.dumps([gain.challenger_loss, gain.opponent_loss])}
    tags |= {f"nightune.test_{name}": repr(value) for name, value in verdict.test_metrics.items()}
    return tags | ({"nightune.because": verdict.because} if verdict.because else {})
