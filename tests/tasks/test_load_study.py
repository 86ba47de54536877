"""Studies read with the models' own vocabulary: the meaning of a level, and what `check` prints about it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightune.models.recipe.params import params_of, read_recipe
from nightune.models.techniques.optimizers.search_ranges import LEVELS, customary_ranges
from nightune.models.training.capabilities import only_in_fit
from nightune.tasks.check_study import check_study
from nightune.tasks.load_study import load_study, refuse_missing_sampler
from nightune.tasks.propose_trials import complete_params, content_key, sample_recipes
from nightune.tuning.errors import StudyError
from nightune.tuning.search.samplers import random
from nightune.tuning.study.study import Study

Read = Callable[[str], Study]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a study of the iris data with a space given as text."""

    def read_space(space: str) -> Study:
        path = tmp_path / "flowers.toml"
        path.write_text(
            f'question = "Which?"\n[data]\nsource = "iris"\n[search]\ntrials = 200\nepochs = 2\n[space]\n{space}\n'
        )
        return load_study(path)

    return read_space


@pytest.mark.parametrize("level", LEVELS)
def test_every_trial_of_a_level_is_a_recipe_within_its_optimizers_ranges(read: Read, level: str) -> None:
    study = read(f'optimizer = "{level}"')
    drawn = set()
    for point in random(study.space, 300, [], (0, 0)):
        optimizer = str(point["optimizer"])
        drawn.add(optimizer)
        assert read_recipe(complete_params(study, point))
        ranges = customary_ranges(optimizer, level)
        assert set(point) - {"optimizer", "model.architecture"} <= set(ranges)
        for name, domain in ranges.items():
            if name in point and isinstance(domain, dict):
                assert domain["low"] <= point[name] <= domain["high"], (optimizer, name)
            elif name in point:
                assert point[name] in domain, (optimizer, name)
    assert drawn == set(LEVELS[level])


def test_check_prints_the_ranges_of_a_level_and_its_notes(read: Read) -> None:
    check = check_study(read('optimizer = "full"\nlearning_rate.schedule = ["fixed", "linear"]'))
    shown = {dimension["name"]: (dimension["values"], dimension["when"]) for dimension in check.dimensions}
    assert shown["optimizer"][0].split(", ") == list(LEVELS["full"])
    assert "schedule_free: 0.0001 to 0.03, log" in shown["learning_rate.peak"][0]
    assert shown["initial_distance"] == ("1e-06 to 0.01, log", "optimizer is dog")
    assert {note.split()[1] for note in check.notes} == {"adafactor", "muon"}
    assert all("sets its" in reason for reason in check.refused)
    assert check.refused


def test_a_level_has_no_grid(read: Read) -> None:
    path = read('optimizer = "default"').path
    path.write_text(path.read_text().replace("trials = 200", 'method = "grid"'))
    with pytest.raises(StudyError, match=r"learning_rate\.peak\[1\]: .*steps"):
        load_study(path)


def test_a_sample_of_recipes_includes_all_that_only_fit_can_train(read: Read) -> None:
    study = read('optimizer = "full"')
    everything = sample_recipes(study, 3, count=200)
    sample = sample_recipes(study, 3, count=5)
    alone = [params_of(recipe) for recipe in everything if only_in_fit(recipe)]
    assert [params_of(recipe) for recipe in sample if only_in_fit(recipe)] == alone
    assert len(sample) < len(everything) == 200
    assert [params_of(recipe) for recipe in sample_recipes(study, 4, count=5)[:5]] != [
        params_of(each) for each in sample[:5]
    ]


def test_recipes_stand_in_for_those_that_a_model_will_propose(read: Read) -> None:
    path = read('precision = ["float32", "mixed_float16"]\nlearning_rate.peak = { low = 0.01, high = 0.1 }').path
    path.write_text(path.read_text().replace("trials = 200", 'method = "random"\ntrials = 200'))
    sweep, one = next((each, load_study(path, trials=1)) for each in (0, 1, 2, 3) if is_compiled(path, each))
    assert not any(map(only_in_fit, sample_recipes(one, sweep)))
    path.write_text(path.read_text().replace('"random"\ntrials = 200', '"gp"\ntrials = 1'))
    assert any(map(only_in_fit, sample_recipes(load_study(path), sweep)))


