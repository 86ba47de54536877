"""Divide the time of workers among phases, beside the clock of the flow that feeds them.

While it feeds them, the flow's own phases tell nothing: its wall time counts as what its workers did, on average. A
worker is idle from its start to its first cohort, and where none waits for it. What it had under way when it died
counts as training. One that joins later, or leaves, has the time in which it was there.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from nightune.phases import ABSENT, IDLE, TRAINING, Clock
from nightune.tuning.analysis.ledger import mean_count

Phases = dict[str, float]  # phase → seconds


@dataclass
class WorkerTimes:
    """The time of the workers of a command by name, stage and phase; `clock` is that of the flow."""

    clock: Clock
    _spent: dict[str, dict[str, Phases]] = field(default_factory=dict)  # name → stage → phases of ended cohorts
    _busy: dict[str, float] = field(default_factory=dict)  # name → when its cohort began
    _absent: dict[str, Phases] = field(default_factory=dict)  # name → stage → seconds of feeding without it
    _left: dict[str, Phases] = field(default_factory=dict)  # name → stage → seconds of feeding when it left
    _fed: dict[str, Phases] = field(default_factory=dict)  # stage → the flow's own phases while it fed workers
    _before: tuple[str, Phases] | None = None  # the stage in which it feeds them now, and its phases until then

    @contextmanager
    def feeding(self, names: list[str]) -> Iterator[None]:
        """Count the block as time of these workers, and of those that join, in the stage that runs."""
        self.meet(names)
        self._before = (self.clock.stage, self.clock.read().get(self.clock.stage, {}))
        try:
            yield
        finally:
            for name in list(self._busy):
                self.end(name, None)
            self._fed, self._before = self._fed_until(self.clock.read()), None

    def meet(self, names: list[str]) -> None:
        """Note that these workers are there now, and no others."""
        joined = [name for name in names if name not in self._spent or name in self._left]
        left = [name for name in self._spent if name not in names and name not in self._left]
        if not joined and not left:
            return
        fed = {stage: sum(own.values()) for stage, own in self._fed_until(self.clock.read()).items()}
        for name in joined:
            self._absent[name] = self._absences(name, fed) if name in self._spent else dict(fed)
            self._left.pop(name, None)
            self._spent.setdefault(name, {})
        self._left |= dict.fromkeys(left, fed)

    def begin(self, name: str) -> None:
        """Count a worker as busy from now on."""
        self._busy[name] = self.clock.now()

    def end(self, name: str, phases: Mapping[str, float] | None) -> None:
        """Count the phases of a worker's cohort; None: it did not tell them, and all of its time was training."""
        began = self._busy.pop(name, None)
        if began is None:
            return
        spent = self._spent.setdefault(name, {}).setdefault(self.clock.stage, {})
        told = {TRAINING: self.clock.now() - began} if phases is None else phases
        for phase, seconds in told.items():
            spent[phase] = spent.get(phase, 0.0) + seconds

    def read(self) -> tuple[dict[str, Phases], dict[str, dict[str, Phases]]]:
        """Return the seconds until now: of the command by stage, which sum to its wall time, and of each worker."""
        stages = self.clock.read()
        fed = self._fed_until(stages)
        workers = {
            name: {stage: self._of_worker(name, stage, sum(own.values())) for stage, own in fed.items()}
            for name in self._spent
        }
        for stage, own in fed.items():
            together = [stages_of[stage] for stages_of in workers.values()]
            count = mean_count(together)
            if count == 0:
                continue
            held = {name: max(0.0, seconds - own.get(name, 0.0)) for name, seconds in stages[stage].items()}
            for name, seconds in (each for phases in together for each in phases.items() if each[0] != ABSENT):
                held[name] = held.get(name, 0.0) + seconds / count
            stages[stage] = held
        return stages, workers

    def _fed_until(self, stages: dict[str, Phases]) -> dict[str, Phases]:
        fed = {stage: dict(own) for stage, own in self._fed.items()}
        if self._before is not None:
            stage, before = self._before
            held = fed.setdefault(stage, {})
            for name, seconds in stages[stage].items():
                held[name] = held.get(name, 0.0) + seconds - before.get(name, 0.0)
        return fed

    def _absences(self, name: str, fed: Phases) -> Phases:
        """Return the seconds of feeding in which a worker was not there, by stage; `fed` are all until now."""
        held, left = self._absent.get(name, {}), self._left.get(name, fed)
        return {stage: held.get(stage, 0.0) + seconds - left.get(stage, 0.0) for stage, seconds in fed.items()}

    def _of_worker(self, name: str, stage: str, wall_seconds: float) -> Phases:
        """Return the phases of a worker; they sum to the time in which workers were fed."""
        absent = min(wall_seconds, self._absences(name, {stage: wall_seconds})[stage])
        if absent > 0:
            return {**self._of_present(name, stage, wall_seconds - absent), ABSENT: absent}
        return self._of_present(name, stage, wall_seconds)

    def _of_present(self, name: str, stage: str, wall_seconds: float) -> Phases:
        spent = dict(self._spent[name].get(stage, {}))
        if name in self._busy and self._before is not None and self._before[0] == stage:
            spent[TRAINING] = spent.get(TRAINING, 0.0) + self.clock.now() - self._busy[name]
        whole = sum(spent.values())
        if whole > wall_seconds:  # two clocks differ by some microseconds
            return {phase: seconds * wall_seconds / whole for phase, seconds in spent.items()}
        return {**spent, IDLE: spent.get(IDLE, 0.0) + wall_seconds - whole}
