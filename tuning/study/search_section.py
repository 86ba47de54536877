"""The section [search] of a study file: how trials are chosen, how long they train, and what ends the search."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from nightune.tuning.search.methods import DEFAULT_METHOD, METHODS, Method, SearchMethod, names_of
from nightune.tuning.study.ends import ENDS, MOST_TRIALS, end_text, read_time
from nightune.tuning.study.population import POPULATION, PopulationKeys, population_clashes
from nightune.tuning.study.section import LIMIT_COUNT, Clash, Count, Switch, Text
from nightune.vocabulary import listing, shown

Start = Literal["portfolio", "none"]
MAY_END_EARLY = names_of(lambda row: row.may_end_early)
MAY_HAVE_RUNGS = names_of(lambda row: row.drops != "never")
OF_RUNGS = ("reduction_factor", "smallest_epochs")  # keys that only rungs read
Hours = Annotated[float, Field(gt=0, allow_inf_nan=False, description="a number of hours above 0")]


class SearchSection(PopulationKeys):
    """How trials are chosen and how long they train. Grid, hyperband and pbt determine the number of trials themselves.

    `audit` is the share of stopped trials that are trained to the end after the search; it changes no trial.

    The defaults were measured on published tables: rungs at 3, 6, 12, 25 and 50 epochs kept the winner of 50 full
    trainings in 88% of them, at a fifth of the cost; factor 3 from 2 epochs kept it in 54%.

    `start` chooses the first trials: the configurations of the shipped portfolio, which `auto` begins with by itself.
    `auto`, the default, has rungs if its epochs suffice for two, and nothing in the study needs full trainings; with
    `smallest_epochs` as large as `epochs` it has none.

    A random search and a model's may also end before its last trial: by all epochs trained, by hours of the sweep or of
    its trainings, at a time of day, or after so many trials without a better one. It then has up to 1000 `trials`.

    `pbt` trains a `population`. After each `perturb_every` epochs, by default a tenth, the worst share `truncation` of
    it is replaced by continuations of the best, with values times one of `perturb_factors`, or drawn anew with
    `resample_probability`.
    """

    method: Method = DEFAULT_METHOD
    trials: Count | None = None
    epochs: Count
    reuse: Switch = False
    reduction_factor: Annotated[int, Field(ge=2, le=10, description="a whole number from 2 to 10")] | None = None
    smallest_epochs: Count | None = None
    total_epochs: Count | None = None
    hours: Hours | None = None
    device_hours: Hours | None = None
    until: Annotated[Text, AfterValidator(read_time)] | None = None
    patience: Count | None = None
    history: Switch | None = None
    start: Start | None = None
    audit: Annotated[float, Field(gt=0, le=1, description="a share above 0, at most 1")] | None = None

    @model_validator(mode="before")
    @classmethod
    def _infer_trials(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("method", DEFAULT_METHOD) not in MAY_END_EARLY:
            return given
        has_end = any(given.get(name) is not None for name in ENDS)
        return {**given, "trials": MOST_TRIALS} if has_end and given.get("trials") is None else given

    @property
    def row(self) -> SearchMethod:
        """What its method is."""
        return METHODS[self.method]

    @property
    def ends(self) -> dict[str, object]:
        """What ends the search beside its number of trials, by key: the keys that are set."""
        return {name: value for name in ENDS if (value := getattr(self, name)) is not None}

    @property
    def ends_in_words(self) -> tuple[str, ...]:
        """The ends as they stand in a study: `hours = 8`."""
        return tuple(end_text(name, value) for name, value in self.ends.items())

    def uses_history(self, is_night: bool) -> bool:
        """True if a sweep begins with the best points of earlier ones: as set, or in nights; not of a grid or pbt."""
        return self.method not in ("grid", POPULATION) and (is_night if self.history is None else self.history)

    @property
    def factor(self) -> int:
        """Each rung trains 1/factor of the trials of the previous one, factor times as long."""
        return self.reduction_factor or 2

    @property
    def has_rungs(self) -> bool:
        """True if the best trials of a round continue and the others are dropped."""
        if self.method == "auto":
            if self.smallest_epochs is not None:
                return self.smallest_epochs != self.epochs
            return not self.reuse and self.epochs >= self.least_epochs
        return self.row.drops == "always" or (self.row.drops == "if asked" and self.smallest_epochs is not None)

    @property
    def keys_of_rungs(self) -> tuple[str, ...]:
        """The keys that only rungs read, as far as they are set."""
        return tuple(name for name in OF_RUNGS if getattr(self, name) is not None)

    @property
    def chooses_rungs(self) -> bool:
        """True if the method decides whether it has rungs, since the study says nothing of them."""
        return self.method == "auto" and not self.keys_of_rungs

    @property
    def least_epochs(self) -> int:
        """The epochs of a trial that suffice for two rungs."""
        return self.factor * self.first_rung_epochs

    def in_full(self) -> Self:
        """Return the section of `auto` without rungs."""
        return self.model_copy(update={"smallest_epochs": self.epochs})

    @property
    def is_default(self) -> bool:
        """True if the study sets no method."""
        return "method" not in self.model_fields_set

    @property
    def begins_with_portfolio(self) -> bool:
        """True if the first trials are the portfolio's: as set, or by the method."""
        return self.start == "portfolio" or (self.start is None and self.method == "auto")

    @property
    def adapts_rungs(self) -> bool:
        """True if later rounds leave out first rungs whose ranks disagree with those of later ones."""
        return self.method == "auto" and self.has_rungs

    @property
    def first_rung_epochs(self) -> int:
        """The minimum length of a rung."""
        return self.smallest_epochs or 3

    def clashes(self) -> Iterator[Clash]:
        """Check the number of trials and the keys of rungs against the method."""
        is_sound = "epochs" in self.model_fields_set  # else that is a problem of its own, and clashes with it are none
        yield from (self if is_sound else self.model_copy(update={"epochs": LIMIT_COUNT}))._clashes()

    def _clashes(self) -> Iterator[Clash]:
        if self.row.counted and self.trials is None:
            whose = f"{self.row.counted}{', the default method' if self.is_default else ''}"
            yield Clash(("method", "trials", *ENDS), "trials", f"missing; needed for {whose}")
        if self.row.own_count and self.trials is not None:
            message = f"{self.trials}, but {self.row.own_count}; remove it, or use method 'random'"
            yield Clash(("method", "trials"), "trials", message)
        yield from self._end_clashes()
        yield from population_clashes(self)
        if self.method == "grid" and self.history:
            yield Clash(("method", "history"), "history", "true, but a grid trains all its points; remove it")
        if self.method == "grid" and self.start == "portfolio":
            message = f"{shown(self.start)}, but a grid trains all its points; remove it, or use method 'random'"
            yield Clash(("method", "start"), "start", message)
        yield from self._rung_clashes() if self.has_rungs else self._rungless_clashes()

    def _end_clashes(self) -> Iterator[Clash]:
        if not self.row.may_end_early:
            for name, value in self.ends.items():
                message = f"{shown(value)}, but {self.method} has no winner before all its trials are trained"
                yield Clash(("method", name), name, f"{message}; remove it ({listing(MAY_END_EARLY)})")
        if self.total_epochs is not None and self.total_epochs < self.epochs:
            message = f"{self.total_epochs} are fewer than one trial's epochs, {self.epochs}"
            yield Clash(("epochs", "total_epochs"), "total_epochs", message)

    def _rungless_clashes(self) -> Iterator[Clash]:
        if self.row.drops == "if asked" and (self.method == "auto" or self.reduction_factor is not None):
            return  # whether that can have rungs depends on the whole study (full_trainings.py)
        for name in OF_RUNGS:
            if getattr(self, name) is not None:
                message = f"{getattr(self, name)} is read only by methods with rungs; remove it"
                message = f"{message} ({listing(MAY_HAVE_RUNGS)})"
                yield Clash(("method", name), name, message)

    def _rung_clashes(self) -> Iterator[Clash]:
        needed = self.least_epochs
        if self.epochs < needed:
            message = f"{self.epochs} are too few for a first rung of {self.first_rung_epochs} epochs"
            fields = ("method", "epochs", "reduction_factor", "smallest_epochs")
            yield Clash(fields, "epochs", f"{message} (allowed: reduction_factor × smallest_epochs = {needed} or more)")
        if self.row.drops == "always" and self.trials is not None and self.trials < self.factor:
            message = f"{self.trials} are too few to drop any (allowed: {self.factor} or more, the reduction factor)"
            yield Clash(("method", "trials", "reduction_factor"), "trials", message)
        if self.reuse:
            remedy = "remove smallest_epochs" if self.row.drops == "if asked" else "use method 'auto' or 'random'"
            message = f"true, but trials of an earlier sweep have other rungs; remove it, or {remedy}"
            yield Clash(("method", "reuse", "smallest_epochs"), "reuse", message)