def test_a_method_whose_package_is_missing_is_refused(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    path = read("").path
    path.write_text(path.read_text().replace("trials = 200", 'method = "tpe"\ntrials = 200'))
    refuse_missing_sampler(load_study(path))
    monkeypatch.setattr("nightune.tasks.load_study.find_spec", lambda name: None)
    with pytest.raises(StudyError, match=r"search\.method: .*nightune\[tpe\]"):
        refuse_missing_sampler(load_study(path))


def is_compiled(path: Path, sweep: int) -> bool:
    """True if the first trial of the sweep is not for fit alone."""
    return not only_in_fit(sample_recipes(load_study(path, trials=1), sweep)[0])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('loss = "mea"', r"training\.loss: .*'mea'"),
        ('loss = "losses.py:lost"', r"training\.loss: .*lost"),
        ('loss = "losses.py:short"', r"training\.loss: .*\(y_true, y_pred\)"),
        ('loss = ["focal", "crossentropy"]', r"objective\.metric: .*different losses"),
        ('loss = "pinball"', r"training\.quantiles"),
        ('loss = "pinball"\nquantiles = [0.9, 0.1]', r"training\.quantiles: .*ascending"),
        ('loss = "pinball"\nquantiles = [0.5, 1.0]', r"training\.quantiles: .*below 1"),
        ("quantiles = [0.5]", r"training\.quantiles: .*never active|training\.quantiles: .*pinball"),
        ('outputs = "logit"', r"training\.outputs: .*logits"),
        ('metric = "mse"', r"metric"),
    ],
)
def test_a_training_section_that_means_nothing_is_refused(read: Read, tmp_path: Path, lines: str, message: str) -> None:
    (tmp_path / "losses.py").write_text("def short(y_true):\n    return y_true\n")
    with pytest.raises(StudyError, match=message):
        read(f'optimizer = "sgd"\n[training]\n{lines}')


def test_losses_may_be_searched_with_a_metric_of_their_own(read: Read) -> None:
    study = read(
        'optimizer = "sgd"\n[objective]\nmetric = "val_accuracy"\n[training]\nloss = ["focal", "crossentropy"]'
    )
    drawn = {str(point["training.loss"]) for point in random(study.space, 20, [], (0, 0))}
    assert drawn == {"focal", "crossentropy"}


def test_the_stated_default_is_silent_and_other_words_are_params(read: Read) -> None:
    def params(lines: str) -> dict[str, object]:
        study = read(f'optimizer = "sgd"\n[training]\n{lines}')
        return complete_params(study, random(study.space, 1, [], (0, 0))[0])

    plain = params("")
    assert params('loss = "auto"\noutputs = "auto"') == plain
    assert params('loss = "focal"') == {**plain, "training.loss": "focal"}


def test_a_metric_of_the_user_is_loaded_with_the_study_and_its_code_is_in_the_keys(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("def profit(y_true, y_pred):\n    return 1.0\ndef cost(y_true):\n    return 1.0\n")
    data: Any = SimpleNamespace(version="0", task="multiclass")

    def key(objective: str) -> str:
        study = read(f'optimizer = "sgd"\n[objective]\n{objective}')
        params = complete_params(study, random(study.space, 1, [], (0, 0))[0])
        return content_key(study, 0, data, params, seed=1)

    first = key('metric = "own.py:profit"\ndirection = "maximize"')
    assert key('metric = "own.py:profit"\ndirection = "maximize"') == first
    assert key('metric = "own.py:profit"\ndirection = "minimize"') != first
    file.write_text(file.read_text().replace("1.0", "2.0"))
    assert key('metric = "own.py:profit"\ndirection = "maximize"') != first
    assert key('report = ["val_brier"]') == key("")
    for name, said in (("cost", "must take"), ("profits", "unknown function")):
        with pytest.raises(StudyError, match=rf"objective\.metric: .*{said}"):
            key(f'metric = "own.py:{name}"\ndirection = "maximize"')
