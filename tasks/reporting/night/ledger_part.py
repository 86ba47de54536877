"""The part of the report on what the sweep cost: time by phase, trial, optimizer and rung; energy; money."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightune.phases import (
    ABLATION,
    AUDIT,
    COMPILING,
    CONFIRMATION,
    GATE,
    IDLE,
    PREPARATION,
    SEARCH,
    TRACKING,
    TRAINING,
    VALIDATION,
    WAITING,
)
from nightune.tasks.reporting.night.measure import SPACE, duration, whole
from nightune.tasks.reporting.night.record import Night
from nightune.tasks.reporting.night.tables import Fact, Row
from nightune.tuning.analysis.ledger import JOULES_PER_KWH, SECONDS_PER_HOUR, Ledger, Share, rung_shares, shares
from nightune.vocabulary import counted

MOST_TRIALS = 10
OF_SOME = (
    "Not all trials are in it: earlier versions kept none, or none with --workers or a cluster, and a command that is "
    "killed loses its last seconds."
)
OPTIMIZER = "optimizer"
SEARCH_PHASES = {
    TRAINING: "updates of weights; compiled engines predict the validation rows in the same call",
    COMPILING: "building models, tracing and compiling programs, each with its first call",
    VALIDATION: "metrics of the held-out rows",
    TRACKING: "calls of MLflow that training waited for",
    WAITING: "for the writer of trials, a locked database or a lost server",
    IDLE: "planning, drawing points, Python between trainings; of workers their start, and the wait for the last ones",
}
STAGES = {
    AUDIT: "stopped and halted trials trained to the end",
    CONFIRMATION: "finalists with fresh seeds",
    GATE: "more seeds of the winner, and the sealed rows",
    ABLATION: "the path from the default to the winner",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger; `share` is of the wall time, from 0 to 1."""

    name: str
    said: str
    seconds: float
    share: float
    is_device: bool = False

    @property
    def text(self) -> str:
        """The time."""
        return duration(self.seconds)

    @property
    def percent(self) -> str:
        """The share."""
        return _percent(self.share)


def ledger_part(night: Night) -> dict[str, Any] | None:
    """Return what the template draws; None for a sweep without a ledger."""
    ledger = night.accounts.ledger
    if ledger is None or not ledger.seconds:
        return None
    return {
        "heading": _heading(ledger, has_whole_ledger(night)),
        "facts": _facts(ledger),
        "entries": entries(ledger),
        "tables": _tables(night, ledger),
        "note": _note(ledger) if has_whole_ledger(night) else f"{_note(ledger)} {OF_SOME}",
    }


def has_whole_ledger(night: Night) -> bool:
    """Return True if the ledger has every trial and replicate; else its sums are the least that the sweep took."""
    ledger = night.accounts.ledger
    return ledger is not None and ledger.has_all(each.result for each in (*night.trials, *night.replicates))


def entries(ledger: Ledger) -> list[Entry]:
    """Return the lines of the ledger; they sum to the wall time."""
    search, wall_time = ledger.of_stage(SEARCH), ledger.seconds

    def of_stage(stage: str, said: str) -> list[Entry]:
        phases = ledger.of_stage(stage)
        seconds = sum(phases.values())
        parts = ", ".join(f"{duration(phases[name])} {name}" for name in SEARCH_PHASES if phases[name] > 0.05 * seconds)
        return [Entry(stage.capitalize(), f"{said}: {parts}", seconds, seconds / wall_time)] if seconds else []

    found = of_stage(PREPARATION, "libraries, data, models, the choice of the engine")
    found += [
        Entry(
            name.capitalize(), said, search[name], search[name] / wall_time, name in (TRAINING, COMPILING, VALIDATION)
        )
        for name, said in SEARCH_PHASES.items()
    ]
    return found + [each for stage, said in STAGES.items() for each in of_stage(stage, said)]


def ledger_numbers(night: Night) -> Row | None:
    """Return the numbers of the ledger for `--json`."""
    ledger = night.accounts.ledger
    if ledger is None:
        return None
    return {
        "is_whole": has_whole_ledger(night),
        "seconds": ledger.seconds,
        "device_seconds": ledger.device_seconds,
        "energy_kwh": None if ledger.joules is None else ledger.joules / JOULES_PER_KWH,
        "cost": ledger.cost,
        "phases": {stage: ledger.of_stage(stage) for stage in ledger.stages},
    }


def _heading(ledger: Ledger, is_whole: bool) -> str:
    money = "" if ledger.cost is None else f", which cost {money_text(ledger.cost)}"
    worked = f"{who_worked(ledger).capitalize()} worked for {_percent(ledger.device_share)}"
    text = f"{worked} of {duration(ledger.seconds)}{money}"
    return text if is_whole else f"{text}, in the commands that keep a ledger: the sweep took more"


