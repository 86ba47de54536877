"""A version keeps its own copy of the user's code: the champion is opened by it, and a winner without it is refused."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store, open_store
from nightune.tuning.analysis.promotion_gate import Decision
from tests.tasks.promotions import STUDY, promoted, trained, version_folder

pytestmark = pytest.mark.usefixtures("opened_here", "models_closed", "proof_left_out")

NET = """
import keras
from keras import layers
from lib import FACTOR


@keras.saving.register_keras_serializable("mine")
class Gate(layers.Layer):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.a, self.b = layers.Dense(units), layers.Dense(units, activation="sigmoid")

    def call(self, x):
        return self.a(x) * self.b(x) * FACTOR


def build(input_shape, output_size, units: int = 8):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Dense(output_size)(Gate(units)(inputs)))
"""
OWN = STUDY.replace('"mlp"', '"net.py:build"').replace("[[8]]", "8").replace('"iris"', '"iris"\nsplit = { seed = 1 }')


def write_code(folder: Path, text: str = NET, factor: float = 1.0) -> None:
    (folder / "net.py").write_text(text)
    (folder / "lib.py").write_text(f"FACTOR = {factor}\n")


@pytest.mark.slow
def test_a_champion_with_an_own_layer_is_judged_by_its_own_copy_of_the_code(store_root: Path, tmp_path: Path) -> None:
    from nightune.models.serving.predictor import Predictor
    from nightune.tasks.tracking.registry.fresh_process import open_in_fresh_process

    store = open_store(store_root)
    write_code(tmp_path)
    setting = trained(store, tmp_path, OWN)
    first = promoted(setting)
    assert (first.version, first.verdict.decision) == (1, Decision.PROMOTED)
    assert [guard.passed for guard in first.verdict.guards if guard.name == "opens alone"] == [True]
    folder = version_folder(store, 1)
    parts = folder / "artifacts" / "parts"
    assert {path.name for path in (parts / "model" / "code").iterdir()} == {"net.py", "lib.py"}
    rows = np.float32([[5.1, 3.5, 1.4, 0.2], [6.2, 2.9, 4.3, 1.3]])
    columns = [column["name"] for column in json.loads((parts / "description.json").read_text())["columns"]]
    raw = pd.DataFrame(rows, columns=columns)
    predictor = Predictor.open(parts)
    outputs = predictor.outputs(predictor.inputs(raw))
    opened = open_in_fresh_process(folder, raw)  # a real one
    assert (opened.problem, opened.outside) == ("", ())
    np.testing.assert_allclose(opened.outputs, outputs, rtol=1e-5)

    # Today the layer has another name, and `lib` another number: both sides keep their own.
    renamed = NET.replace("class Gate", "class Gate2").replace("Gate(units)(", "Gate2(units)(")
    write_code(tmp_path, renamed, factor=-20.0)
    again = trained(store, tmp_path, OWN.replace("seed = 11", "seed = 12"))
    np.testing.assert_array_equal(Predictor.open(parts).outputs(predictor.inputs(raw)), outputs)

    # A champion that is broken fails a guard; once it is repaired, the same command judges again.
    code = parts / "model" / "code" / "net.py"
    text = code.read_text()
    code.write_text("import sys\nsys.exit('broken')\n")
    for _ in range(2):
        refused = promoted(again).verdict
        assert (refused.decision, refused.gain) == (Decision.REFUSED, None)
        assert "the champion cannot be opened (RuntimeError: the code ended the process" in refused.reason
    assert refused.test_reads == 2  # the stored verdict
    code.write_text(text)
    verdict = promoted(again).verdict
    assert verdict.gain is not None
    assert first.verdict.baseline is not None
    assert verdict.gain.opponent_loss == pytest.approx(first.verdict.baseline.challenger_loss, rel=1e-5)


@pytest.mark.slow
def test_a_winner_that_cannot_be_opened_is_refused_by_a_vital_guard(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.tasks import candidate_folder as module

    def fetch(store: Store, run_id: str, folder: Path) -> Path:
        path = folder / "model.keras"
        path.write_bytes(b"not a model")
        return path

    with monkeypatch.context() as patch:
        patch.setattr(module, "fetch_checkpoint", fetch)
        refused = promoted(setting).verdict
        assert refused.decision is Decision.REFUSED
        assert [guard.name for guard in refused.guards if not guard.passed] == ["opens alone"]
        assert not refused.may_be_forced
    assert promoted(setting).verdict.decision is Decision.PROMOTED


def test_the_cause_of_a_renamed_class_is_named() -> None:
    from nightune.tasks.tracking.trials.checkpoints import why_unopened

    text = (
        "<class 'Functional'> could not be deserialized.\n\nException encountered: Could not locate class 'Gate'. Make"
    )
    assert why_unopened(TypeError(text)) == "Could not locate class 'Gate'"
