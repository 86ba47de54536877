import logging
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from nightune.models.data.storage import open_dataset
from nightune.tasks.prepare_data import prepare_data
from nightune.tuning.errors import StudyError
from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.study.data_section import DataSection
from nightune.tuning.study.data_section import Split as SplitSection
from nightune.tuning.study.sections import Objective


def study_of(folder: Path, source: str = "iris", **data: object) -> SimpleNamespace:
    """The part of a study that the task reads."""
    return SimpleNamespace(
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


@pytest.mark.parametrize(("metric", "kind"), [("val_auc", "stratified"), ("val_r2", "random")])
def test_folds_without_a_value_of_the_objective_are_refused_with_remedies_that_work(tmp_path, metric, kind):
    """In the newer half, all rows have one class, or one target."""
    table = {"day": range(80), "a": [index % 7 for index in range(80)]}
    y = ["p", "q"] * 20 + ["q"] * 40 if metric == "val_auc" else [index + 0.5 for index in range(40)] + [7.5] * 40
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
