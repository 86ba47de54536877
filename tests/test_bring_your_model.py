"""The examples of docs/bring-your-model.md do what the page says."""

import os
import re
from pathlib import Path
from typing import cast

import pytest

from nightune.models.engines.make import make_engine
from nightune.models.recipe.params import read_recipe
from nightune.models.training.engine import Engine
from nightune.models.training.folds import FoldsEngine
from nightune.models.training.loop import train
from nightune.tasks.build_models import build_models
from nightune.tasks.check_study import check_study
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import read_dataset
from nightune.tasks.propose_trials import complete_params
from nightune.tuning.errors import StudyError

PAGE = Path("docs/bring-your-model.md")


def write_examples(section: str, folder: Path) -> None:
    """Write the files of a section: blocks of code whose first line is a comment with the file's name."""
    text = PAGE.read_text(encoding="utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    for name, content in re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", text, re.DOTALL):
        (folder / name).write_text(content, encoding="utf-8")


def edited(file: Path, changes: dict[str, str]) -> Path:
    """Replace texts of a file that are in it."""
    text = file.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    return file


def trained_task(study_file: Path) -> str:
    """Check the study, train its first trial in `fit`, and return the task."""
    study = load_study(study_file)
    dataset = read_dataset(study)
    check_study(study, lambda: None)
    recipe = read_recipe(complete_params(study, study.draw(study.space, 1, [], study.sweep_seed(0))[0]))
    engine = make_engine("fit", dataset, study_file.parent)
    metric, direction = study.objective.metric, study.objective.direction
    outcome = train(engine, recipe, dataset, epochs=2, seed=0, monitor=metric, direction=direction)
    assert outcome.status == "completed"
    return dataset.task