def who_worked(ledger: Ledger) -> str:
    """Return the subject of a sentence on the time in which the device worked."""
    return "each worker, on average," if ledger.worker_shares else "the device"


def _facts(ledger: Ledger) -> list[Fact]:
    commands = counted(len(ledger.sessions), "command")
    by_price = sorted({each.price_per_hour for each in ledger.sessions if each.price_per_hour is not None})
    price = " and ".join(f"{each:g}" for each in by_price)
    joules, parts = ledger.joules, ", ".join(dict.fromkeys(each.energy_of for each in ledger.sessions))
    energy = "not known" if joules is None else energy_text(joules)
    money = "no price" if ledger.cost is None else money_text(ledger.cost)
    on_average = f", on average over {counted(len(ledger.worker_shares), 'worker')}" if ledger.worker_shares else ""
    some = "of some commands alone" if by_price else "[limits] price_per_hour names one"
    is_cluster, of_machine = any(each.is_cluster for each in ledger.sessions), "by this device"
    if is_cluster:
        some, of_machine = "the price is of one machine, and a cluster trained", "of the machines of a cluster"
    return [
        Fact(duration(ledger.seconds), "wall time", f"of {commands}, without the time between them"),
        Fact(
            f"{whole(ledger.device_seconds)}{SPACE}s",
            "device-seconds",
            f"{_percent(ledger.device_share)} of the wall time{on_average}",
        ),
        Fact(energy, "energy", of_machine if joules is None else f"of the {parts}, whatever ran there"),
        Fact(money, "cost", some if ledger.cost is None else f"at {price} an hour"),
    ]


def _note(ledger: Ledger) -> str:
    names = [each.command for each in ledger.sessions]
    text = ", ".join(f"{name} ({duration(each.seconds)})" for name, each in zip(names, ledger.sessions, strict=True))
    return (
        f"A command counts from the start of its process to its last record, without the drawing of this page: {text}."
    )


def _tables(night: Night, ledger: Ledger) -> list[Row]:
    trainings = ledger.trainings(SEARCH)
    params = {each.result.trial.number: each.result.trial.params for each in night.trials}
    optimizers = {number: str(held[OPTIMIZER]) for number, held in params.items() if OPTIMIZER in held}
    runs = {str(each.result.trial.number): night.link(each.result.run_id) for each in night.trials}
    by_trial = shares(trainings, {number: str(number) for number in params})
    found = [_table("By optimizer", "Optimizer", shares(trainings, optimizers), {})]
    rungs = rung_ends(night)
    if len(rungs) > 1:
        found.append(_table("By rung", "To epoch", rung_shares(trainings, rungs), {}))
    if ledger.worker_shares:
        found.append(_table("By worker: trained, of its own time", "Worker", ledger.worker_shares, {}))
    most = by_trial[:MOST_TRIALS]
    title = "By trial" if len(by_trial) <= MOST_TRIALS else f"By trial: the {MOST_TRIALS} that took most"
    return [each for each in (*found, _table(title, "Trial", most, runs)) if each["rows"]]


def rung_ends(night: Night) -> list[int]:
    """Return the epochs at which trainings of the sweep halt, or end; empty where the study is not recorded."""
    return sorted({rung.epochs for bracket in night.brackets for rung in bracket.rungs})


def _table(title: str, head: str, held: list[Share], links: Mapping[str, str]) -> Row:
    rows = [
        {
            "name": each.name,
            "link": links.get(each.name, ""),
            "trainings": each.trainings,
            "text": duration(each.seconds),
            "mean": duration(each.seconds / max(1, each.trainings)),
            "percent": _percent(each.share),
            "width": round(100 * each.share, 1),
        }
        for each in held
    ]
    return {"title": title, "head": head, "rows": rows, "has_several": any(each.trainings > 1 for each in held)}


def money_text(value: float) -> str:
    """Return an amount with two decimals, or two digits where it is smaller."""
    return f"{value:.2f}" if value >= 0.1 or value == 0 else f"{value:.2g}"


def energy_text(joules: float) -> str:
    """Return watt-hours, or kilowatt-hours from one on."""
    hours = joules / SECONDS_PER_HOUR
    return f"{hours / 1000:.3g}{SPACE}kWh" if hours >= 1000 else f"{hours:.3g}{SPACE}Wh"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}{SPACE}%" if share >= 0.01 or share == 0 else f"<{SPACE}1{SPACE}%"
