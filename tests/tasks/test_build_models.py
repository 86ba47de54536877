"""A study whose models cannot be built is refused before its first trial, with file and line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nightune.tasks.build_models import Builds, build_models
from nightune.tasks.check_study import check_study
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import prepare_data, read_dataset
from nightune.tasks.start_sweep import start_sweep
from nightune.tasks.tracking.store.store import open_store
from nightune.tasks.tracking.sweeps.sweeps import all_sweeps
from nightune.tuning.errors import StudyError
from nightune.tuning.study.study import Study

NET = """
import keras


def build(input_shape, output_size, width: int = 8, depth: int = 1):
    if width * depth > 60:
        raise ValueError("too large")
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(output_size)])


def nothing(input_shape, output_size):
    return None


def wide(input_shape, output_size):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(7)])


def tuned(hp):
    return keras.Sequential([keras.layers.Dense(hp.Int("units", 8, 64))])


def absent(input_shape, output_size):
    import no_such_package
    return no_such_package.model(input_shape, output_size)


def smooth(input_shape, output_size, gamma: float = 2.0):
    model = build(input_shape, output_size)
    model.compile("adam", loss=keras.losses.CategoricalFocalCrossentropy(gamma=gamma, from_logits=True))
    return model


def divergence(input_shape, output_size):
    model = keras.Sequential([keras.Input(input_shape), keras.layers.Dense(output_size, "softmax")])
    model.compile("adam", loss="kl_divergence")
    return model


def looked_up(input_shape, output_size):
    layers = keras.layers
    last = [layers.Flatten(), layers.Dense(output_size)]
    return keras.Sequential([keras.Input(input_shape), layers.Embedding(2, 2), *last])


def leaves(input_shape, output_size):
    raise SystemExit(3)
"""

Read = Callable[[str], Study]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a study of the iris data with these lines of [model]."""
    (tmp_path / "net.py").write_text(NET)

    def read_model(lines: str) -> Study:
        path = tmp_path / "flowers.toml"
        path.write_text(
            f'question = "Which?"\n[data]\nsource = "iris"\n[search]\ntrials = 200\nepochs = 2\n[model]\n{lines}\n'
        )
        return load_study(path)

    return read_model


def built(study: Study) -> Builds:
    return build_models(study, read_dataset(study))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('architecture = "mlp"\nunits = [16]', r"model\.units: 16 is not a list .*units = \[\[64, 32\]\]"),
        ('architecture = "net.py:nothing"', r"returned a NoneType, not a Keras model \(line 11 of net\.py\)"),
        ('architecture = "net.py:wide"', r"outputs \(None, 7\); the data needs .*; end in .*\(line 15 of net\.py\)"),
        ('architecture = "net.py:tuned"', r"model\.hp: missing; tuned\(\) has no default .*\(line 19 of net\.py\)"),
        ('architecture = "net.py:absent"', r"No module named 'no_such_package' \(line 24 of net\.py\)"),
        ('architecture = "net.py:leaves"', r"SystemExit"),
        (
            'architecture = "net.py:build"\nwidth = { low = 70, high = 90 }',
            r"too large \(line 7 of net\.py\)",
        ),
        ('architecture = ["mlp", "net.py:nothing"]', r"net\.py:nothing returned a NoneType"),
    ],
)
def test_an_architecture_of_which_no_model_can_be_built_is_refused(read: Read, lines: str, message: str) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        built(read(lines))
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            'architecture = "mlp"\nunits = [[16], 16, [8]]',
            "no model with model.units = 16 can be built: model.units: 16 is",
        ),
        ('architecture = "net.py:build"\nwidth = [8, 90, 9]', "no model with model.width = 90 can be built: "),
    ],
)
def test_an_option_with_which_no_model_can_be_built_is_a_finding(read: Read, lines: str, message: str) -> None:
    assert built(read(lines)).findings[0].startswith(message)


def test_a_model_that_fails_only_at_an_end_of_the_ranges_is_a_finding(read: Read) -> None:
    study = read('architecture = "net.py:build"\nwidth = [8, 16]\ndepth = { low = 1, high = 4 }')
    builds = built(study)
    (finding,) = builds.findings
    assert "model.depth = 4, model.width = 16 cannot be built" in finding
    assert builds.count == 4


def test_a_sound_study_builds_each_model_once(read: Read) -> None:
    builds = built(read('architecture = "mlp"\nunits = [[4], [8], [4, 4]]'))
    assert (builds.count, builds.findings) == (3, ())