@pytest.mark.parametrize(
    ("changes", "task"),
    [
        ({}, "multilabel"),
        ({":tags": ":one_hot", '"sigmoid"': '"softmax"'}, "multiclass"),
        ({':tags"': ':one_hot"\ntask = "multilabel"'}, "multilabel"),
        ({':tags"': ':one_hot"\ntask = "regression"', "val_f1_macro": "val_rmse"}, "regression"),
        ({':tags"': ':levels"\ntask = "multilabel"'}, "multilabel"),
    ],
)
def test_the_task_is_settled_as_the_page_says(tmp_path: Path, changes: dict[str, str], task: str) -> None:
    write_examples("The task", tmp_path)
    assert trained_task(edited(tmp_path / "tags.toml", changes)) == task


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        (
            {'"survival.py:concordance"\ndirection = "maximize"': '"val_rmse"'},
            "val_rmse compares .* parameters .*val_loss",
        ),
        ({"source": "scale_target = true\nsource"}, "data.scale_target: true, .* remove it"),
        ({'loss = "survival.py:exponential"': 'loss = "mae"'}, r"the data needs \(None, 2\); .* loss = "),
    ],
)
def test_outputs_that_only_a_loss_of_the_user_reads_are_built(
    tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    study = load_study(changed(tmp_path, "The loss", "survival.toml", changes))
    if words:
        with pytest.raises(StudyError, match=words):
            build_models(study, read_dataset(study))
    else:
        assert "1 output for 2 targets" in build_models(study, read_dataset(study)).heads["survival.py:build"]


NOISE = {"return float(": "return np.random.random() + float("}
OF_THREE, INTO_TWO = {"float(np.mean(y_pred": "float(np.mean(y_pred[:, 2]"}, {"layers.Dense(1)": "layers.Dense(2)"}
COMPILED = {
    "    return keras.Model(": "    model = keras.Model(",
    "(inputs)))\n": "(inputs)))\n    model.compile(loss=exponential)\n    return model\n",
}


@pytest.mark.parametrize(
    ("changes", "is_stated", "words"),
    [
        (NOISE, True, "seed its random numbers"),
        (NOISE | INTO_TWO, True, "seed its random numbers"),  # as many as targets, which are quantities
        (OF_THREE, True, "IndexError"),
        (OF_THREE | COMPILED, False, r"IndexError.*state it as loss"),
    ],
)
def test_a_metric_of_the_user_is_tried_with_the_outputs_of_the_models(
    tmp_path: Path, changes: dict[str, str], is_stated: bool, words: str
) -> None:
    stated = {} if is_stated else {'loss = "survival.py:exponential"': ""}
    file = changed(tmp_path, "The loss", "survival.toml", stated)
    edited(tmp_path / "survival.py", changes)
    study = load_study(file)
    with pytest.raises(StudyError, match=words):
        build_models(study, read_dataset(study))


def changed(tmp_path: Path, section: str, name: str, changes: dict[str, str], added: str = "") -> Path:
    """Write the examples of a section, and replace parts of its study."""
    write_examples(section, tmp_path)
    file = tmp_path / name
    text = file.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(f"{text}\n{added}")
    return file


IN_ORDER = {"by_name": "in_order", ":build": ":listed"}


@pytest.mark.parametrize(("changes", "shown"), [({}, "'colour': []"), (IN_ORDER, "[[1], [9]]")])
def test_several_inputs_are_trained_as_the_page_says(tmp_path: Path, changes: dict[str, str], shown: str) -> None:
    file = changed(tmp_path, "Several inputs", "wines.toml", changes)
    assert shown in str(check_study(load_study(file), lambda: None))
    assert trained_task(file) == "multiclass"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({":build": ":misnamed"}, "takes the inputs 'colour', 'numbers', and the data holds 'colour', 'measured'"),
        ({"wide_deep.py:build": "mlp"}, "mlp takes one array"),
    ],
)
def test_other_inputs_are_refused_as_the_page_says(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    file = changed(tmp_path, "Several inputs", "wines.toml", changes)
    with pytest.raises(StudyError, match=message):
        check_study(load_study(file), lambda: None)


BACKBONE = 'keras.Sequential([layers.Conv2D(2, 3), layers.Flatten()], name="backbone")'
WEIGHTS_SEARCHED = {"[search]": "[training]\nloss_weights = [{ ink = 1 }, { ink = 2 }]\n[search]"}
LOSSES_SEARCHED = {"[search]": '[training]\nloss = [{ ink = "mae" }, { ink = "mse" }]\n[search]'}
OF_ONE_HEAD = {"val_loss": "val_digit_accuracy", '_accuracy"': '_accuracy"\nreport = ["val_mask_f1_micro"]'}


@pytest.mark.parametrize(
    ("changes", "added", "said"),
    [
        ({}, "", "mask 1 (1 each)"),
        (
            {},
            '[training]\nloss_weights = { ink = 0.1 }\nloss = { ink = "heads_of_scans.py:cost", mask = "focal" }',
            "digit 1, ink 0.1, mask 1 (training.loss_weights",
        ),
        ({":build": ":compiled"}, "", "digit 1, ink 0.1, mask 2 (compiled by the model's function)"),
        (OF_ONE_HEAD, "", "mask 1 (1 each)"),
        (
            {"val_loss": "heads_of_scans.py:worst_tenth"},
            'head = "ink"\ndirection = "minimize"',
            "mask 1 (1 each)",
        ),
        ({":load": ":in_order", ":build": ":listed"}, "", "0: outputs are logits"),
    ],
)
def test_several_heads_are_trained_as_the_page_says(
    tmp_path: Path, changes: dict[str, str], added: str, said: str
) -> None:
    file = changed(tmp_path, "Several heads", "scans.toml", changes, added)
    check = check_study(load_study(file), lambda: None)
    assert said in next(iter(check.heads.values()))
    assert ("loss heads_of_scans.py:cost (training.loss of the study)" in next(iter(check.heads.values()))) == (
        "cost" in added
    )
    if changes == OF_ONE_HEAD:
        assert trained_task(file) == "heads"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({":build": ":misnamed"}, "outputs 'number', 'ink', and the data the targets 'digit', 'ink', 'mask'"),
        ({"heads_of_scans.py:build": "mlp"}, "mlp has one head"),
        ({"val_loss": "val_digit_rmse"}, "the heads are digit, ink, mask"),
        (WEIGHTS_SEARCHED, "val_loss cannot rank trials of different losses, and training.loss_weights is searched"),
        (LOSSES_SEARCHED | {"val_loss": "val_ink_loss"}, r"val_ink_loss cannot rank .* \(mae and mse"),
        ({"val_loss": 'heads_of_scans.py:worst_tenth"\ndirection = "minimize'}, 'set head = "digit"'),
    ],
)
def test_other_heads_are_refused_as_the_page_says(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    file = changed(tmp_path, "Several heads", "scans.toml", changes)
    with pytest.raises(StudyError, match=message):
        check_study(load_study(file), lambda: None)


CLASSES = {':same"': ':shades"\ntask = "classification"', ':build"': ':build"\nlast = "softmax"'}
PADDED = {**CLASSES, ':same"': ':shades"\ntask = "classification"\nignore_class = 0'}
MASK_OF_EACH = {':same"': ':mask_of_each"\ntask = "multilabel"'}


@pytest.mark.parametrize(
    ("changes", "task"),
    [
        ({}, "regression"),
        ({"same": "masks"}, "multilabel"),
        (MASK_OF_EACH, "multilabel"),
        (CLASSES, "positions"),
        (PADDED, "positions"),
    ],
)
def test_targets_of_several_axes_are_trained_as_the_page_says(
    tmp_path: Path, changes: dict[str, str], task: str
) -> None:
    assert trained_task(changed(tmp_path, "Targets of several axes", "pictures.toml", changes)) == task


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"same": "shades"}, r"3 different whole numbers.*task = \"regression\""),
        ({**MASK_OF_EACH, ':build"': ':build"\nlast = "softmax"'}, "sum to 1 over their last axis"),
    ],
)
def test_other_targets_of_several_axes_are_refused_as_the_page_says(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    file = changed(tmp_path, "Targets of several axes", "pictures.toml", changes)
    with pytest.raises(StudyError, match=message):
        check_study(load_study(file), lambda: None)


@pytest.mark.parametrize(
    ("model", "changes", "added", "said"),
    [
        ("average", {}, "", "probabilities (measured: between 0 and 1"),
        ("bounded", {}, '[training]\noutputs = "logits"', "logits (training.outputs"),
        ("contradicted", {"contradicted": 'contradicted"\nfrom_logits = false #'}, "", "probabilities"),
        (
            "positive",
            {"breast_cancer": "diabetes", "val_accuracy": "val_mae"},
            "",
            "quantities (measured: never below 0",
        ),
    ],
)
def test_the_head_is_settled_as_the_page_says(
    tmp_path: Path, model: str, changes: dict[str, str], added: str, said: str
) -> None:
    file = changed(tmp_path, "The head", "heads.toml", {"average": model, **changes}, added)
    (head,) = check_study(load_study(file), lambda: None).heads.values()
    assert said in head
    trained_task(file)


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        ("bounded", {}, r"training\.outputs: .*below -1 .*above 1 .*outputs = \"logits\""),
        ("contradicted", {}, r"training\.outputs: .*reads logits.*from_logits=False"),
        (
            "positive",
            {'"breast_cancer"': '"diabetes"\nscale_target = true', "val_accuracy": "val_mae"},
            r"training\.outputs: .*standardized.*remove data\.scale_target",
        ),
    ],
)
def test_heads_that_the_witnesses_contradict_are_refused(
    tmp_path: Path, model: str, changes: dict[str, str], message: str
) -> None:
    file = changed(tmp_path, "The head", "heads.toml", {"average": model, **changes})
    with pytest.raises(StudyError, match=message):
        check_study(load_study(file), lambda: None)


