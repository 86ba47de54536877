import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.names_of_studies import names_for
from nightune.models.data.numbers_of_studies import numbers_for
from nightune.models.data.storage import open_dataset
from nightune.tasks.prepare_data import prepare_data
from nightune.tuning.errors import StudyError
from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.study.data_section import DataSection
from nightune.tuning.study.data_section import Split as SplitSection
from nightune.tuning.study.objective import Objective


def study_of(folder: Path, source: str = "iris", **data: object) -> SimpleNamespace:
    """The part of a study that the task reads."""
    return SimpleNamespace(
        name="a",
        path=folder / "a.toml",
        seed=3,
        data=DataSection(source=source, **data),
        objective=Objective(),
        space=SearchSpace(()),
    )


def test_prepared_data_is_stored_under_its_version(tmp_path):
    prepared = prepare_data.fn(study_of(tmp_path), tmp_path / "mlruns")
    assert prepared.folder == tmp_path / "mlruns" / "data" / prepared.version
    assert (prepared.task, prepared.input_shape, prepared.output_size) == ("multiclass", (4,), 3)
    assert prepared.sizes == {"train": 90, "validation": 30, "test": 30}
    assert open_dataset(prepared.folder).classes == prepared.classes == ("setosa", "versicolor", "virginica")


def test_data_is_written_once(tmp_path):
    first = prepare_data.fn(study_of(tmp_path), tmp_path / "mlruns")
    written_at = (first.folder / "description.json").stat().st_mtime_ns
    assert prepare_data.fn(study_of(tmp_path), tmp_path / "mlruns") == first
    assert (first.folder / "description.json").stat().st_mtime_ns == written_at


def test_names_of_classes_are_those_of_each_study(tmp_path):
    names = ["a", "b", "c"]
    one, other = study_of(tmp_path, class_names=names), study_of(tmp_path)
    other.name = "other"
    for study in (other, one, other, one):
        folder = prepare_data.fn(study, tmp_path / "mlruns").folder
    saved = open_dataset(folder)
    assert names_for(saved, folder, "a", ()) == {"class_names": names}
    assert names_for(saved, folder, "other", ()) == {}


def test_row_numbers_are_those_of_each_study(tmp_path):
    table = pd.DataFrame({"a": range(60), "y": list("pq") * 30})
    table.to_csv(tmp_path / "t.csv", index=False)
    gap = pd.DataFrame({"a": [7], "y": [None]})
    pd.concat([gap, table]).to_csv(tmp_path / "later.csv", index=False)  # all rows stand one later
    one, other = study_of(tmp_path, "t.csv", target="y"), study_of(tmp_path, "later.csv", target="y")
    other.name = "other"
    folders = {prepare_data.fn(study, tmp_path / "mlruns").folder for study in (one, other)}
    (folder,) = folders
    first, second = (numbers_for(folder, name)["validation"] for name in ("a", "other"))
    np.testing.assert_array_equal(first + 1, second)
    assert numbers_for(folder, "of an earlier version") == {}
    (folder / "row_numbers" / "a.npz").write_bytes(b"PK\x03\x04 cut off")
    assert numbers_for(folder, "a") == {}


def test_each_finding_is_logged(tmp_path, caplog):
    pd.DataFrame({"id": range(60), "a": [index % 7 for index in range(60)], "y": list("pq") * 30}).to_csv(
        tmp_path / "t.csv", index=False
    )
    with caplog.at_level(logging.WARNING, logger="nightune"):
        prepared = prepare_data.fn(study_of(tmp_path, "t.csv", target="y"), tmp_path / "mlruns")
    assert [record.getMessage() for record in caplog.records] == [f"data · {finding}" for finding in prepared.findings]
    assert any("'id' looks like an identifier" in finding for finding in prepared.findings)


def test_bad_data_is_an_error_of_the_study_file(tmp_path):
    with pytest.raises(StudyError) as caught:
        prepare_data.fn(study_of(tmp_path, "irsi"), tmp_path / "mlruns")
    assert str(caught.value).startswith(f"{tmp_path / 'a.toml'}: data.source: ")
    assert "'irsi'; did you mean 'iris'?" in str(caught.value)


