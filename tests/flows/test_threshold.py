"""A threshold of the study belongs to the version, decides its labels and the gate, and changes no trial."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import read_dataset
from nightune.tasks.tracking.registry.open_version import find_version, open_version
from nightune.tasks.tracking.store.store import open_store
from nightune.tuning.errors import StudyError

STUDY = """
question = "Who buys?"
seed = 3
[data]
source = "shop.csv"
target = "buys"
[model]
architecture = "mlp"
units = [[4]]
[space]
optimizer = "adam"
learning_rate.peak = 0.1
batch_size.size = 50
[search]
trials = 1
epochs = 6
[confirmation]
finalists = 1
replicates = 2
[promotion]
replicates = 2
[objective]
metric = "val_f1_macro"
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(300, 2))
    buys = np.where(values[:, 0] + generator.normal(0, 0.7, 300) > 1.2, "yes", "no")
    pd.DataFrame({"a": values[:, 0], "b": values[:, 1], "buys": buys}).to_csv(tmp_path / "shop.csv", index=False)
    (tmp_path / "shop.toml").write_text(f'{STUDY}threshold = "f1"\n')
    return tmp_path / "shop.toml"


@pytest.mark.usefixtures("opened_here", "plain_flows")
def test_the_threshold_belongs_to_the_version(study: Path, store_root: Path, tmp_path: Path) -> None:
    from nightune.flows.promote import promote
    from nightune.flows.tune import tune

    tune(study, engine="fit")
    verdict = promote(study).verdict
    store = open_store(store_root)
    opened = open_version(store, find_version(store, "shop", 1, ""), tmp_path / "version")
    threshold = opened.description["threshold"]
    assert opened.description["threshold_by"] == "highest f1 on 60 validation rows"
    assert 0 < threshold != 0.5
    (note,) = (note for note in verdict.notes if "probability" in note)
    assert f"'yes' where its probability is above {threshold:.4g}" in note
    raw = pd.read_csv(tmp_path / "shop.csv")
    probabilities = opened.python_model.predict(None, raw, {"output": "probabilities"})["yes"]
    labels = opened.python_model.predict(None, raw, {})
    np.testing.assert_array_equal(labels == "yes", probabilities > threshold)
    assert verdict.values is not None
    assert verdict.baseline is not None
    files = [json.loads(file.read_text()) for file in store_root.rglob("description.json") if "parts" in str(file)]
    assert [each["threshold"] for each in files] == [threshold]
    assert promote(study).version == 1
    study.write_text(STUDY)
    with pytest.raises(StudyError, match=r"0\.5, but version 1 .* \"f1\"; .*--fresh"):
        promote(study)


def problems_of(study: Path, text: str) -> str:
    study.write_text(text)
    with pytest.raises(StudyError) as caught:
        read_dataset(load_study(study))
    return str(caught.value)


def test_a_threshold_without_a_meaning_is_refused_and_the_remedy_works(study: Path) -> None:
    folds = STUDY.replace('target = "buys"', 'target = "buys"\nsplit = { folds = 3 }')
    assert "folds" in problems_of(study, f'{folds}threshold = "f1"\n')
    study.write_text(f"{folds}threshold = 0.3\n")
    assert read_dataset(load_study(study)).task == "binary"
    iris = STUDY.replace("shop.csv", "iris").replace('target = "buys"\n', "")
    assert "multiclass" in problems_of(study, f"{iris}threshold = 0.3\n")
    study.write_text(f"{iris}threshold = 0.5\n")
    assert read_dataset(load_study(study)).task == "multiclass"
    for wrong in ("1.0", "0", "true", '"mcc"', "[0.5]"):
        assert "threshold" in problems_of(study, f"{STUDY}threshold = {wrong}\n")


HEADS = """
import numpy as np
x = np.random.default_rng(0).normal(size=(120, 2))
kind = np.array(["a", "b", "c"])[np.arange(120) % 3]
def load(): return x, {"buys": np.where(x[:, 0] > 0, "yes", "no"), "kind": kind}
"""


def test_thresholds_of_several_heads_are_by_name_and_the_remedy_works(study: Path) -> None:
    (study.parent / "load.py").write_text(HEADS)
    heads = STUDY.replace('source = "shop.csv"\ntarget = "buys"', 'source = "load.py:load"')
    heads = heads.replace("val_f1_macro", "val_buys_f1_macro")
    assert 'threshold = { buys = "f1" }' in problems_of(study, f'{heads}threshold = "f1"\n')
    assert "did you mean 'buys'" in problems_of(study, f"{heads}threshold = {{ buy = 0.3 }}\n")
    assert "head 'kind'" in problems_of(study, f"{heads}threshold = {{ kind = 0.3 }}\n")
    assert "one target" in problems_of(study, f"{STUDY}threshold = {{ buys = 0.3 }}\n")
    study.write_text(f'{heads}threshold = {{ buys = "f1" }}\n')
    assert read_dataset(load_study(study)).task == "heads"
    assert load_study(study).objective.threshold_of("buys") == "f1"
    assert load_study(study).objective.threshold_of("kind") == 0.5
    assert "threshold" in problems_of(study, f"{heads}threshold = {{ buys = 2 }}\n")


def test_validation_rows_of_one_class_choose_no_threshold(study: Path) -> None:
    table = pd.read_csv(study.with_name("shop.csv")).sort_values("buys", ascending=False)
    table.assign(part=["train"] * 200 + ["validation"] * 50 + ["test"] * 50).to_csv(
        study.with_name("shop.csv"), index=False
    )
    fixed = STUDY.replace('target = "buys"', 'target = "buys"\nsplit = { kind = "fixed", column = "part" }')
    assert "one class" in problems_of(study, f'{fixed}threshold = "balanced_accuracy"\n')


def test_a_threshold_changes_neither_content_nor_trials(study: Path) -> None:
    chosen = load_study(study)
    study.write_text(STUDY)
    assert load_study(study).digest == chosen.digest
    assert chosen.objective.threshold == "f1"
