import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from nightune.models.errors import InputError
from nightune.models.user_code import call_function, folder_on_path, load_function, source_digest

KEY = "model.architecture"


@pytest.fixture
def folder(tmp_path):
    path_before = list(sys.path)
    yield tmp_path
    assert sys.path == path_before


def write(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def refusal(reference: str, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_function(reference, folder, KEY)
    assert caught.value.key == KEY
    return str(caught.value)


def test_function_is_loaded_from_a_file_relative_to_the_folder(folder):
    write(folder, "code/größe.py", "def double(x: int) -> int:\n    return 2 * x\n")
    assert load_function("code/größe.py:double", folder, KEY)(4) == 8


def test_file_may_import_its_neighbours(folder):
    write(folder, "neighbour.py", "FACTOR = 3\n")
    write(folder, "code.py", "import neighbour\ndef triple(x):\n    return neighbour.FACTOR * x\n")
    assert load_function("code.py:triple", folder, KEY)(2) == 6


def test_neighbours_of_two_folders_are_not_mixed_up(folder):
    for name, factor in [("first", 3), ("second", 5)]:
        write(folder, f"{name}/factors_of_folder.py", f"FACTOR = {factor}\n")
        write(folder, f"{name}/code.py", "from factors_of_folder import FACTOR\ndef factor():\n    return FACTOR\n")
    assert load_function("first/code.py:factor", folder, KEY)() == 3
    assert load_function("second/code.py:factor", folder, KEY)() == 5


def test_called_function_may_import_late(folder):
    write(folder, "late_neighbour.py", "VALUE = 7\n")
    write(folder, "code.py", "def load():\n    import late_neighbour\n    return late_neighbour.VALUE\n")
    assert call_function("code.py:load", folder, KEY) == 7


def test_unchanged_file_is_imported_once(folder):
    write(folder, "code.py", "def f():\n    return 1\n")
    assert load_function("code.py:f", folder, KEY) is load_function("code.py:f", folder, KEY)


def test_edited_file_is_imported_again(folder):
    write(folder, "code.py", "def f():\n    return 1\n")
    load_function("code.py:f", folder, KEY)
    write(folder, "code.py", "def f():\n    return 2\n")
    assert load_function("code.py:f", folder, KEY)() == 2


def test_edited_neighbour_is_imported_again(folder):
    write(folder, "edited_neighbour.py", "VALUE = 1\n")
    write(folder, "code.py", "from edited_neighbour import VALUE\ndef f():\n    return VALUE\n")
    load_function("code.py:f", folder, KEY)
    write(folder, "edited_neighbour.py", "VALUE = 2\n")
    assert load_function("code.py:f", folder, KEY)() == 2


def test_modules_of_packages_without_init_are_not_mixed_up(folder):
    for name, factor in [("first", 3), ("second", 5)]:
        write(folder, f"{name}/plain_package/factors.py", f"FACTOR = {factor}\n")
        write(
            folder, f"{name}/code.py", "from plain_package import factors\ndef factor():\n    return factors.FACTOR\n"
        )
    assert load_function("first/code.py:factor", folder, KEY)() == 3
    assert load_function("second/code.py:factor", folder, KEY)() == 5


def test_neighbours_of_relative_folders_are_not_mixed_up(folder, monkeypatch):
    values = []
    for name in ("first", "second"):
        write(folder, f"{name}/late_here.py", f"NAME = {name!r}\n")
        write(folder, f"{name}/code.py", "def f():\n    pass\n")
        monkeypatch.chdir(folder / name)
        load_function("code.py:f", Path(), KEY)
        with folder_on_path(Path()):
            values.append(importlib.import_module("late_here").NAME)
    assert values == ["first", "second"]


def test_installed_packages_below_the_folder_are_imported_once(folder, monkeypatch):
    write(folder, ".venv/lib/site-packages/installed_below.py", "VALUE = object()\n")
    monkeypatch.syspath_prepend(folder / ".venv/lib/site-packages")
    for name in ("first", "second"):
        write(folder, f"{name}.py", "import installed_below\ndef value():\n    return installed_below.VALUE\n")
    values = [load_function(f"{name}.py:value", folder, KEY)() for name in ("first", "second")]
    assert values[0] is values[1]


def test_a_neighbour_is_noticed_if_an_import_of_another_thread_ends_after_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "begun_before", ModuleType("begun_before"))
    write(folder, "noticed_neighbour.py", "VALUE = 1\n")
    with folder_on_path(folder):
        importlib.import_module("noticed_neighbour")
        sys.modules["begun_before"] = sys.modules.pop("begun_before")  # the end of an import moves a module to the end
    write(folder, "noticed_neighbour.py", "VALUE = 2\n")
    write(folder, "code.py", "from noticed_neighbour import VALUE\ndef f():\n    return VALUE\n")
    assert load_function("code.py:f", folder, KEY)() == 2


def test_missing_file_is_named_with_its_nearest_spelling(folder):
    write(folder, "networks.py", "")
    message = refusal("network.py:net", folder)
    assert message.startswith("model.architecture: no file 'network.py' in")
    assert "did you mean 'networks.py'?" in message


def test_missing_function_is_named_with_its_nearest_spelling(folder):
    write(folder, "code.py", "def small_net():\n    pass\n")
    assert "unknown function 'smal_net'; did you mean 'small_net'? (known: small_net)" in refusal(
        "code.py:smal_net", folder
    )


def test_functions_that_a_file_imports_are_not_offered(folder):
    write(folder, "code.py", "from pathlib import Path, PurePath\n\ndef small_net():\n    pass\n")
    assert "(known: small_net)" in refusal("code.py:net", folder)


def test_reference_without_a_function_is_refused(folder):
    assert "allowed: path/to/file.py:function" in refusal("code.py", folder)


def test_value_that_is_not_a_function_is_refused(folder):
    write(folder, "code.py", "net = 3\n")
    assert "'net' is not a function but a int" in refusal("code.py:net", folder)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "import surely_not_installed\n",
            "ModuleNotFoundError: No module named 'surely_not_installed' (line 1 of code.py)",
        ),
        ("x = 1\n\ndef f(:\n", "SyntaxError: invalid syntax (line 3 of code.py)"),
        ("x = 1\ny = x / 0\n", "ZeroDivisionError: division by zero (line 2 of code.py)"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 (line 2 of code.py)"),
    ],
)
def test_error_of_an_import_names_file_and_line(folder, source, words):
    write(folder, "code.py", source)
    message = refusal("code.py:f", folder)
    assert "importing code.py raised" in message
    assert words in message


