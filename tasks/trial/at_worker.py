"""What a worker adds to the training of a cohort."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nightune.tasks.tracking.trials.attempts import Attempt
from nightune.tasks.trial.crash_log import Crash


@dataclass(frozen=True)
class AtWorker:
    """A worker's attempt at the trials of a cohort, and the runs to resume by trial key.

    `given_up` are the deaths by trial key that are counted on other machines, too. A worker that `opens_first` takes a
    trial's run before it trains, so that the run says which trial was in training when a whole machine was lost.
    """

    attempt: Attempt
    unfinished: Mapping[str, Any]
    given_up: Mapping[str, Crash] = field(default_factory=dict)
    opens_first: bool = False
