"""`nightune init`: what it writes is a valid study of the data, says so in comments, and replaces nothing."""

import ast
import sqlite3
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nightune.models.errors import InputError
from nightune.tasks.check_study import StudyCheck, check_study
from nightune.tasks.first_study import write_first_study
from nightune.tasks.load_study import load_study

pytestmark = pytest.mark.slow  # each checks a study

ROWS = 80
RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.normal(size=(ROWS, 5))
SIDE = (NUMBERS[:, 0] > 0).astype(int)
ARRAYS: dict[str, tuple[dict[str, Any], str, tuple[int, ...]]] = {
    "rows": ({"x": NUMBERS, "y": SIDE}, "binary", (5,)),
    "few rows": ({"x": NUMBERS[:12], "y": SIDE[:12]}, "binary", (5,)),
    "series": ({"x": RANDOM.normal(size=(ROWS, 12, 3)), "y": RANDOM.normal(size=(ROWS, 2))}, "regression", (12, 3)),
    "images": ({"x": RANDOM.normal(size=(ROWS, 8, 8, 1)), "y": np.arange(ROWS) % 3}, "multiclass", (8, 8, 1)),
    "blocks": ({"x": RANDOM.normal(size=(ROWS, 2, 2, 2, 2)), "y": SIDE}, "binary", (2, 2, 2, 2)),
    "labels": ({"x": NUMBERS, "y": (NUMBERS[:, :3] > 0).astype(int)}, "multilabel", (5,)),
    "groups": ({"x": NUMBERS, "y": SIDE, "group": np.arange(ROWS) // 4}, "binary", (5,)),
    "parts": (
        {"x_train": NUMBERS[:60], "y_train": SIDE[:60], "x_test": NUMBERS[60:], "y_test": SIDE[60:]},
        "binary",
        (5,),
    ),
}


def checked(study: Path) -> StudyCheck:
    return check_study(load_study(study))


def table(folder: Path, name: str = "my data, 2024.csv", header: str = "price,city,species") -> Path:
    path = folder / name
    rows = [f"{price:.3f},{'ab'[row % 2]},{'xyz'[row % 3]}" for row, price in enumerate(NUMBERS[:, 0])]
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ARRAYS)
def test_a_study_of_arrays_passes_the_check(kind: str, tmp_path: Path) -> None:
    arrays, task, shape = ARRAYS[kind]
    np.savez(tmp_path / "data.npz", **arrays)
    written = write_first_study(tmp_path / "data.npz", None, tmp_path)
    check = checked(written.study)
    assert check.data["task"] == task
    assert tuple(check.data["input_shape"]) == shape  # type: ignore[arg-type]
    assert not check.refused
    assert written.target is None
    assert ast.parse(written.model.read_text(encoding="utf-8"))


def test_targets_of_several_axes_are_refused_before_a_file_is_written(tmp_path: Path) -> None:
    images = RANDOM.normal(size=(ROWS, 8, 8, 1))
    np.savez(tmp_path / "data.npz", x=images, y=images > 0)
    with pytest.raises(InputError, match="targets-of-several-axes"):
        write_first_study(tmp_path / "data.npz", None, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["data.npz"]


def test_a_study_of_a_table_names_its_target_and_stands_in_another_folder(tmp_path: Path) -> None:
    source, folder = table(tmp_path), tmp_path / "studies"
    folder.mkdir()
    written = write_first_study(source, None, folder)
    assert (written.study.name, written.model.name) == ("my_data_2024.toml", "my_data_2024_model.py")
    assert (written.target, written.is_target_chosen) == ("species", True)
    text = written.study.read_text(encoding="utf-8")
    assert tomllib.loads(text)["data"]["source"] == "../my data, 2024.csv"
    assert text.count("#") > 8
    assert checked(written.study).data["task"] == "multiclass"
    other = write_first_study(source, "price", tmp_path)
    assert not other.is_target_chosen
    assert checked(other.study).data["task"] == "regression"
    assert tomllib.loads(other.study.read_text(encoding="utf-8"))["data"]["scale_target"] is True


@pytest.mark.parametrize(("header", "target"), [("Label,b,c", "Label"), ("a,y,c", "y"), ("a,b,c", "c")])
def test_the_target_is_a_column_of_a_usual_name_or_the_last(header: str, target: str, tmp_path: Path) -> None:
    assert write_first_study(table(tmp_path, header=header), None, tmp_path).target == target


@pytest.mark.parametrize("name", ["2024.csv", "é.csv", "-.csv", "a" * 150 + ".csv"])
def test_every_name_of_a_file_gives_a_name_of_a_study(name: str, tmp_path: Path) -> None:
    checked(write_first_study(table(tmp_path, name), None, tmp_path).study)


def test_a_name_of_a_column_is_escaped(tmp_path: Path) -> None:
    header = 'a,b,"say ""yes""\\n # x"'
    written = write_first_study(table(tmp_path, header=header), None, tmp_path)
    assert load_study(written.study).data.target == 'say "yes"\\n # x'


@pytest.mark.parametrize("existing", ["flowers.toml", "flowers_model.py"])
def test_no_file_is_replaced_and_none_is_left(existing: str, tmp_path: Path) -> None:
    source = table(tmp_path, "flowers.csv")
    (tmp_path / existing).write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=existing):
        write_first_study(source, None, tmp_path)
    assert (tmp_path / existing).read_text(encoding="utf-8") == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"flowers.csv", existing}


