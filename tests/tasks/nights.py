"""Sweeps to report on, in memory and in a store."""

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.night.record import Night
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.origins import Origin
from nightune.tasks.tracking.sweeps.sweeps import Sweep, SweepStatus
from nightune.tasks.tracking.trials.recorded import RecordedTrial
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tuning.analysis.confirmation import Confirmation, Finalist, confirm
from nightune.tuning.analysis.metric_values import MetricValues
from nightune.tuning.analysis.paired_gain import Gain
from nightune.tuning.analysis.promotion_gate import Candidate, Decision, Guard, Verdict
from nightune.tuning.trial import Status, Trial, TrialResult
from tests.tasks.conftest import result_of

HOSTILE = '</script><!--\u2028<img src=x onerror=alert(1)>it\'s "{{ 7777 * 7 }}"'
EXPRESSIONS = ("test", "calculate", "filter", "labelExpr", "expr", "signal", "update")  # of Vega-Lite
SCORES = (0.9, 0.962, 0.5, 0.981, 0.94, 0.977)
ACCURACY = Sweep(
    "flowers-0", 0, "sweep-run", "1", SweepStatus.COMPLETE, "digest", "data", "val_accuracy", "maximize", 6
)


def result(number: int, score: float, **changes: Any) -> TrialResult:
    """A trial with this objective, whose run is `run-NUMBER`."""
    trial = Trial(number, {"rate": 0.1 * (number + 1), "note": f"{HOSTILE}{number}"}, seed=1, key=f"{number:016x}")
    values = {"objective": score, "run_id": f"run-{number}", "epochs": 4, "best_epoch": 3} | changes
    return result_of(trial, **values)


def night(results: list[TrialResult], sweep: Sweep = ACCURACY, **changes: Any) -> Night:
    """A sweep of these results in memory, each with curves of three epochs."""
    trials = tuple(RecordedTrial(each, ended=100.0 + place) for place, each in enumerate(results))
    curve = {1: 0.4, 2: 0.6, 3: 0.8}
    names = (sweep.metric, "loss", "val_loss", "learning_rate", "batch_size")
    curves = {each.trial.number: {name: dict(curve) for name in names} for each in results}
    known: dict[str, Any] = {"origin": Origin(started=90.0), "trials": trials, "curves": curves}
    return Night(study="flowers", sweep=sweep, **(known | changes))


def confirmation(*means: float, direction: str = "maximize") -> Confirmation:
    """Finalists 0, 1, … with three seeds around these means."""
    finalists = [
        Finalist(n, f"{n:016x}", f"run-{n}", mean + 0.01, (mean - 0.004, mean, mean + 0.004), 100, 1.0)
        for n, mean in enumerate(means)
    ]
    return confirm(finalists, direction, "parameters", 0.95, seed=0)


def verdict(decision: Decision, trial: int = 0, against: int | None = 1, **changes: Any) -> Verdict:
    """A verdict on a trial, by accuracies of 0.97 (candidate), 0.96 (champion) and 0.1 (a guess)."""
    gain = Gain(0.01, -0.002, 0.022, 0.95, 0.03, 0.04, 3, 3, 360, 0.001)
    baseline = Gain(0.87, 0.84, 0.9, 0.95, 0.03, 0.9, 3, 1, 360, 0.001)
    candidate = Candidate("flowers", "flowers-0", "data", trial, f"{trial:016x}", f"run-{trial}", 0.98, 0.97)
    known = {
        "gain": None if against is None else gain,
        "baseline": baseline,
        "values": MetricValues("val_accuracy", "maximize", 0.97, 0.1, None if against is None else 0.96),
        "guards": (Guard("size", True, "0.1 MB (no limit)"),),
    }
    fixed: dict[str, Any] = {"measure": "val_accuracy", "minimum_gain": 0.0, "is_close": False}
    return Verdict(candidate, decision, "a reason", against=against, **(fixed | known | changes))


def log_trial(store: Store, sweep: Sweep, data: PreparedData, number: int, losses: list[float], **changes: Any) -> str:
    """Log a trial with these validation losses by epoch; its objective is the lowest one."""
    params = {"learning_rate.peak": 0.1 * (number + 1), "note": f"{HOSTILE}{number}"}
    trial = Trial(number, params, seed=1, key=f"{number:016x}")
    log = TrialLog(store, sweep, trial, {}, data)
    for epoch, loss in enumerate(losses, start=1):
        log.log_epoch(epoch, {"loss": loss / 2, "val_loss": loss, "learning_rate": 0.1, "batch_size": 8.0})
    best = min(losses, default=float("nan"))
    known = {"objective": best, "best_epoch": losses.index(best) + 1 if losses else 0, "epochs": len(losses)}
    return log.finish(result_of(trial, **(known | changes)), None)


def failed(number: int, message: str) -> TrialResult:
    """A trial that failed."""
    return result(number, float("nan"), status=Status.FAILED, best_epoch=0, epochs=0, message=message)


class Page(HTMLParser):
    """The elements, the links and the text of a page, and its JSON by the id of the element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.addresses: list[str] = []
        self.sort_values: list[str] = []
        self.text = ""
        self.json: dict[str, Any] = {}
        self._script: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        held = dict(attrs)
        self.addresses += [str(held[name]) for name in ("href", "src", "action", "srcset") if name in held]
        self.sort_values += [str(held["data-v"])] if "data-v" in held else []
        self._script = held.get("id") or "" if tag == "script" else "" if tag == "style" else None

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.text += data
        elif self._script:
            self.json[self._script] = json.loads(data)


def drawn(subject: Any) -> Page:
    """The page of a night."""
    return Page(draw_page(subject, Context("flowers.toml", "sqlite:///mlruns/mlflow.db")))


def expressions(value: Any) -> Iterator[str]:
    """Every text in specifications of Vega-Lite that is run as an expression."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from [each] if key in EXPRESSIONS and isinstance(each, str) else expressions(each)
    elif isinstance(value, list):
        for each in value:
            yield from expressions(each)
