"""The examples of docs/bring-your-columns.md do what the page says."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.engines.make import make_engine
from nightune.models.recipe.params import read_recipe
from nightune.models.training.loop import train
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import read_dataset
from nightune.tasks.propose_trials import complete_params

PAGE = Path("docs/bring-your-columns.md")


def write_examples(section: str, folder: Path) -> None:
    """Write the files of a section: blocks of code whose first line is a comment with the file's name."""
    text = PAGE.read_text(encoding="utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    for name, content in re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", text, re.DOTALL):
        (folder / name).write_text(content, encoding="utf-8")


def trained(study_file: Path) -> tuple[Dataset, float]:
    """Train the study's first trial in `fit`; return the data and the best value of its metric."""
    study = load_study(study_file)
    dataset = read_dataset(study)
    recipe = read_recipe(complete_params(study, study.draw(study.space, 1, [], study.sweep_seed(0))[0]))
    engine = make_engine("fit", dataset, study_file.parent)
    metric = study.objective.metric if study.objective.metric != "val_loss" else "val_accuracy"
    outcome = train(engine, recipe, dataset, epochs=8, seed=0, monitor=metric, direction="maximize")
    return dataset, outcome.curves[metric][outcome.best_epoch - 1]


def test_texts_and_codes_are_learned_from(tmp_path: Path) -> None:
    write_examples("Texts and codes", tmp_path)
    dataset, accuracy = trained(tmp_path / "shop.toml")
    assert dataset.input_shape == {"features": (1,), "comment": (6,), "article": ()}
    assert dataset.vocabulary_sizes == {"comment": 50, "article": 115}
    share = np.mean(dataset.validation.targets == np.bincount(dataset.train.targets).argmax())
    assert accuracy > share + 0.1


def test_the_built_in_architectures_take_the_same_columns(tmp_path: Path) -> None:
    write_examples("Texts and codes", tmp_path)
    study = load_study(tmp_path / "built_in.toml")
    assert study.space.options("model.architecture") == ["text", "wide_deep"]
    _, accuracy = trained(tmp_path / "built_in.toml")
    assert accuracy > 0.7


def test_parts_of_dates_and_means_of_many_labels_are_learned_from(tmp_path: Path) -> None:
    write_examples("Dates and many labels", tmp_path)
    dataset, r2 = trained(tmp_path / "trips.toml")
    names = dataset.description["features"]
    assert names[-1] == "station target mean"
    assert {"taken", "taken weekday sin", "taken weekday cos"} < set(names)
    assert r2 > 0.5


def test_a_column_of_paths_is_learned_from_as_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_examples("Images", tmp_path)
    monkeypatch.chdir(tmp_path)
    runpy.run_path("draw_shapes.py", run_name="__main__")
    dataset, accuracy = trained(tmp_path / "shapes.toml")
    assert dataset.input_shape == (12, 12, 1)
    assert accuracy > 0.9
