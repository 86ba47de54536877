"""Limits of a trial's model: their keys, what is over them, and studies without them stay as they were."""

from pathlib import Path

import pytest

from nightune.tuning.errors import StudyError
from nightune.tuning.study.sections import Limits
from nightune.tuning.study.study import Study, load_study
from tests.tuning.conftest import VOCABULARY

STUDY = """
question = "?"
[data]
source = "iris"
[space]
optimizer = "sgd"
[search]
trials = 1
epochs = 1
"""


def read(tmp_path: Path, lines: str) -> Study:
    (tmp_path / "s.toml").write_text(f"{STUDY}{lines}")
    return load_study(tmp_path / "s.toml", VOCABULARY)


def test_only_limits_of_the_model_belong_to_the_content(tmp_path: Path) -> None:
    plain = read(tmp_path, "")
    assert "limits" not in plain.content
    assert read(tmp_path, "[limits]\nseconds = 9\nmemory_gib = 9\n").digest == plain.digest
    limited = read(tmp_path, "[limits]\nparameters = 9\nlatency_ms = 2.5\n")
    assert limited.content["limits"] == {"parameters": 9, "latency_ms": 2.5}
    assert limited.digest != plain.digest


WRONG = ["parameters = 0", "parameters = 1.5", "size_mb = -1", "latency_ms = inf", "size_kb = 1"]


@pytest.mark.parametrize("line", WRONG)
def test_limits_that_mean_nothing_are_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=line.split(" ", maxsplit=1)[0]):
        read(tmp_path, f"[limits]\n{line}\n")


def test_what_is_over_a_limit_is_named_with_its_key() -> None:
    limits = Limits(parameters=10_000, size_mb=0.5)
    assert limits.exceeded({"parameters": 10_000, "size_mb": 0.5, "latency_ms": 99}) == ""
    said = limits.exceeded({"parameters": 12_345, "size_mb": 0.501})
    assert "12,345 parameters (limits.parameters is 10000)" in said
    assert "0.501 MB" in said
