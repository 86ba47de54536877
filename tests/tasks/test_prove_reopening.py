"""A study whose versions would not open by themselves is refused before its first trial, with a remedy that works."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.tasks.build_models import architectures
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import read_dataset
from nightune.tasks.prove_reopening import prove_reopening
from nightune.tasks.tracking.registry import fresh_process
from nightune.tuning.errors import StudyError
from nightune.tuning.study.study import Study

pytestmark = pytest.mark.slow

WORKER = """
import json, sys
program = sys.argv.pop()
sys.argv = [program]
spec = __import__("importlib.util").util.spec_from_file_location("open_alone", program)
module = __import__("importlib.util").util.module_from_spec(spec)
spec.loader.exec_module(module)
for line in sys.stdin:
    module.main(*json.loads(line))
    print("done", flush=True)
"""
STUDY = """
question = "Which?"
[data]
source = "iris"
[model]
architecture = "code/net.py:build"
[search]
trials = 2
epochs = 2
"""
NET = """
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

LINES

class Own(layers.Layer):
    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(4)
        INIT

    def call(self, inputs):
        return self.inner(inputs) * CALL


def build(input_shape, output_size):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Dense(output_size)(Own()(inputs)))
"""


@pytest.fixture(scope="module")
def worker() -> Iterator[subprocess.Popen[str]]:
    """One fresh process for all cases: its start takes ten seconds of the processor."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", WORKER, str(fresh_process.PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=fresh_process._environment(),
        cwd="/",
    )
    yield process
    assert process.stdin is not None
    process.stdin.close()
    process.wait(timeout=60)
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture(autouse=True)
def one_process(worker: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps(arguments) + "\n")
        worker.stdin.flush()
        while (line := worker.stdout.readline()) and line != "done\n":
            pass
        return subprocess.CompletedProcess(arguments, 0, "", "")

    monkeypatch.setattr(fresh_process, "_run", run)


@pytest.fixture
def prove(tmp_path: Path) -> Callable[..., None]:
    """Prove a study of the iris data with a model of these lines."""
    from nightune.models.backend import load_keras

    load_keras()

    def proved(lines: str = "", init: str = "pass", call: str = "1.0", net: str = NET) -> None:
        path = tmp_path / "flowers.toml"
        path.write_text(STUDY)
        (tmp_path / "code").mkdir(exist_ok=True)
        text = net.replace("LINES", lines).replace("INIT", init).replace("CALL", call)
        (tmp_path / "code" / "net.py").write_text(text)
        study, dataset = read(path)
        prove_reopening(study, dataset, architectures(study))

    return proved


def read(path: Path) -> tuple[Study, Dataset]:
    study = load_study(path)
    return study, read_dataset(study)


def refused(prove: Callable[..., None], **lines: str) -> str:
    with pytest.raises(StudyError) as caught:
        prove(**lines)
    (problem,) = caught.value.problems
    assert problem.key == "model.architecture"
    return problem.message


def test_models_that_open_alone_are_not_refused(prove: Callable[..., None], tmp_path: Path) -> None:
    prove()
    (tmp_path / "code").joinpath("helpers.py").write_text("TWO = 2.0\n")
    np.save(tmp_path / "code" / "scale.npy", np.float32(3.0))
    prove(
        lines="SCALE = float(np.load(Path(__file__).with_name('scale.npy')))",
        init="self.drawn = layers.Dropout(0.3)",
        call="self.drawn(ops.ones((1, 4))) * SCALE * __import__('helpers').TWO",
    )


@pytest.mark.parametrize(("section", "file"), [("Own layers", "net.py"), ("The training step", "steps.py")])
def test_the_example_of_the_docs_opens_alone(tmp_path: Path, section: str, file: str) -> None:
    page = Path("docs/bring-your-model.md").read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    for block in page.split("```python\n# ")[1:]:
        name, _, text = block.split("```")[0].partition("\n")
        (tmp_path / name).write_text(text)
    np.save(tmp_path / "scale.npy", np.float32([1.0, 2.0, 3.0, 4.0]))
    path = tmp_path / "flowers.toml"
    path.write_text(STUDY.replace("code/net.py", file))
    study, dataset = read(path)
    prove_reopening(study, dataset, architectures(study))


def test_outputs_that_are_nan_are_named_as_such(prove: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightune.tasks.prove_reopening.problem_alone", lambda *_: pytest.fail("a process was started"))
    message = refused(prove, call="ops.log(-ops.ones((1, 4)))")
    assert "NaN" in message
    assert "does not open" not in message


def test_a_file_by_a_relative_path(prove: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "scale.txt").write_text("2")
    monkeypatch.chdir(tmp_path / "code")
    message = refused(prove, lines="SCALE = float(Path('scale.txt').read_text())")
    assert "(line 9 of net.py)" in message
    assert "Path(__file__).with_name" in message
    prove(lines="SCALE = float(Path(__file__).with_name('scale.txt').read_text())")


def test_a_file_elsewhere(prove: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    np.save(tmp_path / "scale.npy", np.float32(3.0))
    message = refused(prove, lines=f"SCALE = float(np.load({str(tmp_path / 'scale.npy')!r}))")
    assert str(tmp_path / "scale.npy") in message
    assert 'Path(__file__).with_name("scale.npy")' in message
    (tmp_path / "scale.npy").rename(tmp_path / "code" / "scale.npy")
    prove(lines='SCALE = float(np.load(Path(__file__).with_name("scale.npy")))')


def test_values_drawn_at_random_that_are_no_weights(prove: Callable[..., None]) -> None:
    message = refused(prove, init="self.drawn = np.random.normal(size=4).astype('float32')", call="self.drawn")
    assert "add_weight" in message
    weight = "self.drawn = self.add_weight(shape=(4,), initializer='random_normal', trainable=False)"
    prove(init=weight, call="self.drawn")


def test_a_module_that_is_not_beside_the_code(
    prove: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "far_helpers.py").write_text("TWO = 2.0\n")
    monkeypatch.syspath_prepend(tmp_path / "far")
    message = refused(prove, lines="import far_helpers", call="far_helpers.TWO")
    assert "put far_helpers.py beside the code" in message
    (tmp_path / "far" / "far_helpers.py").rename(tmp_path / "code" / "far_helpers.py")
    del sys.modules["far_helpers"]
    prove(lines="import far_helpers", call="far_helpers.TWO")


def test_a_file_that_is_too_large(prove: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nightune.models.training.rebuilding as module

    monkeypatch.setattr(module, "CARRIED_BYTES", 4000)
    (tmp_path / "code").mkdir()
    np.save(tmp_path / "code" / "start.npy", np.zeros(1000))
    begin = "FILE = Path(__file__).with_name('start.npy')\n"
    message = refused(prove, lines=begin + "START = np.load(FILE)")
    assert "start.npy (0.00813 MB)" in message
    assert "if FILE.exists()" in message
    prove(lines=begin + "if FILE.exists():\n    START = np.load(FILE)")


def test_the_code_of_the_study_that_needs_nightune(prove: Callable[..., None]) -> None:
    assert "without Nightune" in refused(prove, lines="import nightune.vocabulary")


def test_a_model_of_keras_own_layers_needs_no_proof(
    prove: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_process, "_run", lambda *given: pytest.fail("a process is started"))
    net = NET[: NET.index("class Own")] + NET[NET.index("def build") :].replace("Own()", "layers.Dense(3)")
    prove(lines="SCALE = np.random.normal()", net=net)