@pytest.mark.parametrize(
    ("added", "said", "is_replaced"),
    [
        ("", "loss huber (compiled", False),
        ('loss = "mae"', "loss mae", True),
        ('loss = "losses.py:asymmetric"', "losses.py:asymmetric", True),
        ('loss = "pinball"\nquantiles = [0.1, 0.5, 0.9]', "quantiles 0.1, 0.5, 0.9", True),
    ],
)
def test_the_loss_is_settled_as_the_page_says(tmp_path: Path, added: str, said: str, is_replaced: bool) -> None:
    file = changed(tmp_path, "The loss", "losses.toml", {}, f"[training]\n{added}" if added else "")
    checked = check_study(load_study(file), lambda: None)
    (head,) = checked.heads.values()
    assert said in head
    assert any("huber is not used" in finding for finding in checked.model_findings) == is_replaced
    assert any("Adam" in finding for finding in checked.model_findings)
    trained_task(file)


def test_levels_are_refused_without_a_task(tmp_path: Path) -> None:
    write_examples("The task", tmp_path)
    file = tmp_path / "tags.toml"
    file.write_text(file.read_text().replace(":tags", ":levels"))
    with pytest.raises(StudyError, match=r'data\.task: .*"multilabel"'):
        read_dataset(load_study(file))


