"""A promotion killed after each of its writes leaves one valid champion, and the same command again finishes it."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.datasets import load_breast_cancer

import nightune.tasks.tracking.store.store as store_module
from nightune.tasks.compare_sweeps import compare_sweeps
from nightune.tasks.confirm_finalists import confirm_finalists, finalists, missing_replicates
from nightune.tasks.prepare_data import prepare_data
from nightune.tasks.promote_model import Promotion, Request, promote_model
from nightune.tasks.propose_trials import Kept, propose_trials
from nightune.tasks.setting import Setting
from nightune.tasks.start_sweep import start_sweep
from nightune.tasks.tracking.registry import registry
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.store import Store, client, open_store
from nightune.tasks.train_cohort import train_cohort
from nightune.tasks.write_report import write_report
from nightune.tuning.analysis.promotion_gate import Decision
from nightune.tuning.study.data_section import DataSection
from nightune.tuning.trial import Bracket, Rung, TrialResult
from tests.copied_stores import copy_store

pytestmark = pytest.mark.usefixtures("opened_here")

STUDY = """
question = "Which rate is best on flowers?"
seed = 11
[data]
source = "iris"
[model]
architecture = "mlp"
units = [[8]]
[space]
optimizer = "adam"
learning_rate.peak = 0.03
batch_size.size = 15
[search]
trials = 1
epochs = 6
[confirmation]
finalists = 1
replicates = 2
[promotion]
replicates = 2
"""
WRITES = (
    "set_tag",
    "log_batch",
    "log_text",
    "log_dict",
    "log_artifact",
    "create_registered_model",
    "create_logged_model",
    "log_model_artifacts",
    "finalize_logged_model",
    "create_model_version",
    "set_model_version_tag",
    "update_model_version",
    "delete_model_version_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
)


class Killed(BaseException):
    """An error that none of our code catches."""


class FragileClient:
    """A client of MLflow that dies after a number of writes."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.left, self.written = inner, 10**9, []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if name not in WRITES:
            return method

        def write(*arguments: Any, **keywords: Any) -> Any:
            result = method(*arguments, **keywords)
            self.written.append(name)
            self.left -= 1
            if self.left <= 0:
                raise Killed(name)
            return result

        return write


