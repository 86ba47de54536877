"""The examples of docs/bring-your-columns.md do what the page says."""

import re
from pathlib import Path

import numpy as np

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
    """Train the study's first trial in `fit`; return the data and the accuracy."""
    study = load_study(study_file)
    dataset = read_dataset(study)
    recipe = read_recipe(complete_params(study, study.draw(study.space, 1, [], study.sweep_seed(0))[0]))
    engine = make_engine("fit", dataset, study_file.parent)
    outcome = train(engine, recipe, dataset, epochs=8, seed=0, monitor="val_accuracy", direction="maximize")
    return dataset, outcome.curves["val_accuracy"][outcome.best_epoch - 1]


def test_texts_and_codes_are_learned_from(tmp_path: Path) -> None:
    write_examples("Texts and codes", tmp_path)
    dataset, accuracy = trained(tmp_path / "shop.toml")
    assert dataset.input_shape == {"features": (1,), "comment": (6,), "article": ()}
    assert dataset.vocabulary_sizes == {"comment": 50, "article": 115}
    share = np.mean(dataset.validation.targets == np.bincount(dataset.train.targets).argmax())
    assert accuracy > share + 0.1
