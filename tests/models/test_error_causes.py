"""The one line shown for an error says what is wrong and where."""

from pathlib import Path

import pytest

from nightune.models.error_causes import CAUSE_LENGTH, cause_of, users_line
from nightune.models.user_code import load_function

KERAS = """Exception encountered when calling Dense.call().

\x1b[1mMatrix size-incompatible: In[0]: [8,4], In[1]: [3,2]\x1b[0m

Arguments received by Dense.call():
  • inputs=tf.Tensor(shape=(8, 4), dtype=float32)
  • training=True"""
GRAPH = """Graph execution error:

Detected at node sequential_1/embedding_1/GatherV2 defined at (most recent call last):
<stack traces unavailable>
Detected at node sequential_1/embedding_1/GatherV2 defined at (most recent call last):
<stack traces unavailable>
2 root error(s) found.
  (0) INVALID_ARGUMENT:  indices[4,6] = 50 is not in [0, 50)
\t [[{{node sequential_1/embedding_1/GatherV2}}]] [Op:__inference_one_step_1]"""
INFERRED = """Exception encountered when calling Shift.call().

Could not automatically infer the output shape / dtype of 'shift' (of type Shift). Error encountered:

'Shift' object has no attribute 'missing'

Arguments received by Shift.call():
  • args=('<KerasTensor shape=(None, 4)>',)"""
AUTOGRAPH = """in user code:

    File "/usr/lib/keras/src/trainer.py", line 80, in train_step  *
        y_pred = self(x, training=True)
    File "/home/net.py", line 7, in call  *
        return inputs + self.missing

    AttributeError: 'Shift' object has no attribute 'missing'"""


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ValueError("units: 0 is not positive"), "ValueError: units: 0 is not positive"),
        (ValueError(KERAS), "ValueError: Dense.call(): Matrix size-incompatible: In[0]: [8,4], In[1]: [3,2]"),
        (RuntimeError(GRAPH), "RuntimeError: indices[4,6] = 50 is not in [0, 50)"),
        (AttributeError(AUTOGRAPH), "AttributeError: 'Shift' object has no attribute 'missing'"),
        (TypeError(INFERRED), "TypeError: Shift.call(): 'Shift' object has no attribute 'missing'"),
        (KeyError("price"), "KeyError: 'price'"),
        (AssertionError(), "AssertionError: no message"),
        (ValueError("Arguments received by f():\n  • x=1"), "ValueError: Arguments received by f():"),
    ],
)
def test_the_cause_is_found_inside_wrapping_errors_of_libraries(error: Exception, cause: str) -> None:
    assert cause_of(error) == cause


def test_a_long_cause_is_truncated() -> None:
    assert len(cause_of(ValueError("x" * 10_000))) == CAUSE_LENGTH


def failing(tmp_path: Path, code: str) -> Exception:
    (tmp_path / "net.py").write_text(code)
    build = load_function("net.py:build", tmp_path, "model.architecture")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each code raises another
        build()
    return caught.value


def test_the_users_line_is_the_innermost_of_their_own_files(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text("def part():\n    return {}['head']\n")
    error = failing(tmp_path, "from parts import part\n\n\ndef build():\n    return part()\n")
    assert users_line(error, tmp_path) == "line 2 of parts.py"


def test_the_users_line_is_that_of_the_first_cause(tmp_path: Path) -> None:
    code = "def build():\n    try:\n        1 / 0\n    except ArithmeticError as error:\n        raise OSError"
    assert users_line(failing(tmp_path, code), tmp_path) == "line 3 of net.py"


def test_an_error_of_an_installed_package_has_no_line_of_the_user(tmp_path: Path) -> None:
    package = tmp_path / ".venv" / "site-packages"
    package.mkdir(parents=True)
    error = failing(package, "def build():\n    raise OSError('no file')\n")
    assert users_line(error, tmp_path) == ""