@pytest.mark.parametrize(
    ("name", "text", "target", "key"),
    [
        ("a.csv", "", None, "data.source"),
        ("a.csv", "x\n1\n2\n", None, "data"),
        ("a.csv", "x,y\n" + "1,1\n" * 40, None, "data.target"),
        ("a.csv", "x,y\n" + "1,1\n" * 40, "z", "--target"),
        ("a.xyz", "x", None, "DATA"),
    ],
)
def test_data_that_cannot_be_trained_on_leaves_no_file(
    name: str, text: str, target: str | None, key: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=key):
        write_first_study(tmp_path / name, target, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_missing_file_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv"):
        write_first_study(tmp_path / "none.csv", None, tmp_path)
    with pytest.raises(InputError, match="nowhere"):
        write_first_study(table(tmp_path), None, tmp_path / "nowhere")


def test_a_file_that_needs_a_key_is_refused_with_what_to_write(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "t.db")
    for name in ("a", "b"):
        pd.DataFrame({"x": [1.0], "y": [1]}).to_sql(name, connection)
    connection.close()
    with pytest.raises(InputError, match=r"select \* from a.*Write a study") as caught:
        write_first_study(tmp_path / "t.db", None, tmp_path)
    assert caught.value.key == "data.query"


def test_images_of_several_sizes_get_one(tmp_path: Path) -> None:
    for number in range(24):
        kind = tmp_path / "pets" / ("cat", "dog")[number % 2]
        kind.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8 + number, 9), 10 * number, np.uint8)).save(kind / f"{number}.png")
    written = write_first_study(tmp_path / "pets", None, tmp_path)
    assert "image_size = [64, 64]" in written.study.read_text(encoding="utf-8")
    assert "[64, 64, 1]" in written.data


def test_columns_of_texts_and_of_many_labels_become_inputs_of_their_own(tmp_path: Path) -> None:
    rows = range(240)
    lines = [
        f"this one is number {row} of many,city {row % 60},id{row},{10**17 + row % 50},{row % 7},{'ab'[row % 2]}"
        for row in rows
    ]
    (tmp_path / "t.csv").write_text("\n".join(["comment,city,name,wide,count,y", *lines]) + "\n", encoding="utf-8")
    written = write_first_study(tmp_path / "t.csv", "y", tmp_path)
    data = tomllib.loads(written.study.read_text(encoding="utf-8"))["data"]
    assert data["text"] == {"comment": {"words": 5000, "length": 10}}
    assert data["codes"] == ["city", "wide"]  # a name of each row is none
    check = checked(written.study)
    assert list(check.data["input_shape"]) == ["features", "comment", "city", "wide"]  # type: ignore[call-overload]
    (tmp_path / "text.csv").write_text(
        "\n".join(["comment,y", *(f"{line.split(',')[0]},{line[-1]}" for line in lines)])
    )
    alone = write_first_study(tmp_path / "text.csv", "y", tmp_path)
    assert checked(alone.study).data["input_shape"] == [10]
