"""Folders of images are read by classes and splits; a version takes paths, bytes or pixels as training read them."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.rows_to_predict import existing_rows, read_rows
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError
from nightune.models.serving.predictor import Predictor

CLASSES = ("cat", "dog", "emu")
PER_CLASS = 8


def write_images(folder: Path, count: int = PER_CLASS, color: bool = False, sizes: int = 2) -> None:
    random = np.random.default_rng(len(folder.name))
    for place, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            shape = (6 + number % sizes, 5, *((3,) if color else ()))
            pixels = random.integers(60 * place, 60 * place + 60, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.{'png' if number % 2 else 'jpg'}")


def load(folder: Path, **keys) -> Dataset:
    return load_dataset(DataSettings("images", **keys), folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("animals")
    write_images(folder / "images")
    (folder / "images" / ".DS_Store").touch()
    (folder / "images" / "notes.txt").touch()
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> Dataset:
    return load(folder, image_size=(4, 4))


def test_classes_are_the_names_of_the_folders(data):
    assert (data.task, data.classes, data.input_shape) == ("multiclass", CLASSES, (4, 4, 1))
    assert data.train.inputs.dtype == np.float32
    assert 0 <= data.train.inputs.min() < data.train.inputs.max() <= 1
    assert any("notes.txt" in finding for finding in data.findings)
    assert any("24 images of 3 classes" in finding for finding in data.findings)


def test_color_is_the_studys_or_that_of_the_images(folder, tmp_path):
    assert load(folder, image_size=(4, 4), image_color="rgb").input_shape == (4, 4, 3)
    write_images(tmp_path / "images", color=True)
    assert load(tmp_path, image_size=(4, 4)).input_shape == (4, 4, 3)
    assert load(tmp_path, image_size=(4, 4), image_color="grey").input_shape == (4, 4, 1)


def test_transparency_is_kept_or_said(tmp_path):
    write_images(tmp_path / "images")
    Image.fromarray(np.zeros((6, 5, 4), np.uint8)).save(tmp_path / "images" / "cat" / "clear.png")
    assert any('image_color = "rgba"' in finding for finding in load(tmp_path, image_size=(4, 4)).findings)
    assert load(tmp_path, image_size=(4, 4), image_color="rgba").input_shape == (4, 4, 4)


def test_images_of_one_size_need_no_size(tmp_path):
    write_images(tmp_path / "images", sizes=1)
    assert load(tmp_path).input_shape == (6, 5, 1)


def test_folders_above_the_classes_are_fixed_splits(tmp_path):
    for name, count in (("train", 5), ("val", 2), ("Test", 3)):
        write_images(tmp_path / "images" / name, count)
    data = load(tmp_path, image_size=(4, 4))
    assert data.sizes == {"train": 15, "validation": 6, "test": 9}
    write_images(tmp_path / "more", 2)
    split = Split("fixed", validation="more", test="images/Test")
    apart = load_dataset(DataSettings("images/train", image_size=(4, 4), split=split), tmp_path)
    assert apart.sizes == data.sizes
    np.testing.assert_array_equal(apart.train.inputs, data.train.inputs)


def test_large_images_are_mapped_to_a_file(folder, data, monkeypatch):
    monkeypatch.setenv("NIGHTUNE_DATA", "disk")
    large = load(folder, image_size=(4, 4))
    assert isinstance(large.train.inputs, np.memmap)
    assert large.version == data.version


class OneOutput:
    """Stands for a model: its inputs are what counts here."""


def test_a_version_takes_paths_bytes_and_pixels_as_training_read_them(folder, data, tmp_path):
    opened = open_dataset(save_dataset(data, tmp_path))
    predictor = Predictor(OneOutput(), None, opened.description)
    test = opened.test.open(Purpose.PREPARATION, record=lambda: None)
    known = {row.tobytes() for part in (opened.train, opened.validation, test) for row in part.inputs}
    files = sorted((folder / "images").glob("*/*"))
    from_paths = predictor.inputs([str(file) for file in files])
    assert {row.tobytes() for row in from_paths} == known
    for same in (
        files,
        [file.read_bytes() for file in files],
        np.array([str(file) for file in files]),
        from_paths,
        np.round(from_paths * 255).astype(np.uint8),
    ):
        np.testing.assert_array_equal(predictor.inputs(same), from_paths)
    rows = read_rows(existing_rows(folder / "images"), opened.description)
    assert rows.names[0] == str(Path("cat") / "0.jpg")
    np.testing.assert_array_equal(predictor.inputs(rows.rows), from_paths)
    (folder / "paths.csv").write_text("file\nimages/cat/0.jpg\n")
    listed = read_rows(existing_rows(folder / "paths.csv"), opened.description)
    np.testing.assert_array_equal(predictor.inputs(listed.rows), from_paths[:1])
    one = read_rows(existing_rows(files[3]), opened.description)
    np.testing.assert_array_equal(predictor.inputs(one.rows), from_paths[3:4])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (["none.png"], ["row 0", "none.png"]),
        ([b"no image"], ["row 0", "no image"]),
        (np.zeros((1, 9, 9, 1), np.uint8), ["(9, 9, 1)", "(4, 4, 1)"]),
        (np.full((1, 4, 4, 1), 255.0), ["255", "uint8"]),
        (np.full((1, 4, 4, 1), 300), ["0 to 255"]),
        ([3.5], ["3.5"]),
    ],
)
def test_other_rows_are_refused_by_a_version(data, raw, words):
    with pytest.raises(InputError) as caught:
        Predictor(OneOutput(), None, data.description).inputs(raw)
    assert all(word in caught.value.message for word in words)


def broken(folder: Path) -> None:
    (folder / "cat" / "zz.png").write_bytes((folder / "cat" / "1.png").read_bytes()[:50])
    (folder / "dog" / "zz.jpg").write_bytes(b"")


def flat(folder: Path) -> None:
    (folder / "cat" / "1.png").rename(folder / "1.png")


def classes_above(folder: Path) -> None:
    (folder / "cat" / "train").mkdir()
    (folder / "cat" / "1.png").rename(folder / "cat" / "train" / "1.png")


def beside(folder: Path) -> None:
    (folder / "train").mkdir()
    (folder / "cat").rename(folder / "train" / "cat")


def other_kind(folder: Path) -> None:
    (folder / "cat" / "a.heic").touch()


def flat_splits(folder: Path) -> None:
    for name, part in (("cat", "train"), ("dog", "val"), ("emu", "test")):
        (folder / name).rename(folder / part)


def test_a_class_may_have_the_name_of_a_split(tmp_path):
    write_images(tmp_path / "images")
    (tmp_path / "images" / "cat").rename(tmp_path / "images" / "train")
    data = load(tmp_path, image_size=(4, 4))
    assert data.classes == ("dog", "emu", "train")
    assert data.sizes["train"] < 24


@pytest.mark.parametrize(
    ("change", "keys", "words"),
    [
        (lambda _: None, {}, ["data.image_size", "2 sizes", "6 × 5", "7 × 5", "image_size = [64, 64]"]),
        (broken, {"image_size": (4, 4)}, ["data.source", "cat/zz.png", "dog/zz.jpg", "replace or delete"]),
        (flat, {"image_size": (4, 4)}, ["data.source", "1.png", "folder"]),
        (classes_above, {"image_size": (4, 4)}, ["data.source", "train", "above"]),
        (beside, {"image_size": (4, 4)}, ["data.source", "'dog'", "train"]),
        (flat_splits, {"image_size": (4, 4)}, ["data.source", "splits", "train/cat"]),
        (other_kind, {"image_size": (4, 4)}, ["data.source", "a.heic", ".png"]),
        (lambda _: None, {"target": "y", "image_size": (4, 4)}, ["data.target", "arrays"]),
    ],
)
def test_folders_that_are_not_as_they_must_be_are_refused(tmp_path, change, keys, words):
    write_images(tmp_path / "images", 2)
    change(tmp_path / "images")
    with pytest.raises(InputError) as caught:
        load(tmp_path, **keys)
    assert caught.value.key == words[0]
    assert all(word in caught.value.message for word in words[1:])


def test_splits_without_one_for_training_are_no_classes(tmp_path):
    for part in ("val", "test"):
        write_images(tmp_path / "images" / part, count=3)
    with pytest.raises(InputError, match="none for training"):
        load(tmp_path, image_size=(4, 4))


@pytest.mark.parametrize(("top", "word"), [(199, "1 level is left"), (4095, "16 levels are"), (16383, "64 levels are")])
def test_images_of_16_bits_with_few_levels_are_said_or_refused_with_a_remedy_that_works(tmp_path, top, word):
    random = np.random.default_rng(0)
    pixels = random.integers(0, top + 1, (16, 6, 5)).astype(np.uint16)

    def write(factor: int) -> None:
        for number, image in enumerate(pixels * np.uint16(factor)):
            (tmp_path / "images" / CLASSES[number % 2]).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(tmp_path / "images" / CLASSES[number % 2] / f"{number}.png")

    write(1)
    if top < 8191:
        with pytest.raises(InputError, match=word) as caught:
            load(tmp_path)
        said = caught.value.message
    else:
        (said,) = [finding for finding in load(tmp_path).findings if word in finding]
    write(int(said.rpartition("pixels * ")[2]))
    read = load(tmp_path)
    assert not any("levels" in finding for finding in read.findings)
    assert len(np.unique(read.train.inputs)) > 30


def test_animations_and_folders_below_classes_are_said_and_masks_refused(tmp_path):
    write_images(tmp_path / "images")
    frames = [Image.fromarray(np.full((6, 5), level, np.uint8)) for level in (10, 200)]
    frames[0].save(tmp_path / "images" / "cat" / "a.gif", save_all=True, append_images=frames[1:])
    write_images(tmp_path / "images" / "emu" / "young")
    findings = load(tmp_path, image_size=(4, 4)).findings
    assert any("several pictures" in finding and "a.gif" in finding for finding in findings)
    assert any("below their class" in finding and "emu/young" in finding for finding in findings)
    (tmp_path / "images" / "cat").rename(tmp_path / "images" / "masks")
    (tmp_path / "images" / "dog").rename(tmp_path / "images" / "images")
    with pytest.raises(InputError, match="masks"):
        load(tmp_path, image_size=(4, 4))


def test_folders_of_splits_by_other_names_are_refused_with_a_remedy_that_works(tmp_path):
    for name in ("training_set", "test_set"):
        write_images(tmp_path / "images" / name)
    with pytest.raises(InputError, match="look like splits"):
        load(tmp_path, image_size=(4, 4))
    for name, other in (("training_set", "train"), ("test_set", "test")):
        (tmp_path / "images" / name).rename(tmp_path / "images" / other)
    assert load(tmp_path, image_size=(4, 4)).sizes["test"] == 3 * PER_CLASS


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("Cat", "cat", marks=pytest.mark.skipif(sys.platform != "linux", reason="file names without case")),
        ("old  cat", "old cat"),
    ],
)
def test_classes_that_differ_in_case_or_blanks_are_reported(first, second, tmp_path):
    write_images(tmp_path / "images")
    for name, other in (("emu", first), ("cat", second)):
        (tmp_path / "images" / name).rename(tmp_path / "images" / other)
    findings = load(tmp_path, image_size=(4, 4)).findings
    assert any(f"{first!r}, {second!r} are classes of their own" in finding for finding in findings)


def test_a_folder_of_the_name_of_a_built_in_set_is_said(tmp_path):
    write_images(tmp_path / "digits")
    read = load_dataset(DataSettings("digits"), tmp_path)
    assert read.input_shape == (64,)
    assert any('source = "./digits"' in finding for finding in read.findings)
    assert load_dataset(DataSettings("./digits", image_size=(4, 4)), tmp_path).classes == CLASSES
