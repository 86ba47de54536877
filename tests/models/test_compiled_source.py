"""Builders that compile another loss than the default are found in their source: their trials get keys of their own."""

from pathlib import Path

import pytest

from nightune.models.networks.compiled_source import compiles_other_loss


@pytest.mark.parametrize(
    ("code", "task", "is_other"),
    [
        ("m.compile('adam', 'mse')", "regression", False),
        ("m.compile(optimizer='adam', loss=keras.losses.MeanSquaredError())", "regression", False),
        ("m.compile('adam', loss='mae')", "regression", True),
        ("m.compile('adam', loss=keras.losses.Huber(delta=2.0))", "regression", True),
        ("m.compile('adam', loss=keras.losses.MeanSquaredError(reduction='sum'))", "regression", True),
        ("m.compile('adam', loss=own)", "regression", True),
        ("m.compile(**settings)", "regression", True),
        ("m.compile('adam')", "regression", False),
        ("m.compile('adam', loss=None)", "regression", False),
        ("re.compile('a', 2)", "regression", False),
        ("m.compile('adam', keras.losses.BinaryCrossentropy(from_logits=True))", "binary", False),
        ("m.compile('adam', 'binary_crossentropy')", "multilabel", False),
        ("m.compile('adam', 'binary_focal_crossentropy')", "multilabel", True),
        ("m.compile('adam', keras.losses.SparseCategoricalCrossentropy(from_logits=True))", "multiclass", False),
        ("m.compile('adam', keras.losses.CategoricalCrossentropy(label_smoothing=0.1))", "multiclass", True),
        ("m.compile('adam', 'binary_crossentropy')", "multiclass", True),
        ("m.compile('adam', 'mse'); m.compile('adam', 'mae')", "regression", True),
        ("not python (", "regression", False),
    ],
)
def test_a_loss_is_found_in_the_source(tmp_path: Path, code: str, task: str, is_other: bool) -> None:
    (tmp_path / "net.py").write_text(f"def build(input_shape, output_size):\n    {code}\n")
    assert compiles_other_loss("net.py:build", tmp_path, task) == is_other


def test_imported_files_are_read_and_own_architectures_compile_nothing(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from parts import make\ndef build(): return make()\n")
    (tmp_path / "parts.py").write_text("def make():\n    m.compile('adam', loss='mae')\n    return m\n")
    assert compiles_other_loss("net.py:build", tmp_path, "regression")
    assert not compiles_other_loss("mlp", tmp_path, "regression")