@pytest.fixture(scope="module")
def swept(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that holds the sweep of `setting`, trained once."""
    folder = tmp_path_factory.mktemp("swept")
    shutil.copytree(empty_store, folder / "mlruns")
    trained(open_store(folder / "mlruns"), folder, STUDY)
    return folder


@pytest.fixture
def setting(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    """The complete sweep, opened again in a store of the test's own."""
    copy_store(swept, tmp_path)
    monkeypatch.setenv("NIGHTUNE_STORE", str(tmp_path / "mlruns"))
    setting = started(open_store(tmp_path / "mlruns"), tmp_path, STUDY)
    assert setting.sweep.is_complete
    return setting


def trained(store: Store, folder: Path, text: str) -> Setting:
    """A complete sweep with its replicates, created by the steps of the flow without Prefect."""
    setting = started(store, folder, text)
    study, one = setting.study, Bracket((Rung(1, setting.study.search.epochs),))
    trials = propose_trials.fn(study, setting.sweep.number, setting.data, one, [], Kept())
    train_cohort.fn(setting, trials)
    train_cohort.fn(setting, missing_replicates(setting, finalists(setting)))
    write_report.fn(setting)
    return setting


def started(store: Store, folder: Path, text: str) -> Setting:
    from nightune.tasks.load_study import load_study

    path = folder / "flowers.toml"
    path.write_text(text)
    study = load_study(path)
    return start_sweep.fn(store, study, prepare_data.fn(study, store.root), "fit", False)


def promoted(setting: Setting, **request: Any) -> Promotion:
    (winner,) = finalists(setting)
    return promote_model.fn(setting, winner, confirm_finalists.fn(setting), Request(**request))


@pytest.fixture
def fragile(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> FragileClient:
    client = FragileClient(store_module._client(setting.store.tracking_uri))
    monkeypatch.setattr(store_module, "_client", lambda _: client)
    return client


def judged(setting: Setting) -> Callable[[], Promotion]:
    """Run the promotion without the confirmation before it."""
    (winner,) = finalists(setting)
    confirmation = confirm_finalists.fn(setting)
    return lambda: promote_model.fn(setting, winner, confirmation, Request())


@pytest.fixture
def measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do only once what takes seconds and writes nothing to the store; record every read of the test split."""
    from nightune.tasks import candidate_folder
    from nightune.tasks import judge_winner as module

    measure, write, evidence, folders = module.measure, candidate_folder.write_model_folder, [], []

    def measure_once(*arguments: Any, record: Callable[[], None], **keywords: Any) -> Any:
        if evidence:
            record()
        else:
            evidence.append(measure(*arguments, record=record, **keywords))
        return evidence[0]

    def write_once(parts: Path, example: Any, folder: Path) -> Path:
        if folders:
            return Path(shutil.copytree(folders[0], folder))
        folders.append(Path(shutil.copytree(write(parts, example, folder), Path(tempfile.mkdtemp()) / "kept")))
        return folder

    monkeypatch.setattr(module, "measure", measure_once)
    monkeypatch.setattr(candidate_folder, "write_model_folder", write_once)


@pytest.mark.usefixtures("measured_once")
def test_after_a_kill_at_any_write_the_same_command_completes_the_promotion(
    setting: Setting, fragile: FragileClient
) -> None:
    store, run = setting.store, judged(setting)
    fragile.written.clear()
    whole = run()
    steps = list(fragile.written)
    assert steps[-1] == "set_registered_model_alias"
    assert steps.count("set_registered_model_alias") == 1
    for step in range(1, len(steps)):
        forget(setting, whole)
        fragile.left = step
        with pytest.raises(Killed):
            run()
        assert registry.champion(store, "flowers") is None  # the alias is the last write
        fragile.left = 10**9
        assert run().version == 1
        (version,) = registry.versions(store, "flowers")
        assert version.aliases == ("champion",)
        assert registry.fetch_version(store, version, setting.store.root / "fetched" / str(step)).is_dir()
    forget(setting, whole)
    fragile.left = len(steps)
    with pytest.raises(Killed):
        run()
    fragile.left, before = 10**9, len(fragile.written)
    assert run() == whole
    assert len(fragile.written) == before  # everything is done: nothing is written


def forget(setting: Setting, promotion: Promotion) -> None:
    """Restore the store to its state before the promotion."""
    inner = store_module._client(setting.store.tracking_uri).inner
    inner.delete_registered_model("flowers")
    inner.delete_tag(promotion.verdict.candidate.run_id, "nightune.logged_model")
    for name in ("nightune.verdict_question", "nightune.verdict", "nightune.test_reads"):
        inner.delete_tag(setting.sweep.run_id, name)


def test_a_confirmation_is_announced_once(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "nightune"):
        first, second = (confirm_finalists.fn(setting) for _ in range(2))
    assert first == second
    assert [record.message.startswith("confirmed trial") for record in caplog.records].count(True) == 1


def test_a_champion_changed_by_another_process_is_not_overwritten(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.tasks import promote_model as module

    register = module._register

    def register_after_another_process(setting: Setting, *values: Any) -> Any:
        version = register(setting, *values)
        registry.set_alias(setting.store, "flowers", "champion", version.number)
        return version

    monkeypatch.setattr(module, "_register", register_after_another_process)
    with pytest.raises(StoreError, match="the champion has changed"):
        promoted(setting)


def test_the_test_split_is_read_once_and_the_read_is_logged(setting: Setting) -> None:
    promoted(setting)
    reads = json.loads(client(setting.store).get_run(setting.sweep.run_id).data.tags["nightune.test_reads"])
    (read,) = reads
    assert read.endswith("gate: trial 0 against no champion")


def test_a_version_has_the_names_of_classes_of_its_own_study(setting: Setting) -> None:
    other = setting.study.model_copy(update={"name": "other"})
    other = other.model_copy(update={"data": other.data.model_copy(update={"class_names": ("x", "y", "z")})})
    assert prepare_data.fn(other, setting.store.root).version == setting.data.version
    number = promoted(setting).version
    assert number is not None
    held = [json.loads(file.read_text()) for file in version_folder(setting.store, number).rglob("description.json")]
    assert [each["classes"] for each in held] == [["setosa", "versicolor", "virginica"]]
    assert "class_names" not in held[0]


def test_a_version_says_which_values_of_its_training_changed(setting: Setting) -> None:
    (winner,) = finalists(setting)
    params = winner.trial.params | {"training.changes": {"3": {"learning_rate.peak": 0.02}}}
    changed = replace(winner, trial=replace(winner.trial, params=params))
    promotion = promote_model.fn(setting, changed, confirm_finalists.fn(setting), Request())
    version = client(setting.store).get_model_version("flowers", str(promotion.version))
    assert f"to epoch 2: learning_rate.peak 0.03 · epochs 3 to {winner.epochs}: learning" in version.description


def test_no_other_step_opens_the_seal() -> None:
    """Only the gate uses its purpose, and only the stored data uses the sealed folder."""
    sources = [file for package in ("flows", "tasks", "tuning", "models") for file in Path(package).rglob("*.py")]
    gate = sorted(str(file) for file in sources if "Purpose.GATE" in file.read_text())
    assert gate == ["tasks/measure_candidate.py", "tasks/opened_alone.py"]
    preparing = sorted(str(file) for file in sources if "Purpose.PREPARATION" in file.read_text())
    assert preparing == ["models/data/storage.py"]
    assert [str(file) for file in sources if '"sealed"' in file.read_text()] == ["models/data/storage.py"]


def test_a_study_of_another_metric_is_judged_in_it(store_root: Path, tmp_path: Path) -> None:
    """The area under the curve of 60 rows: values, gain and advice in its unit, in the verdict, its tags and prints."""
    text = STUDY.replace('"iris"', '"tumors.csv"\ntarget = "kind"\nsplit = { kind = "group", column = "ward" }')
    text = text.replace("[confirmation]", '[objective]\nmetric = "val_auc"\n[confirmation]').replace("= 6", "= 5")
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


NET = """
import keras
from keras import layers
from lib import FACTOR


@keras.saving.register_keras_serializable("mine")
class Gate(layers.Layer):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.a, self.b = layers.Dense(units), layers.Dense(units, activation="sigmoid")

    def call(self, x):
        return self.a(x) * self.b(x) * FACTOR


def build(input_shape, output_size, units: int = 8):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Dense(output_size)(Gate(units)(inputs)))
"""
OWN = STUDY.replace('"mlp"', '"net.py:build"').replace("[[8]]", "8").replace('"iris"', '"iris"\nsplit = { seed = 1 }')


def write_code(folder: Path, text: str = NET, factor: float = 1.0) -> None:
    (folder / "net.py").write_text(text)
    (folder / "lib.py").write_text(f"FACTOR = {factor}\n")


def version_folder(store: Store, number: int) -> Path:
    return Path(client(store).get_model_version("flowers", str(number)).source.removeprefix("file://"))


@pytest.mark.slow
def test_a_champion_with_an_own_layer_is_judged_by_its_own_copy_of_the_code(store_root: Path, tmp_path: Path) -> None:
    from nightune.models.serving.predictor import Predictor
    from nightune.tasks.tracking.registry.fresh_process import open_in_fresh_process

    store = open_store(store_root)
    write_code(tmp_path)
    setting = trained(store, tmp_path, OWN)
    first = promoted(setting)
    assert (first.version, first.verdict.decision) == (1, Decision.PROMOTED)
    assert [guard.passed for guard in first.verdict.guards if guard.name == "opens alone"] == [True]
    folder = version_folder(store, 1)
    parts = folder / "artifacts" / "parts"
    assert {path.name for path in (parts / "model" / "code").iterdir()} == {"net.py", "lib.py"}
    rows = np.float32([[5.1, 3.5, 1.4, 0.2], [6.2, 2.9, 4.3, 1.3]])
    columns = [column["name"] for column in json.loads((parts / "description.json").read_text())["columns"]]
    raw = pd.DataFrame(rows, columns=columns)
    predictor = Predictor.open(parts)
    outputs = predictor.outputs(predictor.inputs(raw))
    opened = open_in_fresh_process(folder, raw)  # a real one
    assert (opened.problem, opened.outside) == ("", ())
    np.testing.assert_allclose(opened.outputs, outputs, rtol=1e-5)

    # Today the layer has another name, and `lib` another number: both sides keep their own.
    renamed = NET.replace("class Gate", "class Gate2").replace("Gate(units)(", "Gate2(units)(")
    write_code(tmp_path, renamed, factor=-20.0)
    again = trained(store, tmp_path, OWN.replace("seed = 11", "seed = 12"))
    np.testing.assert_array_equal(Predictor.open(parts).outputs(predictor.inputs(raw)), outputs)

    # A champion that is broken fails a guard; once it is repaired, the same command judges again.
    code = parts / "model" / "code" / "net.py"
    text = code.read_text()
    code.write_text("import sys\nsys.exit('broken')\n")
    for _ in range(2):
        refused = promoted(again).verdict
        assert (refused.decision, refused.gain) == (Decision.REFUSED, None)
        assert "the champion cannot be opened (RuntimeError: the code ended the process" in refused.reason
    assert refused.test_reads == 2  # the stored verdict
    code.write_text(text)
    verdict = promoted(again).verdict
    assert verdict.gain is not None
    assert first.verdict.baseline is not None
    assert verdict.gain.opponent_loss == pytest.approx(first.verdict.baseline.challenger_loss, rel=1e-5)


@pytest.mark.slow
def test_a_winner_that_cannot_be_opened_is_refused_by_a_vital_guard(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.tasks import candidate_folder as module

    def fetch(store: Store, run_id: str, folder: Path) -> Path:
        path = folder / "model.keras"
        path.write_bytes(b"not a model")
        return path

    with monkeypatch.context() as patch:
        patch.setattr(module, "fetch_checkpoint", fetch)
        refused = promoted(setting).verdict
        assert refused.decision is Decision.REFUSED
        assert [guard.name for guard in refused.guards if not guard.passed] == ["opens alone"]
        assert not refused.may_be_forced
    assert promoted(setting).verdict.decision is Decision.PROMOTED


def test_the_cause_of_a_renamed_class_is_named() -> None:
    from nightune.tasks.tracking.trials.checkpoints import why_unopened

    text = (
        "<class 'Functional'> could not be deserialized.\n\nException encountered: Could not locate class 'Gate'. Make"
    )
    assert why_unopened(TypeError(text)) == "Could not locate class 'Gate'"


def test_a_version_that_another_program_registered_from_the_winners_run_is_not_taken_for_ours(
    setting: Setting, tmp_path: Path
) -> None:
    candidate = promoted(setting, is_dry=True).verdict.candidate
    client(setting.store).create_registered_model("flowers")
    client(setting.store).create_model_version("flowers", tmp_path.as_uri(), run_id=candidate.run_id)
    assert promoted(setting).version == 2


def test_a_winner_without_a_valid_replicate_is_not_judged(setting: Setting) -> None:
    (winner,) = finalists(setting)
    other = TrialResult(winner.trial, winner.status, 1.0, 1, 1, 1, 1, 1.0, run_id="elsewhere")
    changed = setting.study.model_copy(update={"seed": 99})  # its replicates have other seeds, and are not trained
    lonely = Setting(setting.store, setting.sweep, changed, setting.data)
    with pytest.raises(StoreError, match="no replicate of trial 0 gave a finite val_loss"):
        promote_model.fn(lonely, other, None, Request())


@pytest.fixture(autouse=True)
def models_closed() -> Iterator[None]:
    """Release the models that a test opened: Keras keeps them all."""
    yield
    import keras

    keras.backend.clear_session()
