"""A study file becomes one checked value, with a digest of everything that decides its results."""

import pickle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightune.tuning.errors import StudyError
from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.samplers import random
from nightune.tuning.study.study import Study, load_study, training_seed
from tests.tuning.conftest import VOCABULARY, Read, study_text, unhurried

FULL = """
question = "Which?"
seed = 7
[data]
source = "table.csv"
target = "price"
drop = ["id"]
split = { kind = "group", column = "patient", validation = 0.25 }
[model]
architecture = ["mlp", "cnn"]
dropout = { low = 0, high = 0.5 }
units = [[64], [128, 64]]
[space]
optimizer = ["sgd", "adam"]
nesterov = [true, false]
[space.learning_rate]
peak = { low = 1e-4, high = 1, scale = "log" }
schedule = ["fixed", "cosine"]
final_fraction = { options = [0, 0.1], when = { optimizer = "sgd" } }
[space.batch_size]
when = { optimizer = "sgd" }
size = { low = 16, high = 64 }
[stopping]
patience = 5
[search]
method = "random"
trials = 20
epochs = 30
[objective]
metric = "val_rmse"
"""
OPTIMIZER = 'optimizer = ["sgd", "adam"]'
NESTEROV = "nesterov = [true, false]"


def when(study: Study, name: str) -> str:
    return study.space.by_name[name].condition_text


def test_every_part_is_read(read: Read) -> None:
    study = read(FULL)
    assert (study.name, study.question, study.seed) == ("flowers", "Which?", 7)
    assert (study.data.source, study.data.target, study.data.drop) == ("table.csv", "price", ("id",))
    assert (study.data.split.kind, study.data.split.column, study.data.split.test) == ("group", "patient", 0.2)
    assert (study.search.method, study.search.trials, study.search.epochs) == ("random", 20, 30)
    assert (study.objective.metric, study.objective.direction) == ("val_rmse", "minimize")
    domains = {name: dimension.domain for name, dimension in study.space.by_name.items()}
    assert domains["learning_rate.peak"] == Range(1e-4, 1.0, "log")
    assert domains["learning_rate.final_fraction"] == Choice((0.0, 0.1))
    assert domains["batch_size.size"] == Range(16, 64, integer=True)
    assert domains["model.units"] == Choice(([64], [128, 64]))
    assert domains["stopping.patience"] == Choice((5,))
    assert pickle.loads(pickle.dumps(study)) == study


def test_conditions_are_those_written_and_those_of_the_vocabulary(read: Read) -> None:
    study = read(FULL)
    assert when(study, "nesterov") == "optimizer is sgd"
    assert when(study, "learning_rate.final_fraction") == "learning_rate.schedule is cosine and optimizer is sgd"
    assert when(study, "batch_size.size") == "optimizer is sgd"
    assert when(study, "stopping.patience") == "always"
    assert when(study, "model.units") == "model.architecture is mlp"
    assert when(study, "model.dropout") == "always"


def test_a_chain_of_conditions_is_followed_to_its_end(read: Read) -> None:
    study = read(
        study_text('optimizer = ["gd", "sgd"]\nbatch_size.policy = ["fixed", "growing"]\nbatch_size.growth = [2, 4]')
    )
    assert when(study, "batch_size.policy") == "optimizer is sgd"
    assert when(study, "batch_size.growth") == "batch_size.policy is growing and optimizer is sgd"
    fixed = read(study_text('optimizer = ["gd", "sgd"]\nbatch_size.policy = "growing"\nbatch_size.growth = [2, 4]'))
    assert when(fixed, "batch_size.growth") == "optimizer is sgd"


def test_a_default_that_another_param_decides_is_followed(read: Read) -> None:
    strength = "weight_decay.strength = [0.01, 0.1]"
    assert when(read(study_text(f'optimizer = "adamw"\n{strength}')), "weight_decay.strength") == "always"
    searched = read(study_text(f'optimizer = ["adamw", "sgd"]\n{strength}'))
    assert when(searched, "weight_decay.strength") == "optimizer is adamw"


def test_the_default_applies_where_the_study_omits_the_controlling_param(read: Read) -> None:
    policy = 'batch_size.policy = { options = ["fixed", "growing"], when = { optimizer = "sgd" } }'
    study = read(
        study_text(f'optimizer = ["adam", "sgd"]\n{policy}\nbatch_size.size = [16, 32]\nbatch_size.growth = 3')
    )
    assert when(study, "batch_size.size") == "always"
    assert when(study, "batch_size.growth") == "batch_size.policy is growing"


def test_values_are_read_as_the_kind_of_their_key(read: Read) -> None:
    points = random(read(study_text("learning_rate.peak = 1\nbatch_size.size = 16.0")).space, 1, [], (0, 0))
    assert repr(points) == ("[{'batch_size.size': 16, 'learning_rate.peak': 1.0, 'model.architecture': 'mlp'}]")