def test_a_refused_study_leaves_no_sweep_in_the_store(read: Read, store_root: Path) -> None:
    study, store = read('architecture = "net.py:nothing"'), open_store(store_root)
    data = prepare_data.fn(study, store.root)
    with pytest.raises(StudyError, match="returned a NoneType"):
        start_sweep.fn(store, study, data, "fit", False)
    assert all_sweeps(store, study.name) == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('smooth"\n[space]\npenalty.label_smoothing = 0.1', r"label_smoothing: .*focal"),
        ('divergence"\n[stopping]\nrule = "generalization_loss"', r"stopping\.rule: .*kl_divergence"),
        ('smooth"\ngamma = [1.0, 2.0]#', r"objective\.metric: .*different settings"),
        ('divergence"\n[training]\noutputs = "logits"', r"training\.outputs"),
    ],
)
def test_what_does_not_suit_a_compiled_loss_is_refused(read: Read, lines: str, message: str) -> None:
    study = read(f'architecture = "net.py:{lines}')
    with pytest.raises(StudyError, match=message):
        built(study)


@pytest.mark.parametrize(
    "lines",
    [
        'smooth"\n[space]\npenalty.label_smoothing = 0.1\n[training]\nloss = "crossentropy"',
        'divergence"\n[stopping]\nrule = "patience"',
        'smooth"\ngamma = [1.0, 2.0]\n[objective]\nmetric = "val_accuracy"',
    ],
)
def test_the_remedies_for_a_compiled_loss_work(read: Read, lines: str) -> None:
    assert built(read(f'architecture = "net.py:{lines}')).count >= 1


def test_architectures_of_different_losses_are_not_ranked_by_them(read: Read) -> None:
    both = 'architecture = ["net.py:smooth", "mlp"]'
    with pytest.raises(StudyError, match=r"objective\.metric: .*crossentropy"):
        built(read(both))
    builds = built(read(f'{both}\n[training]\nloss = "crossentropy"'))
    assert {"crossentropy" in said for said in builds.heads.values()} == {True}


def test_a_check_reports_sizes_head_and_engine_or_refuses(read: Read) -> None:
    checked = check_study(read('architecture = "net.py:build"\nwidth = [8, 16]'), lambda: None)
    assert "outputs [3]" in checked.sizes["net.py:build"]
    assert "parameters" in checked.sizes["net.py:build"]
    assert "logits" in checked.heads["net.py:build"]
    assert checked.engine.startswith(("tensorflow", "jax"))


def test_a_check_refuses_ids_without_rows_in_an_embedding(read: Read) -> None:
    with pytest.raises(StudyError, match="whole numbers"):
        check_study(read('architecture = "net.py:looked_up"'), lambda: None)


OWN_STEP = """
import keras


class Net(keras.Model):
    def train_step(self, data):
        x, y, _ = data
        return {"loss": 0.0}


def build(input_shape, output_size):
    inputs = keras.Input(input_shape)
    return Net(inputs, keras.layers.Dense(output_size)(inputs))
"""


@pytest.mark.parametrize("class_weight", ['["none", "balanced"]', '"none"'])
def test_an_own_step_that_ignores_weights_is_refused_before_the_first_trial(
    tmp_path: Path, read: Read, class_weight: str
) -> None:
    (tmp_path / "own.py").write_text(OWN_STEP)
    study = read(f'architecture = "own.py:build"\n[training]\nclass_weight = {class_weight}')
    if "balanced" in class_weight:
        with pytest.raises(StudyError, match=r"model\.architecture: .*ignores the weights .*line"):
            build_models(study, read_dataset(study))
    else:
        assert build_models(study, read_dataset(study)).count == 1


OF_DROPOUT = """
import keras


def build(input_shape, output_size, dropout: float = 0.25):
    layers = [keras.layers.Dense(WIDTH), keras.layers.Dropout(dropout), keras.layers.Dense(output_size)]
    return keras.Sequential([keras.Input(input_shape), *layers])
"""
SEARCHES = {
    "changes": "dropout = 0.25\n[training.changes]\n2 = { model.dropout = 0.5, penalty.strength = 0.1 }\n"
    '[space]\npenalty.kind = "l2"\n[search]\ntrials = 2',
    "population": 'dropout = { low = 0.25, high = 0.75 }\n[search]\nmethod = "pbt"\npopulation = 4',
}


@pytest.mark.parametrize("search", SEARCHES)
def test_a_function_whose_weights_depend_on_a_changed_dropout_is_refused(tmp_path: Path, search: str) -> None:
    path, source = tmp_path / "flowers.toml", 'question = "Which?"\n[data]\nsource = "iris"\n'
    path.write_text(f'{source}[model]\narchitecture = "own.py:build"\n{SEARCHES[search]}\nepochs = 4\n')
    (tmp_path / "own.py").write_text(OF_DROPOUT.replace("WIDTH", "8"))
    assert built(load_study(path)).count > 0
    (tmp_path / "own.py").write_text(OF_DROPOUT.replace("WIDTH", "int(16 * (1 - dropout))"))
    with pytest.raises(StudyError, match=r"model\.dropout: own\.py:build builds other weights .*line 5"):
        built(load_study(path))