def test_a_metric_of_another_task_is_an_error_of_the_study_file(tmp_path):
    study = study_of(tmp_path, "diabetes")
    study.objective = Objective(metric="val_accuracy")
    with pytest.raises(
        StudyError, match=r"objective\.metric: unknown metric of a regression task 'val_acc.* is binary or"
    ):
        prepare_data.fn(study, tmp_path / "mlruns")


@pytest.mark.parametrize(
    ("key", "domain", "largest"),
    [
        ("batch_size.size", Choice((32, 128)), 128),
        ("batch_size.minimum", Choice((91,)), 91),
        ("batch_size.maximum", Range(8, 256, integer=True), 256),
        ("batch_size.size", Choice((32, 90)), None),
    ],
)
def test_batches_above_the_data_break_rule_c11(tmp_path, key, domain, largest):
    study = study_of(tmp_path)
    study.space = SearchSpace((Dimension(key, domain),))
    if largest is None:
        prepare_data.fn(study, tmp_path / "mlruns")
        return
    with pytest.raises(StudyError, match=rf"{key}: {largest} .*90 training examples"):
        prepare_data.fn(study, tmp_path / "mlruns")


def test_batches_above_the_smallest_fold_break_rule_c11(tmp_path):
    study = study_of(tmp_path, split=SplitSection(folds=4))
    study.space = SearchSpace((Dimension("batch_size.size", Choice((90,))),))
    assert prepare_data.fn(study, tmp_path / "mlruns").sizes == {"train": 120, "test": 30}
    study.space = SearchSpace((Dimension("batch_size.size", Choice((91,))),))
    with pytest.raises(StudyError, match=r"batch_size\.size: 91 .*90 training examples of the smallest fold"):
        prepare_data.fn(study, tmp_path / "mlruns")


@pytest.mark.parametrize(
    ("metric", "kind"),
    [("val_auc", "stratified"), ("val_pr_auc", "stratified"), ("val_r2", "random"), ("val_spearman", "random")],
)
def test_folds_without_a_value_of_the_objective_are_refused_with_remedies_that_work(tmp_path, metric, kind):
    """In the newer half, all rows have one class, or one target."""
    table = {"day": range(80), "a": [index % 7 for index in range(80)]}
    y = ["p", "q"] * 20 + ["q"] * 40 if "auc" in metric else [index + 0.5 for index in range(40)] + [7.5] * 40
    pd.DataFrame({**table, "y": y}).to_csv(tmp_path / "t.csv", index=False)
    given = {"kind": "time", "column": "day", "folds": 4, "test": 0.1}

    def prepare(objective: str, **changes: object) -> None:
        split = {**given, **changes}
        if split["kind"] != "time":
            del split["column"]
        study = study_of(tmp_path, "t.csv", target="y", split=SplitSection(**split))
        study.objective = Objective(metric=objective)
        prepare_data.fn(study, tmp_path / "mlruns")

    with pytest.raises(StudyError, match=rf"objective\.metric: {metric} .*fold 3"):
        prepare(metric)
    prepare("val_loss")
    prepare(metric, kind=kind)