def test_the_architecture_is_always_a_param(read: Read) -> None:
    assert read(study_text()).space.by_name["model.architecture"].domain == Choice(("mlp",))


@pytest.mark.parametrize(
    "other",
    [
        "# a comment\n" + FULL,
        FULL.replace("Which?", "What?"),
        'name = "petals"\n' + FULL,
        FULL.replace("1e-4", "0.0001").replace("high = 1,", "high = 1.0,"),
        FULL.replace(f"{OPTIMIZER}\n{NESTEROV}", f"{NESTEROV}\n{OPTIMIZER}"),
        FULL.replace(NESTEROV, 'nesterov = { options = [true, false], when = { optimizer = ["sgd"] } }'),
        FULL.replace(NESTEROV, f"{NESTEROV}\nstopping.patience.value = 5").replace("[stopping]\npatience = 5", ""),
        FULL.replace('"val_rmse"', '"val_rmse"\ndirection = "minimize"'),
        FULL.replace("seed = 7", "seed = 0x7"),
    ],
)
def test_the_digest_ignores_the_form_of_the_file(read: Read, other: str) -> None:
    assert read(other).digest == read(FULL).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed = 7", "seed = 8"),
        ('"table.csv"', '"other.csv"'),
        ('drop = ["id"]', ""),
        ("validation = 0.25", "validation = 0.3"),
        ("high = 0.5", "high = 0.4"),
        ('["sgd", "adam"]', '["adam", "sgd"]'),
        ('scale = "log"', 'scale = "linear"'),
        ('when = { optimizer = "sgd" } }', 'when = { optimizer = "adam" } }'),
        ("trials = 20", "trials = 21"),
        ("epochs = 30", "epochs = 31"),
        ("epochs = 30", "epochs = 30\nreuse = true"),
        ("val_rmse", "val_mae"),
    ],
)
def test_the_digest_depends_on_everything_that_decides_results(read: Read, old: str, new: str) -> None:
    assert old in FULL
    assert read(FULL.replace(old, new)).digest != read(FULL).digest


SECTIONS = (
    "[data]\nsource = 'iris'",
    "[search]\ntrials = 4\nepochs = 2",
    "[space]\nnesterov = true\noptimizer = 'sgd'",
    "[model]\nunits = [[3], [4]]\ndropout = 0.1",
)


