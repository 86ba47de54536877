"""The verdict on a loss of a scaled target says that its values are of the unscaled one."""

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from nightune.tasks import judge_winner
from nightune.tasks.measure_candidate import Evidence
from nightune.tuning.analysis.metric_values import MetricValues
from nightune.tuning.analysis.paired_gain import Gain
from nightune.tuning.analysis.promotion_gate import Decision
from nightune.tuning.study.objective import Objective
from nightune.tuning.study.sections import Limits, PromotionSection
from tests.tasks.nights import verdict

GAIN = Gain(4e10, 3e10, 5e10, 0.95, 4.8e8, 4.4e10, 3, 1, 88, 0.1)
VALUES = MetricValues("val_loss", "minimize", 4.8e8, 4.4e10)


def judged(monkeypatch: pytest.MonkeyPatch, scale_target: bool, metric: str = "val_loss") -> str:
    """Return what the terminal says of the gate."""
    from nightune.flows.commands.tables import print_promotion

    evidence = Evidence("mse", None, GAIN, (), {}, (), VALUES)
    dataset = SimpleNamespace(version="data")
    monkeypatch.setattr("nightune.models.data.storage.open_dataset", lambda _folder: dataset)
    monkeypatch.setattr(judge_winner, "candidate_contender", lambda *_: None)
    monkeypatch.setattr(judge_winner, "measure", lambda *_, **_more: evidence)
    monkeypatch.setattr(judge_winner, "test_reads", lambda *_: 1)
    monkeypatch.setattr(judge_winner, "own_metric", lambda _study: None)
    study = SimpleNamespace(
        objective=Objective(metric=metric),
        promotion=PromotionSection(),
        limits=Limits(),
        content={"data": {"scale_target": scale_target}, "objective": {"metric": metric}},
    )
    setting: Any = SimpleNamespace(
        store=None,
        study=study,
        sweep=SimpleNamespace(data_version="data"),
        data=SimpleNamespace(folder="", findings=()),
    )
    found = judge_winner._judge(setting, verdict(Decision.PROMOTED).candidate, None, None)
    console = Console(record=True, width=300, file=io.StringIO())
    print_promotion(console, SimpleNamespace(verdict=found, is_dry=True, version=None))  # type: ignore[arg-type]
    return console.export_text()


def test_gain_and_values_of_a_loss_are_of_the_unscaled_target(monkeypatch: pytest.MonkeyPatch) -> None:
    said = judged(monkeypatch, scale_target=True)
    assert "gain +4e+10 val_loss of the unscaled target" in said
    assert "· of the unscaled target" in said
    assert "unscaled" not in judged(monkeypatch, scale_target=False)
    assert "unscaled" not in judged(monkeypatch, scale_target=True, metric="val_mae")