@pytest.mark.parametrize(
    ("objective", "target", "said"),
    [
        ({"metric": "val_top_3"}, "few", r"objective\.metric: val_top_3 is 1 .*val_accuracy"),
        ({"metric": "val_mape"}, "zero", r"objective\.metric: val_mape .* 0; use val_mae"),
        ({"report": ("val_mape",)}, "zero", r"objective\.report: val_mape"),
        ({"report": ("val_top_5",)}, "few", r"objective\.report: val_top_5"),
        ({"report": ("val_spearman",)}, "few", r"objective\.report: unknown metric of a multiclass task"),
        ({"metric": "val_mcc"}, "zero", r"objective\.metric: unknown .* binary or multiclass"),
        ({"metrics": ("val_mcc", "val_auc")}, "zero", r"objective\.metrics: unknown .* binary or multiclass"),
        ({"metrics": ("val_mae", "val_mcc")}, "zero", r"objective\.metrics: unknown .* binary or multiclass"),
    ],
)
def test_metrics_without_a_meaning_are_refused_with_remedies_that_work(tmp_path, objective, target, said):
    few = ["p", "q", "r"] * 30
    zero = [float(index % 7 > 0) * index for index in range(90)]
    pd.DataFrame({"a": range(90), "few": few, "zero": zero}).to_csv(tmp_path / "t.csv", index=False)
    drop = ("zero",) if target == "few" else ("few",)
    study = study_of(tmp_path, "t.csv", target=target, drop=drop, scale_target=target == "zero")
    study.objective = Objective(**objective)
    with pytest.raises(StudyError, match=said):
        prepare_data.fn(study, tmp_path / "mlruns")
    study.objective = Objective(metric="val_accuracy" if target == "few" else "val_mae")
    prepare_data.fn(study, tmp_path / "mlruns")


@pytest.mark.parametrize("levels", [[0.1, 0.5], {"zero": [0.1, 0.5]}])
def test_a_pinball_loss_of_another_quantile_than_models_predict_is_refused(tmp_path, levels):
    numbers = np.random.default_rng(0).normal(size=(60, 2))
    pd.DataFrame({"a": range(60), "zero": numbers[:, 0], "other": numbers[:, 1]}).to_csv(tmp_path / "t.csv")
    is_of_heads = isinstance(levels, dict)
    given = {"target": {"zero": "zero", "other": "other"}} if is_of_heads else {"target": "zero", "drop": ("other",)}
    study = study_of(tmp_path, "t.csv", **given)
    metric = "val_zero_pinball_0.9" if is_of_heads else "val_pinball_0.9"
    study.objective = Objective(report=(metric,))
    study.space = SearchSpace((Dimension("training.quantiles", Choice((levels,))),))
    with pytest.raises(StudyError, match=rf"objective\.report: {metric} needs the quantile 0\.9, .*0\.1, 0\.5"):
        prepare_data.fn(study, tmp_path / "mlruns")
    added = {"zero": [0.1, 0.9]} if is_of_heads else [0.1, 0.9]
    study.space = SearchSpace((Dimension("training.quantiles", Choice((added,))),))
    prepare_data.fn(study, tmp_path / "mlruns")


@pytest.mark.parametrize(("metric", "is_of_columns"), [("val_spearman", True), ("val_r2", False)])
def test_a_target_that_never_changes_has_no_correlation(tmp_path, metric, is_of_columns):
    """The mean over targets is NaN in every trial, or in the gate, as with the borders of images."""
    images = np.random.default_rng(0).normal(size=(60, 3, 3))
    images[:, 0] = 0.0
    np.savez(tmp_path / "images.npz", x=images, y=images)
    np.savez(tmp_path / "columns.npz", x=images, y=images[:, :2].reshape(60, 6))
    for file, is_refused in (("images.npz", True), ("columns.npz", is_of_columns)):
        study = study_of(tmp_path, file)
        study.objective = Objective(metric=metric)
        if is_refused:
            with pytest.raises(StudyError, match=rf"objective\.metric: {metric} .*3 of .*val_mae"):
                prepare_data.fn(study, tmp_path / "mlruns")
            study.objective = Objective(metric="val_mae")
        prepare_data.fn(study, tmp_path / "mlruns")


OWN = """
import numpy as np

def error(y_true, y_pred): return float(np.abs(y_true - y_pred).mean())
def weighted(y_true, y_pred, weights): return float(np.average(np.abs(y_true - y_pred), weights=weights))
def chance(y_true, y_pred): return np.random.random()
def lost(y_true, y_pred): return float("nan")
def needs_50(y_true, y_pred): return 1.0 / (len(y_true) > 50)
def fails(y_true, y_pred): return y_pred["x"]
"""


