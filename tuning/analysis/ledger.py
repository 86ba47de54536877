"""What a sweep cost: the time of each phase, of each trial, optimizer and rung, its energy and its money."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nightune.phases import ABLATION, ABSENT, AUDIT, COMPILING, IDLE, TRACKING, TRAINING, VALIDATION, WAITING
from nightune.tuning.trial import TrialResult

ON_DEVICE = (TRAINING, COMPILING, VALIDATION)
PHASES = (TRAINING, COMPILING, VALIDATION, TRACKING, WAITING, IDLE)
SECONDS_PER_HOUR = 3600.0
JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True)
class Training:
    """One training of a trial, or the part of it up to a rung, in seconds of one device.

    `replicate` is 0 for the trial itself; `epochs` is the epoch at which it ended, 0 if it was interrupted, and `begin`
    the one after which it began: that of a rung, a snapshot or the trial that it continues. Trainings that a device
    computed at once (`is_shared`) do not know their seconds of compilation and validation; theirs are a share of the
    whole.
    """

    trial: int
    replicate: int
    stage: str
    epochs: int
    seconds: float  # compilation and validation included
    compiling: float = 0.0
    validation: float = 0.0
    is_shared: bool = False
    begin: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """The work of one command on a sweep. `began` is in seconds since 1970; `joules` is None without a counter.

    While workers train, the wall time is divided as theirs is, on average over the workers, by the time in which each
    was there. A cluster (`is_cluster`) has neither energy nor price: they are of one machine.
    """

    command: str
    began: float
    stages: Mapping[str, Mapping[str, float]]  # stage → phase → seconds; they sum to the session's wall time
    trainings: tuple[Training, ...] = ()
    joules: float | None = None
    energy_of: str = ""  # the parts of the machine whose counters were read
    price_per_hour: float | None = None
    workers: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)  # name → stage → phase → s
    is_cluster: bool = False

    @property
    def seconds(self) -> float:
        """The wall time."""
        return sum(sum(phases.values()) for phases in self.stages.values())

    def device_seconds(self, stage: str) -> float:
        """Return the seconds in which devices worked for a stage: those of workers are added, not averaged."""
        together = [stages.get(stage, {}) for stages in self.workers.values()]
        of_workers, count = sum(map(_on_device, together)), mean_count(together)
        mean = of_workers / count if count else 0.0
        return _on_device(self.stages.get(stage, {})) - mean + of_workers


@dataclass(frozen=True, slots=True)
class Share:
    """What one trial, optimizer or rung took of the time in which the device worked for the search."""

    name: str
    trainings: int
    seconds: float
    share: float


@dataclass(frozen=True)
class Ledger:
    """All commands that worked on a sweep, in order."""

    sessions: tuple[Session, ...] = field(default_factory=tuple)

    @property
    def seconds(self) -> float:
        """The wall time of all commands; time between them is not part of it."""
        return sum(each.seconds for each in self.sessions)

    @property
    def device_seconds(self) -> float:
        """The seconds in which a device compiled, trained or validated; those of workers are added."""
        return sum(each.device_seconds(stage) for each in self.sessions for stage in each.stages)

    @property
    def device_share(self) -> float:
        """The part of the wall time in which the device worked, from 0 to 1: the mean of those that train together."""
        return sum(self.of_phase(name) for name in ON_DEVICE) / self.seconds if self.seconds else 0.0

    @property
    def worker_shares(self) -> list[Share]:
        """What each worker trained, compiled and validated, and the part that this is of its own time, by name.

        Workers of one name in several commands are one.
        """
        spent: dict[str, list[float]] = {}
        for name, stages in ((name, stages) for each in self.sessions for name, stages in each.workers.items()):
            held = spent.setdefault(name, [0.0, 0.0])
            held[0] += sum(map(_on_device, stages.values()))
            held[1] += sum(seconds for phases in stages.values() for name, seconds in phases.items() if name != ABSENT)
        return [Share(name, 0, device, device / whole if whole else 0.0) for name, (device, whole) in spent.items()]

    @property
    def joules(self) -> float | None:
        """The energy; None if a command's machine has no counter that can be read."""
        known = [each.joules for each in self.sessions if each.joules is not None]
        return sum(known) if known and len(known) == len(self.sessions) else None

    @property
    def cost(self) -> float | None:
        """The money, in the unit of the price; None if a command had no price."""
        priced = [
            each.seconds / SECONDS_PER_HOUR * each.price_per_hour
            for each in self.sessions
            if each.price_per_hour is not None
        ]
        return sum(priced) if priced and len(priced) == len(self.sessions) else None

    def has_all(self, trained: Iterable[TrialResult]) -> bool:
        """True if the commands trained all of these trials and replicates; else the sums are of some commands alone.

        Earlier versions kept no ledger, or none with several workers or a cluster, and a killed command loses its last
        seconds.
        """
        held = [each for session in self.sessions for each in session.trainings if each.stage not in (ABLATION, AUDIT)]
        known = {(each.trial, each.replicate) for each in held}
        return all((each.trial.number, each.trial.replicate) in known for each in trained if each.epochs)

    @property
    def stages(self) -> list[str]:
        """The names of the stages, in the order in which they first began."""
        return list(dict.fromkeys(name for each in self.sessions for name in each.stages))

    def of_stage(self, stage: str) -> dict[str, float]:
        """Return the seconds of a stage by phase."""
        found = dict.fromkeys(PHASES, 0.0)
        for session in self.sessions:
            for name, seconds in session.stages.get(stage, {}).items():
                found[name] = found.get(name, 0.0) + seconds
        return found

    def of_phase(self, phase: str) -> float:
        """Return the seconds of a phase in all stages."""
        return sum(self.of_stage(stage).get(phase, 0.0) for stage in self.stages)

    def trainings(self, stage: str) -> list[Training]:
        """Return the trainings of a stage; those that shared the device have their part of the stage's time."""
        held = [each for session in self.sessions for each in session.trainings if each.stage == stage]
        together, whole = sum(each.seconds for each in held), sum(each.device_seconds(stage) for each in self.sessions)
        if not any(each.is_shared for each in held) or together <= 0:
            return held
        return [_scaled(each, whole / together) for each in held]