@pytest.mark.parametrize("changes", [{}, {':visits"': ":visits\"\nsplit = { kind = 'group' }"}])
def test_groups_of_a_loader_stay_together(tmp_path: Path, changes: dict[str, str]) -> None:
    write_examples("Splits", tmp_path)
    file = edited(tmp_path / "walks.toml", changes)
    dataset = read_dataset(load_study(file))
    assert dataset.description["split"]["kind"] == "group"
    assert dataset.sizes == {"train": 180, "validation": 60, "test": 60}
    if not changes:
        assert trained_task(file) == "regression"


def test_patients_stay_in_one_fold_and_the_folds_are_trained_as_one(tmp_path: Path) -> None:
    write_examples("Splits", tmp_path)
    file = edited(tmp_path / "walks.toml", {':visits"': ':visits"\nsplit = { folds = 5 }'})
    study = load_study(file)
    dataset = read_dataset(study)
    assert dataset.description["split"]["kind"] == "group"
    assert dataset.sizes == {"train": 240, "test": 60}
    assert sorted(len(fold.validation) for fold in dataset.folds) == [45, 45, 50, 50, 50]  # of five rows each
    recipe = read_recipe(complete_params(study, study.draw(study.space, 1, [], study.sweep_seed(0))[0]))
    engine = make_engine("fit", dataset, tmp_path)
    folds = cast(Engine, FoldsEngine(engine, [engine.of_fold(fold) for fold in dataset.folds]))
    outcome = train(folds, recipe, dataset, epochs=1, seed=0, monitor="val_loss", direction="minimize")
    assert outcome.objective == pytest.approx(sum(outcome.curves[f"fold_{k}/val_loss"][0] for k in range(1, 6)) / 5)


def test_pairs_of_keras_keep_their_test_rows(tmp_path: Path) -> None:
    write_examples("Splits", tmp_path)
    pairs = "return (x[:200], x[:200, 0]), (x[200:], x[200:, 0])"
    edited(tmp_path / "walks.py", {'return {"x": x, "y": x[:, 0] + x[:, 1], "group": patient}': pairs})
    dataset = read_dataset(load_study(tmp_path / "walks.toml"))
    assert dataset.sizes == {"train": 160, "validation": 40, "test": 100}


@pytest.mark.parametrize(
    ("split", "word"),
    [("", "refused"), ("{ kind = 'time', gap = 12 }", "in no split"), ("{ allow_overlap = true }", "allows")],
)
def test_windows_are_split_as_the_page_says(tmp_path: Path, split: str, word: str) -> None:
    write_examples("Splits", tmp_path)
    source = ':windows"' + (f"\nsplit = {split}" if split else "")
    study = load_study(edited(tmp_path / "walks.toml", {':visits"': source}))
    if not split:
        with pytest.raises(StudyError, match=r"data\.split\.kind: .*windows"):
            read_dataset(study)
    else:
        assert any(word in finding for finding in read_dataset(study).findings)


