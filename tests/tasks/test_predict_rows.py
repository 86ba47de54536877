"""Answers of a version for the rows of a file: named columns, files of three formats, refusals that name the remedy."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.rows_to_predict import RowsToPredict
from nightune.models.errors import InputError
from nightune.tasks import predict_rows as module
from nightune.tasks.predict_rows import predict_rows, refuse_bad_answers, write_answers
from nightune.tasks.tracking.registry import open_version as opening
from nightune.tasks.tracking.registry.open_version import Opened
from nightune.tasks.tracking.registry.registry import Version
from nightune.tasks.tracking.store.errors import StoreError

STORE: Any = SimpleNamespace(compiled=None)
VERSIONS = [Version("m", 1, "a", {}, ("old",)), Version("m", 2, "b", {}, ("champion",)), Version("m", 3, "c")]
COLUMNS = [{"name": "a", "dtype": "float64", "kind": "number"}]


class WrongRowsError(ValueError):
    """As a version's own copy of Nightune's error."""

    message = "row 1: column 'a' holds inf"


WrongRowsError.__name__ = "InputError"


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """Predict two rows by a version with these answers."""
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4\n")
    monkeypatch.setattr(opening, "known_versions", lambda *_: VERSIONS)
    monkeypatch.setattr(module, "load_keras", lambda *_: None)

    def answered(
        description: dict[str, Any],
        answers: Any,
        probabilities: Any = None,
        parameters: tuple[str, ...] = ("output",),
        number: int | None = None,
    ) -> pd.DataFrame:
        def predict(_context: object, rows: pd.DataFrame, params: dict[str, str]) -> Any:
            if isinstance(answers, Exception):
                raise answers
            assert rows.columns.tolist() == ["a"]
            return probabilities if params.get("output") == "probabilities" else answers

        predictor = SimpleNamespace(description={"columns": COLUMNS, "target": "b", **description})
        opened = Opened(SimpleNamespace(predictor=predictor, predict=predict), parameters)
        monkeypatch.setattr(module, "open_version", lambda *_: opened)
        wanted = probabilities is not None
        return predict_rows(STORE, "m", tmp_path / "rows.csv", number, "champion", wanted).answers

    return answered


def test_columns_are_named_by_what_they_answer(answer: Callable[..., pd.DataFrame]) -> None:
    two = np.array([[0.25, 0.75], [0.5, 0.5]])
    quantiles = answer({"task": "regression", "quantiles": [0.1, 0.9]}, two)
    assert quantiles.columns.tolist() == ["prediction_0.1", "prediction_0.9"]
    assert answer({"task": "regression"}, two).columns.tolist() == ["prediction_0", "prediction_1"]
    assert answer({"task": "regression"}, two[:, 0])["prediction"].tolist() == [0.25, 0.5]
    named = answer({"task": "binary", "classes": [0, 1], "class_names": ["cat", "dog"]}, np.array([1, 0]))
    assert named.to_dict("list") == {"prediction": [1, 0], "prediction_name": ["dog", "cat"]}
    mask = np.arange(12).reshape(2, 2, 3)
    positions = answer({"task": "multilabel", "classes": list(range(6)), "target_shape": [2, 3]}, mask)
    assert positions.columns.tolist() == [f"prediction_{place}" for place in range(6)]
    assert positions.to_numpy().reshape(mask.shape).tolist() == mask.tolist()
    frame = pd.DataFrame(two, columns=["u", "v"])
    assert answer({"task": "regression"}, frame).columns.tolist() == ["u", "v"]
    classes = answer({"task": "binary", "classes": [0, 1]}, np.array([1, 0]), pd.DataFrame(two, columns=[0, 1]))
    assert classes.columns.tolist() == ["prediction", "probability_0", "probability_1"]
    assert classes.to_numpy().tolist() == [[1, 0.25, 0.75], [0, 0.5, 0.5]]


def test_answers_for_a_folder_have_the_names_of_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("a.png", "b/c.png")
    monkeypatch.setattr(opening, "known_versions", lambda *_: VERSIONS)
    monkeypatch.setattr(module, "load_keras", lambda *_: None)
    monkeypatch.setattr(module, "read_rows", lambda *_: RowsToPredict(list(names), names=names))
    predictor = SimpleNamespace(description={"task": "multiclass", "classes": ["x", "y"]})
    opened = Opened(SimpleNamespace(predictor=predictor, predict=lambda *_: np.array(["x", "y"])), ("output",))
    monkeypatch.setattr(module, "open_version", lambda *_: opened)
    answers = predict_rows(STORE, "m", Path("pets"), None, "champion", False).answers
    assert answers.to_dict("list") == {"file": list(names), "prediction": ["x", "y"]}


def test_heads_have_columns_that_begin_with_their_names(answer: Callable[..., pd.DataFrame]) -> None:
    heads = [{"name": "kind", "task": "binary"}, {"name": "mask", "task": "regression"}]
    answers = {"kind": np.array(["a", "b"]), "mask": np.arange(4.0).reshape(2, 2, 1)}
    table = answer({"task": "heads", "heads": heads}, answers)
    assert table.to_dict("list") == {"kind": ["a", "b"], "mask_0": [0.0, 2.0], "mask_1": [1.0, 3.0]}
    frame = pd.DataFrame({"kind_a": [1.0, 0.5]})
    assert answer({"task": "heads", "heads": heads}, answers, frame).columns.tolist()[-1] == "probability_kind_a"
    with pytest.raises(InputError, match="quantities"):
        answer({"task": "heads", "heads": heads[1:]}, answers, frame)


def test_probabilities_that_a_version_does_not_have_are_refused(answer: Callable[..., pd.DataFrame]) -> None:
    asked = pd.DataFrame({"no": [1.0, 0.5]})
    with pytest.raises(InputError, match="quantities"):
        answer({"task": "regression"}, np.zeros(2), asked)
    with pytest.raises(InputError, match="version 2 was registered by an earlier"):
        answer({"task": "binary"}, np.zeros(2), asked, parameters=())


def test_rows_that_a_version_refuses_are_an_error_of_the_file(answer: Callable[..., pd.DataFrame]) -> None:
    with pytest.raises(InputError, match=r"rows\.csv: row 1: column 'a' holds inf"):
        answer({"task": "regression"}, WrongRowsError())
    with pytest.raises(InputError, match=r"rows\.csv: .*no such op"):
        answer({"task": "regression"}, RuntimeError("no such op"))


def test_a_version_is_found_by_number_or_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "known_versions", lambda *_: VERSIONS)
    assert opening.find_version(STORE, "m", None, "champion").number == 2
    assert opening.find_version(STORE, "m", 3, "champion").number == 3
    with pytest.raises(StoreError, match=r"no version 4 \(known: 1, 2, 3\)"):
        opening.find_version(STORE, "m", 4, "champion")
    with pytest.raises(StoreError, match=r"challenger; name one by --version \(known: 1 @old, 2 @champion, 3\)"):
        opening.find_version(STORE, "m", None, "challenger")


def test_a_version_of_another_program_or_with_damaged_files_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(opening, "fetch_version", lambda *_: tmp_path)
    with pytest.raises(StoreError, match="load it with MLflow"):
        opening.open_version(STORE, VERSIONS[0], tmp_path)
    (tmp_path / "artifacts/parts").mkdir(parents=True)
    (tmp_path / "artifacts/parts/model.keras").touch()
    with pytest.raises(StoreError, match="m version 1 cannot be opened"):
        opening.open_version(STORE, VERSIONS[0], tmp_path)


ANSWERS = pd.DataFrame({"prediction": ["ä,b", "01"], "probability_01": [0.1, 1 / 3]})


def test_answers_are_written_by_the_suffix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("out.csv", "out.jsonl", "out.parquet", "out.CSV"):
        write_answers(ANSWERS, tmp_path / name)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.CSV", "out.csv", "out.jsonl", "out.parquet"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out.csv", dtype={"prediction": str}), ANSWERS)
    pd.testing.assert_frame_equal(pd.read_json(tmp_path / "out.jsonl", lines=True, dtype={"prediction": str}), ANSWERS)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), ANSWERS)
    write_answers(ANSWERS, None)
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(capsys.readouterr().out), dtype={"prediction": str}), ANSWERS)


def test_an_output_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("a\n1\n")
    for name, word in (("out.xls", "format"), ("gone/out.csv", "no folder"), ("rows.csv", "file of the rows")):
        with pytest.raises(InputError, match=word):
            refuse_bad_answers(tmp_path / name, rows)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        refuse_bad_answers(tmp_path / "folder.csv", rows)
    refuse_bad_answers(tmp_path / "out.csv", rows)