@unhurried
@given(st.permutations(SECTIONS))
def test_the_order_of_sections_changes_no_digest(sections: list[str]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "flowers.toml"
        digests = []
        for each in (sections, SECTIONS):
            path.write_text("\n".join(["question = 'Which?'", *each]))
            digests.append(load_study(path, VOCABULARY).digest)
    assert digests[0] == digests[1]


def test_the_digest_does_not_depend_on_the_folder_of_the_file(tmp_path: Path) -> None:
    digests = set()
    for name in ("one/a.toml", "two/b.toml"):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(FULL)
        digests.add(load_study(path, VOCABULARY).digest)
    assert len(digests) == 1


def test_the_digest_keeps_a_golden_value(read: Read) -> None:
    """A change here restarts unfinished sweeps of older versions: say so in the CHANGELOG."""
    assert read(FULL).digest == "43e9d6c984520023"


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    path = tmp_path / "flowers.toml"
    path.write_text(FULL)
    study = load_study(path, VOCABULARY, trials=3, epochs=1, seed=9)
    assert (study.search.trials, study.search.epochs, study.seed) == (3, 1, 9)
    with pytest.raises(StudyError, match=r"search\.trials: 0 is not a whole number from 1"):
        load_study(path, VOCABULARY, trials=0)


def test_training_seeds_differ_by_trial_and_sweep_and_repeat(read: Read) -> None:
    study = read(FULL)
    seeds = [training_seed(study, sweep, number, {"a": 1}) for sweep in range(5) for number in range(20)]
    assert len(set(seeds)) == 100
    assert all(type(seed) is int and 0 <= seed < 2**31 for seed in seeds)
    assert training_seed(study, 0, 3, {"a": 2}) == seeds[3]


def test_with_reuse_the_same_params_have_the_same_training_seed(read: Read) -> None:
    study = read(FULL.replace("epochs = 30", "epochs = 30\nreuse = true"))
    assert training_seed(study, 0, 1, {"a": 1, "b": 2}) == training_seed(study, 4, 9, {"b": 2, "a": 1})
    assert training_seed(study, 0, 1, {"a": 1}) != training_seed(study, 0, 1, {"a": 2})


def test_a_training_seed_does_not_come_from_the_stream_of_the_params(read: Read) -> None:
    study = read(FULL)
    drawn = np.random.default_rng([*study.sweep_seed(0), 3]).integers(0, 2**31, 50).tolist()
    assert training_seed(study, 0, 3, {}) not in drawn


@pytest.mark.parametrize(
    ("keys", "after_few", "after_many", "recorded"),
    [
        ("", (3, 2), (5, 3), (4, 7)),
        ("finalists = 8", (8, 2), (8, 3), (8, 7)),
        ("replicates = 4", (3, 4), (5, 4), (4, 4)),
        ("finalists = 0", (0, 2), (0, 3), (0, 7)),
    ],
)
def test_keys_of_a_confirmation_go_before_its_record_and_this_before_the_number_of_trials(
    read: Read, keys: str, after_few: tuple[int, int], after_many: tuple[int, int], recorded: tuple[int, int]
) -> None:
    section = read(f"{study_text()}[confirmation]\n{keys}\n").confirmation
    assert section is not None
    found = [section.after(59), section.after(60), section.after(60, (4, 7))]
    assert [(each.finalists, each.replicates) for each in found] == [after_few, after_many, recorded]


def test_confirmation_and_promotion_have_defaults_and_change_no_digest(read: Read) -> None:
    plain = read(study_text())
    assert plain.confirmation is None
    assert (plain.promotion.replicates, plain.promotion.confidence, plain.promotion.minimum_gain) == (8, 0.95, 0.0)
    sections = "[confirmation]\n[promotion]\nminimum_gain = 0.01\nlatency_limit_ms = 20\n"
    study = read(study_text() + sections)
    assert study.confirmation is not None
    assert [study.confirmation.after(trials).trainings for trials in (1, 59, 60, 500)] == [6, 6, 15, 15]
    assert study.confirmation.cost == "parameters"
    assert (study.promotion.minimum_gain, study.promotion.latency_limit_ms) == (0.01, 20)
    assert study.digest == plain.digest


def test_rows_reserved_for_the_ranking_are_part_of_the_content(read: Read) -> None:
    plain = read(study_text())
    apart = read(study_text(data='source = "iris"\nsplit = { ranking = 0.1 }'))
    assert apart.data.split.ranking == 0.1
    assert apart.digest != plain.digest
    assert read(study_text(data='source = "iris"\nsplit = { ranking = 0.0 }')).digest == plain.digest


def test_choices_about_columns_are_read_and_change_the_digest(read: Read) -> None:
    plain = read(study_text(data='source = "iris"'))
    assert read(study_text(data='source = "iris"\nmissing = []\nnumeric = []\ndates = {}')).digest == plain.digest
    choices = 'missing = ["NA"]\nnumeric = ["a"]\ndates = { "b c" = "DD/MM/YYYY", d = "YYYYMMDD" }'
    asked = read(study_text(data=f'source = "iris"\n{choices}'))
    assert asked.data.missing == ("NA",)
    assert asked.data.numeric == {"a": ""}
    assert asked.data.dates == {"b c": "DD/MM/YYYY", "d": "YYYYMMDD"}
    assert asked.digest != plain.digest


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('dates = { a = "dd/mm/yyyy" }', ["data.dates", "'a'", "did you mean 'DD/MM/YYYY'", "YYYYMMDD"]),
        ('numeric = { a = "1 250" }', ["data.numeric", "'a'", "1,250.00", "1.250,00"]),
        ("numeric = 3", ["data.numeric", "3 is not a list of columns"]),
        ("dates = [1]", ["data.dates", "is not a list of columns"]),
        ('missing = "NA"', ["data.missing", "a list of texts"]),
    ],
)
def test_wrong_choices_about_columns_are_refused(read: Read, line: str, words: list[str]) -> None:
    with pytest.raises(StudyError) as caught:
        read(study_text(data=f'source = "iris"\n{line}'))
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_fixed_split_names_files_or_arrays_of_the_source(read: Read) -> None:
    files = read(study_text(data='source = "a.csv"\nsplit = { kind = "fixed", validation = "b.csv", test = 0.1 }'))
    assert (files.data.split.validation, files.data.split.test) == ("b.csv", 0.1)
    arrays = read(study_text(data='source = "a.py:load"\nsplit = { kind = "fixed" }'))
    assert arrays.digest != files.digest


def test_folds_are_part_of_the_digest_and_their_absence_is_not(read: Read) -> None:
    plain, folded = (
        read(study_text(data=f'source = "iris"\nsplit = {{ test = 0.2{more} }}')) for more in ("", ", folds = 5")
    )
    assert "folds" not in plain.content["data"]["split"]
    assert folded.content["data"]["split"]["folds"] == 5


def test_a_gap_of_none_is_no_gap_to_a_digest(read: Read) -> None:
    text = 'source = "a.npz"\nsplit = {{ kind = "time", gap = {} }}'
    digests = [read(study_text(data=text.format(gap))).digest for gap in ("0", "3", '"3 days"')]
    assert len(set(digests)) == 3
    assert read(study_text(data='source = "a.npz"\nsplit = { kind = "time" }')).digest == digests[0]
