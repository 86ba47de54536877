"""Thresholds of heads that equal the default ask the gate no other question, and name no other version."""

from types import SimpleNamespace
from typing import Any

import pytest

from nightune.tasks import judge_winner
from nightune.tasks.promote_model import _refuse_other_threshold
from nightune.tasks.tracking.store import names
from nightune.tuning.errors import StudyError
from nightune.tuning.study.objective import Objective
from nightune.tuning.study.sections import Limits, PromotionSection


def setting(threshold: Any) -> Any:
    given = {} if threshold is None else {"threshold": threshold}
    study = SimpleNamespace(objective=Objective(**given), promotion=PromotionSection(), limits=Limits(), path="s.toml")
    return SimpleNamespace(study=study, store=None, sweep=None)


def question(threshold: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    asked: list[str] = []

    def read(_store: Any, _sweep: Any, key: str) -> Any:
        asked.append(key)
        return SimpleNamespace(guards=())

    monkeypatch.setattr(judge_winner, "read_verdict", read)
    candidate: Any = SimpleNamespace(key="k", run_id="r", siblings=())
    judge_winner.verdict_on(setting(threshold), candidate, candidate, None, lambda: None)
    return asked[0]


def test_a_threshold_of_a_head_that_is_the_default_is_no_other_question(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = question(None, monkeypatch)
    assert question({"ripe": 0.5}, monkeypatch) == question(0.5, monkeypatch) == plain
    assert question({"ripe": 0.5, "sold": "f1"}, monkeypatch) == question({"sold": "f1"}, monkeypatch) != plain


def test_a_version_is_judged_again_by_the_same_thresholds() -> None:
    version: Any = SimpleNamespace(tags={}, number=3)
    _refuse_other_threshold(setting({"ripe": 0.5}), version)
    version.tags[names.THRESHOLD] = '{"sold": "f1"}'
    _refuse_other_threshold(setting({"ripe": 0.5, "sold": "f1"}), version)
    with pytest.raises(StudyError, match="version 3"):
        _refuse_other_threshold(setting({"ripe": 0.3, "sold": "f1"}), version)
