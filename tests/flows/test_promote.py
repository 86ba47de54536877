"""From a sweep to the champion and back: tuned, judged, registered, loaded by MLflow, refused, rolled back."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from nightune.tasks.predict_rows import predict_rows
from nightune.tasks.promote_model import Promotion
from nightune.tasks.tracking.registry import registry
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.store import Store, client, open_store
from nightune.tuning.analysis.promotion_gate import Decision

pytestmark = pytest.mark.usefixtures("store_root", "opened_here")

STUDY = """
question = "Which rate is best on flowers?"
seed = 11
[data]
source = "flowers.csv"
target = "kind"
split = { test = 0.4 }
[model]
architecture = "mlp"
units = [[8]]
[space]
optimizer = "adam"
learning_rate.peak = RATE
batch_size.size = 3
[search]
trials = 1
epochs = EPOCHS
[objective]
metric = "val_loss"
[confirmation]
finalists = 1
replicates = 2
[promotion]
replicates = 3
"""
WEAK, STRONG, BAD = ("0.02", 2), ("0.03", 6), ("0.0001", 1)  # updates cost less than epochs


@pytest.fixture
def study(tmp_path: Path) -> Path:
    frame = load_iris(as_frame=True)
    table = frame.data.assign(kind=np.array(frame.target_names)[frame.target])
    table.to_csv(tmp_path / "flowers.csv", index=False)
    return write(tmp_path / "flowers.toml", WEAK)


@pytest.fixture
def store(store_root: Path) -> Store:
    return open_store(store_root)


def write(path: Path, net: tuple[str, int], data: str = "") -> Path:
    text = STUDY.replace("RATE", net[0]).replace("EPOCHS", str(net[1]))
    path.write_text(text.replace('target = "kind"', f'target = "kind"\n{data}'))
    return path


def tuned(study: Path) -> Path:
    from nightune.flows.tune import tune

    tune(study, engine="fit")
    return study


def promote(study: Path, **options: object) -> Promotion:
    from nightune.flows.promote import promote as flow

    promotion = flow(tuned(study), **options)
    assert isinstance(promotion, Promotion)
    return promotion


@pytest.mark.usefixtures("prefect_server")
def test_the_first_model_becomes_champion_and_answers_raw_rows_like_the_pipeline(study: Path, store: Store) -> None:
    """And repeating the command reads and registers nothing."""
    import keras
    import mlflow

    from nightune.models.data.storage import open_dataset

    promotion = promote(write(study, STRONG))
    verdict = promotion.verdict
    assert (verdict.decision, promotion.version, promotion.alias) == (Decision.PROMOTED, 1, "champion")
    assert (verdict.against, verdict.gain, verdict.test_reads) == (None, None, 1)
    mlflow.set_tracking_uri(store.tracking_uri)
    loaded = mlflow.pyfunc.load_model("models:/flowers@champion")
    raw = pd.read_csv(study.parent / "flowers.csv").drop(columns="kind")
    dataset = open_dataset(store.root / "data" / verdict.candidate.data_version)
    path = mlflow.artifacts.download_artifacts(
        run_id=verdict.candidate.run_id, artifact_path="checkpoint/model.keras", tracking_uri=store.tracking_uri
    )
    logits = keras.saving.load_model(path).predict(dataset.preprocessing.transform(raw), verbose=0)
    assert dataset.classes is not None
    assert loaded.predict(raw).tolist() == [dataset.classes[index] for index in logits.argmax(axis=1)]
    probabilities = loaded.predict(raw, params={"output": "probabilities"})
    assert tuple(probabilities.columns) == dataset.classes
    exponentials = np.exp(logits.astype(float))
    np.testing.assert_allclose(probabilities, exponentials / exponentials.sum(axis=1, keepdims=True), rtol=1e-4)
    assert "also with probabilities" in next(guard.said for guard in verdict.guards if guard.name == "opens alone")
    predicted = predict_rows(store, "flowers", study.parent / "flowers.csv", None, "champion", True).answers
    assert predicted.pop("prediction").tolist() == loaded.predict(raw).tolist()
    np.testing.assert_array_equal(predicted.to_numpy(), probabilities.to_numpy())
    version = client(store).get_model_version_by_alias("flowers", "champion")
    assert version.run_id == verdict.candidate.run_id
    assert version.tags["nightune.verdict"] == "promoted"
    assert version.tags["nightune.data_version"] == verdict.candidate.data_version
    assert float(version.tags["nightune.baseline_gain_low"]) == pytest.approx(verdict.baseline.low)  # type: ignore[union-attr]
    run = client(store).get_run(sweep_run(store))
    assert run.data.tags["nightune.verdict"] == "promoted"
    assert {file.path for file in client(store).list_artifacts(sweep_run(store), "promotion")} == {
        "promotion/verdict.json",
        "promotion/verdict.md",
    }
    folder = Path(client(store).get_model_version_download_uri("flowers", "1").removeprefix("file://"))
    assert (folder / "artifacts/parts/study/flowers.toml").read_text() == study.read_text()
    assert promote(study) == promotion
    assert len(registry.versions(store, "flowers")) == 1
    assert len(json.loads(client(store).get_run(sweep_run(store)).data.tags["nightune.test_reads"])) == 1


def sweep_run(store: Store, number: int = 0) -> str:
    experiment = client(store).get_experiment_by_name("flowers")
    found = client(store).search_runs([experiment.experiment_id], f"tags.`nightune.sweep_number` = '{number}'")
    return str(found[0].info.run_id)


@pytest.mark.usefixtures("plain_flows")
def test_a_better_model_is_promoted_and_a_rollback_is_permanent(study: Path, store: Store) -> None:
    assert promote(study).version == 1
    better = promote(write(study, STRONG))
    assert (better.verdict.decision, better.version) == (Decision.PROMOTED, 2)
    assert better.verdict.gain is not None
    assert better.verdict.gain.low > 0
    assert (better.verdict.gain.challenger_models, better.verdict.gain.opponent_models) == (3, 3)
    assert better.verdict.test_reads == 2
    with pytest.raises(StoreError, match="no sweep 'flowers-7'"):
        promote(study, sweep="flowers-7")
    left, taken = registry.roll_back(store, "flowers", "too slow for the shop")
    assert (left.number, taken.number, champion_number(store)) == (2, 1, 1)
    again = promote(write(study, STRONG), sweep="flowers-1")
    assert again.verdict.decision is Decision.REFUSED
    assert "version 2 was rolled back (too slow for the shop)" in again.verdict.reason
    assert champion_number(store) == 1
    forced = promote(study, sweep="flowers-1", force=True, because="the shop is faster now")
    assert (forced.verdict.decision, forced.version, champion_number(store)) == (Decision.FORCED, 2, 2)
    newest = registry.versions(store, "flowers")[-1]
    assert [entry["event"] for entry in json.loads(newest.tags["nightune.history"])] == [
        "promoted",
        "rolled back to 1",
        "forced",
    ]
    assert newest.tags["nightune.because"] == "the shop is faster now"


def champion_number(store: Store) -> int | None:
    version = registry.champion(store, "flowers")
    return None if version is None else version.number


@pytest.mark.nights
@pytest.mark.usefixtures("plain_flows")
def test_a_worse_model_is_refused(study: Path, store: Store) -> None:
    assert promote(write(study, STRONG)).version == 1
    worse = promote(write(study, BAD))
    assert (worse.verdict.decision, worse.version) == (Decision.REFUSED, None)
    assert champion_number(store) == 1


@pytest.mark.nights
@pytest.mark.usefixtures("plain_flows")
def test_a_refused_model_that_is_close_becomes_the_challenger(study: Path, store: Store) -> None:
    promote(write(study, STRONG))
    text = (
        study.read_text()
        .replace("seed = 11", "seed = 12\nname = 'flowers'")
        .replace("[promotion]", "[promotion]\nminimum_gain = 0.5\nchallenger_margin = 10.0")
    )
    study.write_text(text.replace("split = { test = 0.4 }", "split = { test = 0.4, seed = 11 }"))
    close = promote(study)
    assert (close.verdict.decision, close.verdict.is_close, close.alias) == (Decision.REFUSED, True, "challenger")
    assert {version.aliases for version in registry.versions(store, "flowers")} == {("champion",), ("challenger",)}


@pytest.mark.nights
@pytest.mark.usefixtures("plain_flows")
def test_a_dry_run_registers_nothing_and_its_measurements_are_reused(study: Path, store: Store) -> None:
    dry = promote(write(study, STRONG), dry_run=True)
    assert (dry.verdict.decision, dry.version, registry.versions(store, "flowers")) == (Decision.PROMOTED, None, [])
    assert promote(study).version == 1
    assert len(json.loads(client(store).get_run(sweep_run(store)).data.tags["nightune.test_reads"])) == 1


@pytest.mark.nights
@pytest.mark.usefixtures("plain_flows")
def test_a_champion_of_another_schema_is_not_replaced_by_itself(study: Path, store: Store) -> None:
    promote(study)
    narrower = promote(write(study, STRONG, 'drop = ["petal width (cm)"]'))
    assert narrower.verdict.decision is Decision.REFUSED
    assert "the champion cannot read these rows: the table lacks column 'petal width (cm)'" in narrower.verdict.reason
    assert champion_number(store) == 1
    forced = promote(study, force=True, because="the width is not measured any more")
    assert (forced.verdict.decision, champion_number(store)) == (Decision.FORCED, 2)
    wider = promote(write(study, STRONG))
    assert wider.verdict.gain is not None  # the champion needs fewer columns: it can be compared
    assert "column 'petal width (cm)' is required" in wider.verdict.reason
    assert champion_number(store) == 2


@pytest.mark.nights
@pytest.mark.usefixtures("plain_flows")
def test_models_over_the_limits_of_size_and_latency_are_refused(study: Path, store: Store) -> None:
    write(study, STRONG)
    text = study.read_text()
    study.write_text(f"{text}size_limit_mb = 1e-6\nlatency_limit_ms = 1e-6\n")
    verdict = promote(study).verdict
    assert {guard.name for guard in verdict.guards if not guard.passed} == {"size", "latency"}
    assert "limit 1e-06 MB" in verdict.reason
    study.write_text(f"{text}size_limit_mb = 100\nlatency_limit_ms = 1e6\n")
    assert promote(study).version == 1


@pytest.mark.usefixtures("plain_flows")
def test_a_study_without_a_sweep_is_reported(study: Path) -> None:
    from nightune.flows.promote import promote as flow

    with pytest.raises(StoreError, match="no sweep of this study"):
        flow(study)
