"""Columns of paths of images become pixels: from the table's folder in training, from paths or bytes in a version."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.rows_to_predict import read_rows
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError
from nightune.models.serving.predictor import Predictor
from nightune.tuning.study.data_section import DataSection
from nightune.tuning.study.section import read_section

COUNT = 40
SHAPE = (4, 5, 3)


def write(folder: Path) -> pd.DataFrame:
    """Write images and a table of their paths, from the table's folder on."""
    (folder / "photos").mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    paths = [f"photos/{row}.png" for row in range(COUNT)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (8, 10, 3), dtype=np.uint8)).save(folder / path)
    table = pd.DataFrame({"photo": paths, "price": np.arange(COUNT) / 4, "sold": ["yes", "no"] * (COUNT // 2)})
    table.to_csv(folder / "t.csv", index=False)
    return table


def load(folder: Path, source: str = "t.csv", **keys: Any) -> Dataset:
    split = Split("time", column="price")  # in the order of the rows
    return load_dataset(DataSettings(source, target="sold", images={"photo": SHAPE}, split=split, **keys), folder)


def test_images_are_an_input_beside_the_features_or_one_array(tmp_path: Path) -> None:
    write(tmp_path)
    alone = load(tmp_path)
    assert alone.input_shape == SHAPE
    table = pd.read_csv(tmp_path / "t.csv")
    table.assign(rooms=np.arange(COUNT) % 7).to_csv(tmp_path / "t.csv", index=False)
    both = load(tmp_path)
    assert both.input_shape == {"features": (1,), "photo": SHAPE}
    pixels = both.train.inputs["photo"]
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, alone.train.inputs)
    first = Image.open(tmp_path / "photos/0.png").resize((5, 4), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(pixels[0], np.asarray(first) / 255, atol=1e-6)
    assert not any("identifier" in finding for finding in both.findings)


def test_a_version_takes_paths_and_bytes_as_training_read_them(tmp_path: Path) -> None:
    table = write(tmp_path)
    opened = open_dataset(save_dataset(load(tmp_path), tmp_path / "data"))
    predictor = Predictor(None, opened.preprocessing, opened.description)
    start = len(opened.train) + len(opened.validation)
    test = opened.test.open(Purpose.GATE, record=lambda: None)
    rows = table.iloc[start : start + len(test)]
    whole = rows.assign(photo=[str(tmp_path / path) for path in rows["photo"]])
    content = rows.assign(photo=[(tmp_path / path).read_bytes() for path in rows["photo"]])
    rows.to_csv(tmp_path / "rows.csv", index=False)
    for given in (whole, content, read_rows(tmp_path / "rows.csv", opened.description).rows, test.table):
        np.testing.assert_array_equal(predictor.inputs(given), test.inputs)


def test_paths_of_a_function_start_at_the_folder_of_the_study(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "load.py").write_text(
        "import pandas as pd\nfrom pathlib import Path\n"
        "def data():\n    return pd.read_csv(Path(__file__).with_name('t.csv'))\n"
    )
    np.testing.assert_array_equal(load(tmp_path, "load.py:data").train.inputs, load(tmp_path).train.inputs)


@pytest.mark.parametrize(
    ("name", "words"), [("photos/none.png", "none.png cannot be read"), ("t.csv", "no image"), ("", "have no image")]
)
def test_images_that_cannot_be_read_are_refused_with_column_and_row(name: str, words: str, tmp_path: Path) -> None:
    table = write(tmp_path)
    table.loc[3, "photo"] = name
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match=words) as error:
        load(tmp_path)
    assert error.value.key == "data.images.photo"
    assert "row 3" in error.value.message


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("a", {"a": (64, 64, 3)}),
        (["a", "b"], {"a": (64, 64, 3), "b": (64, 64, 3)}),
        ({"a": {"size": [8, 9], "color": "grey"}}, {"a": (8, 9, 1)}),
        ({"a": [8, 9]}, "size = "),
        ({"a": {"size": 8}}, "height and width"),
        ({"a": {"size": [0, 8]}}, "from 1"),
        ({"a": {"colour": "grey"}}, "did you mean 'color'"),
        ({"a": {"color": "gray"}}, "did you mean 'grey'"),
        (3, "a list of columns"),
    ],
)
def test_the_key_is_a_column_a_list_or_a_table(given: Any, read: Any) -> None:
    section, problems = read_section(DataSection, {"source": "t.csv", "images": given}, "data")
    if isinstance(read, str):
        assert [problem.key for problem in problems] == ["data.images"]
        assert read in problems[0].message
    else:
        assert section is not None
        assert section.images == read


def test_a_column_of_images_with_few_levels_of_16_bits_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    for row in range(COUNT):
        Image.fromarray(np.full((8, 10), row, np.uint16)).save(tmp_path / f"photos/{row}.png")
    with pytest.raises(InputError, match="16 bits") as caught:
        load(tmp_path)
    assert caught.value.key == "data.images.photo"