def test_error_of_a_call_names_function_and_line(folder):
    write(folder, "code.py", "def load():\n    raise ValueError('no such plate')\n")
    with pytest.raises(InputError, match=r"load\(\) of code.py raised ValueError: no such plate \(line 2 of code.py\)"):
        call_function("code.py:load", folder, KEY)


def test_digest_of_a_name_that_is_not_a_file_is_empty(folder):
    assert source_digest("mlp", folder) == ""


def test_digest_follows_the_file_and_what_it_imports(folder):
    write(folder, "layers/__init__.py", "from layers.dense import WIDTH\n")
    write(folder, "layers/dense.py", "WIDTH = 1\n")
    write(folder, "stranger.py", "X = 1\n")
    write(folder, "code.py", "import layers\ndef f():\n    return layers.WIDTH\n")
    first = source_digest("code.py:f", folder)
    write(folder, "stranger.py", "X = 2\n")
    assert source_digest("code.py:f", folder) == first
    write(folder, "layers/dense.py", "WIDTH = 2\n")
    second = source_digest("code.py:f", folder)
    write(folder, "code.py", "import layers\ndef f():\n    return -layers.WIDTH\n")
    assert len({first, second, source_digest("code.py:f", folder)}) == 3


def test_digest_depends_on_the_content_not_the_folder(folder):
    for place in ("here", "there"):
        write(folder, f"{place}/code.py", "def f():\n    return 1\n")
    assert source_digest("here/code.py:f", folder) == source_digest("there/code.py:f", folder)