def mean_count(workers: Sequence[Mapping[str, float]]) -> float:
    """Return how many workers there were on average: `workers` are the phases of each, all of one sum."""
    whole = sum(sum(phases.values()) for phases in workers)
    absent = sum(phases.get(ABSENT, 0.0) for phases in workers)
    return len(workers) * (1.0 - absent / whole) if whole else float(len(workers))


def shares(trainings: Iterable[Training], names: Mapping[int, str]) -> list[Share]:
    """Return what the trials of each name took, the largest first; `names` by trial, others are left out."""
    named = [(names[each.trial], each) for each in trainings if each.trial in names]
    return sorted(_shares(named), key=lambda share: -share.seconds)


def rung_shares(trainings: Iterable[Training], rungs: Iterable[int]) -> list[Share]:
    """Return what the trainings up to each rung took. A training belongs to the first rung that its last epoch reaches.

    `rungs` are the epochs at which trainings halt, or end.
    """
    ends = sorted(set(rungs))
    named = [(next((str(end) for end in ends if each.epochs <= end), str(ends[-1])), each) for each in trainings]
    return sorted(_shares(named), key=lambda share: int(share.name))


def _shares(named: list[tuple[str, Training]]) -> list[Share]:
    whole = sum(each.seconds for _, each in named)
    groups: dict[str, list[float]] = {}
    for name, each in named:
        groups.setdefault(name, []).append(each.seconds)
    return [
        Share(name, len(seconds), sum(seconds), sum(seconds) / whole if whole else 0.0)
        for name, seconds in groups.items()
    ]


def _on_device(phases: Mapping[str, float]) -> float:
    return sum(phases.get(name, 0.0) for name in ON_DEVICE)


def _scaled(training: Training, factor: float) -> Training:
    return replace(training, seconds=training.seconds * factor)
