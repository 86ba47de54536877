"""A promotion killed after each of its writes leaves one valid champion, and the same command again finishes it."""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nightune.tasks.tracking.store.store as store_module
from nightune.tasks.confirm_finalists import confirm_finalists, finalists
from nightune.tasks.prepare_data import prepare_data
from nightune.tasks.promote_model import Promotion, Request, promote_model
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.registry import registry
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.store import client
from nightune.tuning.analysis.promotion_gate import Decision
from nightune.tuning.errors import StudyError
from nightune.tuning.trial import TrialResult
from tests.tasks.promotions import promoted, version_folder

pytestmark = pytest.mark.usefixtures("opened_here", "models_closed")

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


def test_a_model_that_cannot_serve_is_refused_and_not_forced(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    from nightune.models.serving.predictor import Predictor

    outputs = Predictor.outputs
    monkeypatch.setattr(Predictor, "outputs", lambda self, inputs: outputs(self, inputs) * np.nan)
    verdict = promoted(setting).verdict
    assert (verdict.decision, verdict.may_be_forced) == (Decision.REFUSED, False)
    rows = setting.data.sizes["test"]
    assert f"outputs are not finite in {rows} of {rows} rows" in verdict.reason
    with pytest.raises(StudyError, match=r"cannot be forced: .*outputs are not finite"):
        promoted(setting, is_forced=True, because="now")
    assert registry.versions(setting.store, "flowers") == []
