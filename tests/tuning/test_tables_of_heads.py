"""Tables of several heads in a study: losses, meanings of outputs, quantiles and weights by name; tasks; metrics."""

import json
from pathlib import Path

import pytest

from nightune.models.recipe.params import KEYS, read_recipe, resolve
from nightune.models.techniques.losses import HeadSettings
from nightune.tuning.errors import StudyError
from nightune.tuning.study.study import Study, load_study
from nightune.tuning.study.vocabulary import Vocabulary
from nightune.vocabulary import plain_metric

VOCABULARY = Vocabulary(KEYS, lambda _: {})


def loaded(folder: Path, training: str = "", objective: str = "", data: str = "") -> Study:
    file = folder / "heads.toml"
    text = f'question = "Which?"\n[data]\nsource = "iris"\n{data}\n[search]\ntrials = 1\nepochs = 1\n[space]\n'
    file.write_text(f"{text}[training]\n{training}\n[objective]\n{objective}\n")
    return load_study(file, VOCABULARY)


def params_of(study: Study) -> dict[str, object]:
    point = study.draw(study.space, 1, [], (0, 0))[0]
    return dict(resolve(point, {}))


def test_tables_of_heads_reach_the_recipe(tmp_path: Path) -> None:
    training = 'loss = { ink = "pinball", policy = "crossentropy", value = "mse" }\nquantiles = { ink = [0.1, 0.9] }\n'
    training += 'outputs = { policy = "logits" }\nloss_weights = { value = 1, ink = 0.3 }'
    params = params_of(loaded(tmp_path, training))
    assert params["training.loss_weights"] == {"ink": 0.3, "value": 1.0}
    settings = read_recipe(json.loads(json.dumps(params))).training
    assert settings.of_name("ink") == HeadSettings("auto", "pinball", [0.1, 0.9])
    assert settings.of_name("policy") == HeadSettings("logits", "crossentropy")
    assert settings.losses == ("pinball", "crossentropy", "mse")


def test_a_table_may_leave_a_head_untrained(tmp_path: Path) -> None:
    params = params_of(loaded(tmp_path, "loss_weights = { ink = 0 }"))
    assert params["training.loss_weights"] == {"ink": 0.0}  # others have the weight 1


def test_one_value_is_that_of_all_heads(tmp_path: Path) -> None:
    params = params_of(loaded(tmp_path, 'loss = "mae"'))
    assert read_recipe(params).training.of_name("any") == HeadSettings("auto", "mae")
    assert not any("training" in name for name in params_of(loaded(tmp_path)))


def test_tables_are_options_of_a_dimension(tmp_path: Path) -> None:
    study = loaded(tmp_path, 'loss_weights = ["auto", { a = 1, b = 2 }]', 'metric = "val_a_accuracy"')
    assert study.space.options("training.loss_weights") == ["auto", {"a": 1.0, "b": 2.0}]
    assert "{ a = 1, b = 2 }" in str(study.space.by_name["training.loss_weights"].domain)
    searched = loaded(tmp_path, 'loss = [{ a = "mae" }, { a = "huber" }]', 'metric = "val_a_rmse"')
    assert '{ a = "mae" }' in str(searched.space.by_name["training.loss"].domain)


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ('loss = { a = "maee" }', r"training\.loss: head 'a': unknown 'maee'"),
        ("loss_weights = { a = -1 }", r"training\.loss_weights: head 'a': -1 is out of range"),
        ("loss_weights = 0.5", r"training\.loss_weights: .*a table of heads"),
        ('outputs = { a = "logit" }', r"training\.outputs: head 'a'"),
        ("quantiles = { a = [0.5] }", r"training\.quantiles: .*training\.loss is"),
    ],
)
def test_a_wrong_table_is_refused_by_its_key_and_head(tmp_path: Path, training: str, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        loaded(tmp_path, training)


@pytest.mark.parametrize(
    ("metric", "direction"),
    [("val_ink_mae", "minimize"), ("val_my_digit_f1_macro", "maximize"), ("val_x_r2", "maximize")],
)
def test_a_metric_of_a_head_has_the_direction_of_the_metric(tmp_path: Path, metric: str, direction: str) -> None:
    assert loaded(tmp_path, objective=f'metric = "{metric}"').objective.direction == direction
    other = {"minimize": "maximize", "maximize": "minimize"}[direction]
    with pytest.raises(StudyError, match=r"objective\.direction"):
        loaded(tmp_path, objective=f'metric = "{metric}"\ndirection = "{other}"')


def test_a_function_of_the_user_is_named_after_its_head(tmp_path: Path) -> None:
    plain = loaded(tmp_path, objective='metric = "m.py:cost"\ndirection = "minimize"')
    of_head = loaded(tmp_path, objective='metric = "m.py:cost"\ndirection = "minimize"\nhead = "ink"')
    assert (plain.objective.name, of_head.objective.name) == ("val_cost", "val_ink_cost")
    assert "head" not in plain.content["objective"]
    assert plain.digest != of_head.digest
    with pytest.raises(StudyError, match=r"metric = .*val_ink_mae"):
        loaded(tmp_path, objective='metric = "val_mae"\nhead = "ink"')


def test_columns_of_a_table_are_targets_of_several_heads(tmp_path: Path) -> None:
    study = loaded(tmp_path, data='target = { grade = "g", pair = ["a", "b"], one = ["c"] }')
    assert study.data.target == {"grade": "g", "pair": ("a", "b"), "one": "c"}
    for wrong, words in (
        ('{ grade = "g" }', "names one head"),
        ('{ grade = "g", other = "g" }', "names a column twice"),
        ('{ "a/b" = "g", other = "h" }', "is no name of a head"),
        ("{ a = 1, b = 2 }", "is not the name of a column"),
    ):
        with pytest.raises(StudyError, match=words):
            loaded(tmp_path, data=f"target = {wrong}")


def test_a_task_is_stated_by_name(tmp_path: Path) -> None:
    assert loaded(tmp_path, data='task = { ink = "regression" }').data.task == {"ink": "regression"}
    for wrong, words in (('{ ink = "regresion" }', "target 'ink': unknown 'regresion'"), ("{}", "the table is empty")):
        with pytest.raises(StudyError, match=words):
            loaded(tmp_path, data=f"task = {wrong}")


@pytest.mark.parametrize(
    ("metric", "plain"),
    [
        ("val_digit_accuracy", "val_accuracy"),
        ("val_a_label_accuracy", "val_label_accuracy"),
        ("val_label_accuracy", "val_label_accuracy"),
        ("val_profit", "val_profit"),
        ("loss", "loss"),
    ],
)
def test_the_metric_of_a_head_is_one_of_the_known_ones(metric: str, plain: str) -> None:
    assert plain_metric(metric) == plain