@pytest.mark.skipif(os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow", reason="TensorFlow's gradients")
@pytest.mark.usefixtures("proof_left_out")
def test_a_training_step_is_tried_as_the_page_says(tmp_path: Path) -> None:
    more = 'optimizer = "adam"\npenalty = { kind = "l2", strength = 0.1, label_smoothing = 0.1 }'
    file = changed(tmp_path, "The training step", "steps.toml", {'optimizer = "adam"': more})
    assert trained_task(file) == "multiclass"


@pytest.mark.skipif(os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow", reason="TensorFlow's gradients")
def test_a_study_is_refused_whose_step_leaves_out_its_penalty(tmp_path: Path) -> None:
    more = 'optimizer = "adam"\npenalty.kind = "l2"\npenalty.strength = 0.1'
    file = changed(tmp_path, "The training step", "steps.toml", {'optimizer = "adam"': more})
    edited(tmp_path / "steps.py", {"self.compute_loss(x=x, y=y, y_pred=y_pred)": "ops.mean(y_pred)"})
    with pytest.raises(StudyError) as caught:
        check_study(load_study(file), lambda: None)
    assert [problem.key for problem in caught.value.problems] == ["penalty.kind"]


@pytest.mark.parametrize(
    ("class_weight", "weights"),
    [
        ('["none", "balanced"]', ["balanced"]),
        ('"balanced"', ["balanced"]),
        ('"sqrt"', ["sqrt"]),
        ("{ fraud = 5 }", ["{ fraud = 5 }"]),
        ('["sqrt", { fraud = 5 }, { fraud = 20 }]', ["sqrt", "{ fraud = 5 }", "{ fraud = 20 }"]),
    ],
)
def test_classes_are_weighted_as_the_page_says(tmp_path: Path, class_weight: str, weights: list[str]) -> None:
    write_examples("Weights", tmp_path)
    file = edited(tmp_path / "fraud.toml", {'["none", "balanced"]': class_weight})
    checked = check_study(load_study(file))
    assert list(checked.class_weights) == weights
    fair = checked.class_weights[weights[-1]]["fair"]
    assert fair == 1.0 if "{" in weights[-1] else fair < 1.0
    if len(weights) == 1:
        trained_task(file)


def test_two_phases_are_trained_as_the_page_says(tmp_path: Path) -> None:
    write_examples("Two phases", tmp_path)
    exec((tmp_path / "backbone.py").read_text(), {"__file__": str(tmp_path / "backbone.py")})
    assert trained_task(edited(tmp_path / "transfer.toml", {"[0, 3, 6]": "2"})) == "multiclass"


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ('"backbon"', "did you mean 'backbone'"),
        ('"*"', "freezes all weights"),
        ('["none", ["backbone"]]', ""),
        ('[["backbone"], ["conv2d*"]]', ""),
        ('["backbone", "neck"]', "unknown layer 'neck'"),
    ],
)
def test_layers_are_named_as_the_page_says(tmp_path: Path, freeze: str, message: str) -> None:
    write_examples("Two phases", tmp_path)
    edited(tmp_path / "transfer.py", {'keras.saving.load_model(Path(__file__).with_name("backbone.keras"))': BACKBONE})
    study = load_study(edited(tmp_path / "transfer.toml", {'"backbone"': freeze}))
    dataset = read_dataset(study)
    if message:
        with pytest.raises(StudyError, match=message):
            build_models(study, dataset)
    else:
        assert "frozen at first" in str(build_models(study, dataset).sizes)


@pytest.mark.parametrize("average", ["weights", "rows"])
def test_rows_are_weighted_as_the_page_says(tmp_path: Path, average: str) -> None:
    write_examples("Weights", tmp_path)
    metric = '"val_balanced_accuracy"'
    changes = {":payments": ":amounts", metric: f'{metric}\naverage = "{average}"'}
    file = edited(tmp_path / "fraud.toml", changes)
    dataset = read_dataset(load_study(file))
    assert dataset.train.weights is not None
    assert (dataset.validation.weights is None) == (average == "rows")
    if average == "weights":
        trained_task(file)


def test_an_average_by_rows_needs_weights(tmp_path: Path) -> None:
    write_examples("Weights", tmp_path)
    metric = '"val_balanced_accuracy"'
    file = edited(tmp_path / "fraud.toml", {metric: f'{metric}\naverage = "rows"'})
    with pytest.raises(StudyError, match=r"objective\.average: .*no weights"):
        read_dataset(load_study(file))
