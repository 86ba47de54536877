"""A winner is judged against the champion: in the study's metric, with few models, on other data, or not at all."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sklearn.datasets import load_breast_cancer

from nightune.tasks.compare_sweeps import compare_sweeps
from nightune.tasks.promote_model import Promotion
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.registry import registry
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.store import client, open_store
from nightune.tuning.analysis.promotion_gate import Decision
from nightune.tuning.study.data_section import DataSection
from tests.tasks.promotions import STUDY, promoted, trained

pytestmark = pytest.mark.usefixtures("opened_here", "models_closed")


def test_a_study_of_another_metric_is_judged_in_it(store_root: Path, tmp_path: Path) -> None:
    """The area under the curve of 60 rows: values, gain and advice in its unit, in the verdict, its tags and prints."""
    text = STUDY.replace('"iris"', '"tumors.csv"\ntarget = "kind"\nsplit = { kind = "group", column = "ward" }')
    text = text.replace("[confirmation]", '[objective]\nmetric = "val_auc"\n[confirmation]').replace("= 4", "= 3")
    table = load_breast_cancer(as_frame=True).frame[:300]
    columns = table.iloc[:, :4].assign(kind=np.where(table["target"] == 1, "benign", "other"), ward=np.arange(300) // 4)
    columns.to_csv(tmp_path / "tumors.csv", index=False)
    store = open_store(store_root)
    first = promoted(trained(store, tmp_path, text))
    assert first.verdict.values is not None
    assert (first.verdict.values.metric, first.verdict.values.baseline) == ("val_auc", 0.5)
    assert 0.5 < first.verdict.values.challenger <= 1
    assert first.verdict.decision is Decision.PROMOTED
    description = client(store).get_model_version("flowers", "1").description
    assert first.verdict.reason in description
    assert "models:/flowers/1" in description
    setting = trained(store, tmp_path, text.replace("seed = 11", "seed = 12").replace("0.03", "0.0301"))
    second = promoted(setting)
    verdict, gain = second.verdict, second.verdict.gain
    assert gain is not None
    assert verdict.values is not None
    assert verdict.values.champion == pytest.approx(verdict.values.challenger - gain.gain)
    assert (gain.groups, gain.rows, verdict.measure) == (15, 60, "1 - auc")
    assert f"gain {gain.gain:+.4g} val_auc" in verdict.reason
    assert "in 15 groups" in verdict.reason
    assert verdict.decision is Decision.REFUSED
    assert any("search further" in step for step in verdict.advice)
    assert second.summary()["verdict"]["values"]["baseline"] == 0.5
    tags = client(store).get_run(setting.sweep.run_id).data.tags
    assert json.loads(tags["nightune.metric_values"])["challenger"] == verdict.values.challenger
    assert "baseline 0.5" in printed(second)
    compared = compare_sweeps(store, "flowers")
    assert [score.values for score in compared.scores] == [first.verdict.values, verdict.values]


def printed(promotion: Promotion) -> str:
    from nightune.flows.commands.tables import print_promotion

    console = Console(record=True, width=200)
    print_promotion(console, promotion)
    text = console.export_text()
    assert [step for step in promotion.verdict.advice if f"next   {step}" not in text.replace("\n", "")] == []
    return text


def test_missing_siblings_of_the_champion_widen_the_comparison_without_an_error(
    setting: Setting, tmp_path: Path
) -> None:
    promoted(setting)
    version = registry.champion(setting.store, "flowers")
    assert version is not None
    for run_id in json.loads(version.tags["nightune.siblings"]):
        for file in Path(client(setting.store).get_run(run_id).info.artifact_uri.removeprefix("file://")).rglob("*"):
            if file.is_file():
                file.unlink()
    again = trained(setting.store, tmp_path, STUDY.replace("seed = 11", "seed = 12").replace("0.03", "0.05"))
    verdict = promoted(again).verdict
    assert verdict.gain is not None
    assert (verdict.gain.challenger_models, verdict.gain.opponent_models) == (2, 1)
    assert any("few models" in note and "2 models to 1" in note for note in verdict.notes)


def test_another_data_version_is_noted_as_favouring_the_champion(setting: Setting, tmp_path: Path) -> None:
    promoted(setting)
    again = trained(setting.store, tmp_path, STUDY.replace('"iris"', '"iris"\nsplit = { test = 0.3 }'))
    assert isinstance(again.study.data, DataSection)
    verdict = promoted(again).verdict
    assert verdict.gain is not None
    assert any("favour" in note for note in verdict.notes)


def test_rollback_requires_a_previous_champion(setting: Setting) -> None:
    with pytest.raises(StoreError, match=r"roses: no such registered model in .*none is registered"):
        registry.roll_back(setting.store, "roses", "why not")
    promoted(setting)
    with pytest.raises(StoreError, match=r"nothing to roll back to .version 1 is the first champion"):
        registry.roll_back(setting.store, "flowers", "why not")
    registry.delete_alias(setting.store, "flowers", "champion")
    with pytest.raises(StoreError, match="no version is champion"):
        registry.roll_back(setting.store, "flowers", "why not")


def foreign_champion(setting: Setting, folder: Path) -> None:
    """Make a version champion that another program has registered under the model's name."""
    (folder / "foreign").mkdir()
    (folder / "foreign" / "MLmodel").write_text("flavors: {}\n")
    made = client(setting.store).create_model_version("flowers", (folder / "foreign").as_uri())
    registry.set_alias(setting.store, "flowers", "champion", int(made.version))


def test_a_foreign_champion_is_a_guard_and_rolling_back_restores_the_last_known_one(
    setting: Setting, tmp_path: Path
) -> None:
    assert promoted(setting).version == 1
    foreign_champion(setting, tmp_path)
    refused = promoted(setting)
    assert (refused.verdict.decision, refused.verdict.gain, refused.verdict.against) == (Decision.REFUSED, None, 2)
    assert "the champion cannot be opened" in refused.verdict.reason
    left, taken = registry.roll_back(setting.store, "flowers", "not ours")
    assert (left.number, taken.number) == (2, 1)
    registry.set_alias(setting.store, "flowers", "champion", 2)
    forced = promoted(setting, is_forced=True, because="not ours")
    assert (forced.verdict.decision, forced.version) == (Decision.FORCED, 1)
    again = promoted(setting)  # the same command without force: it is champion already
    assert (again.verdict.decision, again.version, again.verdict.because) == (Decision.FORCED, 1, "not ours")
    assert again.verdict.is_promoted
    with pytest.raises(StoreError, match="nothing to roll back to"):  # the foreign version is no predecessor
        registry.roll_back(setting.store, "flowers", "why not")


@pytest.mark.parametrize("damage", ["model", "files"])
def test_a_champion_that_does_not_open_is_a_guard(setting: Setting, tmp_path: Path, damage: str) -> None:
    promoted(setting)
    folder = Path(client(setting.store).get_model_version("flowers", "1").source.removeprefix("file://"))
    if damage == "files":
        shutil.rmtree(folder)
    else:
        (folder / "artifacts" / "parts" / "model.keras").write_bytes(b"no longer a model")
    again = trained(setting.store, tmp_path, STUDY.replace("seed = 11", "seed = 12"))
    refused = promoted(again).verdict
    assert refused.decision is Decision.REFUSED
    assert [guard.name for guard in refused.guards if not guard.passed] == ["champion"]
    assert "the champion cannot be opened" in refused.reason
    assert promoted(again, is_forced=True, because="it is broken").version == 2