def objective_of(name, place, **keys):
    """The user's function as the only objective, or as one after the first."""
    if place == "metric":
        return Objective(metric=f"own.py:{name}", direction="minimize", **keys)
    return Objective(metrics=("val_mae", f"own.py:{name}"), directions=("minimize", "minimize"), **keys)


@pytest.mark.parametrize("place", ["metric", "metrics"])
@pytest.mark.parametrize(
    ("name", "keys", "said"),
    [
        ("error", {}, ""),
        ("chance", {}, "for the same values"),
        ("lost", {}, "finite"),
        ("fails", {}, "line 9 of own.py"),
        ("needs_50", {}, "ZeroDivisionError.*line 8 of own.py"),
        ("error", {"weight": "w"}, 'average = "rows"'),
        ("weighted", {"weight": "w"}, ""),
        ("nix", {}, "unknown function 'nix'"),
    ],
)
def test_a_metric_of_the_user_is_called_before_the_first_trial(tmp_path, name, keys, said, place):
    (tmp_path / "own.py").write_text(OWN)
    pd.DataFrame({"a": range(90), "w": 2.0, "y": [index % 7 for index in range(90)]}).to_csv(tmp_path / "t.csv")
    study = study_of(tmp_path, "t.csv", target="y", task="regression", **keys)
    study.objective = objective_of(name, place)
    if not said:
        prepare_data.fn(study, tmp_path / "mlruns")
        return
    with pytest.raises(StudyError, match=rf"objective\.{place}: .*{said}"):
        prepare_data.fn(study, tmp_path / "mlruns")
    if "rows" in said:
        study.objective = objective_of("error", place, average="rows")
        prepare_data.fn(study, tmp_path / "mlruns")


@pytest.mark.parametrize("metric", ["val_auc", "val_pr_auc"])
def test_validation_rows_of_one_class_are_refused(tmp_path, metric):
    """The newest rows have one class."""
    y = ["p", "q"] * 20 + ["q"] * 40
    pd.DataFrame({"day": range(80), "a": [index % 7 for index in range(80)], "y": y}).to_csv(tmp_path / "t.csv")
    for split in ({"kind": "time", "column": "day", "test": 0.1}, {"kind": "stratified"}):
        study = study_of(tmp_path, "t.csv", target="y", split=SplitSection(**split))
        study.objective = Objective(metric=metric)
        if split["kind"] == "stratified":
            prepare_data.fn(study, tmp_path / "mlruns")
        else:
            with pytest.raises(StudyError, match=rf"objective\.metric: {metric} .*16 validation rows.*stratified"):
                prepare_data.fn(study, tmp_path / "mlruns")


def test_study_of_a_table_reaches_the_data_with_all_its_keys(tmp_path):
    rows = range(90)
    table = {"id": rows, "patient": [row // 3 for row in rows], "zip": [row % 4 for row in rows]}
    pd.DataFrame({**table, "price": [1000.0 * (row % 13) for row in rows]}).to_csv(tmp_path / "t.csv", index=False)
    study = study_of(
        tmp_path,
        "t.csv",
        target="price",
        task="regression",
        drop=("id",),
        categorical=("zip",),
        scale_target=True,
        split=SplitSection(kind="group", column="patient", validation=0.3, test=0.1),
    )
    prepared = prepare_data.fn(study, tmp_path / "mlruns")
    description = open_dataset(prepared.folder).description
    assert description["features"] == ["zip=0", "zip=1", "zip=2", "zip=3"]
    shares = {"validation": 0.3, "test": 0.1, "ranking": 0.0}
    assert description["split"] == {"kind": "group", "column": "patient", "seed": 3, **shares}
    assert prepared.sizes == {"train": 54, "validation": 27, "test": 9}
    assert description["target_scale"]["mean"][0] > 1000


def test_seed_of_the_split_overrides_that_of_the_study(tmp_path):
    def version(**split: int) -> str:
        return prepare_data.fn(study_of(tmp_path, split=SplitSection(**split)), tmp_path / "mlruns").version

    assert version() == version(seed=3) != version(seed=4)
