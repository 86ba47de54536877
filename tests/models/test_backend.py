"""Start of the backend: GPU memory is allocated on demand, unless the user sets otherwise."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.models.undocumented import undocumented


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global enable_memory_growth
    from nightune.models.backend import enable_memory_growth


class Configuration:
    """The part of TensorFlow's configuration that is used, with devices that may be in use."""

    def __init__(self, gpus: list[str], used: tuple[str, ...] = ()) -> None:
        self.config = self
        self.experimental = self
        self._gpus, self._used = gpus, used
        self.growing: list[str] = []

    def list_physical_devices(self, kind: str) -> list[str]:
        return self._gpus if kind == "GPU" else ["cpu"]

    def set_memory_growth(self, gpu: str, growing: bool) -> None:
        if gpu in self._used:
            raise RuntimeError("Physical devices cannot be modified after being initialized")
        assert growing
        self.growing.append(gpu)


@pytest.mark.parametrize(
    ("gpus", "used", "growing"), [([], (), []), (["a", "b"], (), ["a", "b"]), (["a", "b"], ("a",), ["b"])]
)
def test_each_gpu_that_is_not_in_use_grows(
    monkeypatch: pytest.MonkeyPatch, gpus: list[str], used: tuple[str, ...], growing: list[str]
) -> None:
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    configuration = Configuration(gpus, used)
    enable_memory_growth(configuration)
    assert configuration.growing == growing


def test_the_users_setting_of_tensorflows_memory_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "false")
    configuration = Configuration(["a"])
    enable_memory_growth(configuration)
    assert configuration.growing == []


def test_the_backend_is_loaded_where_jax_is_not_installed() -> None:
    code = "import sys; sys.modules['jax'] = None; import nightune.models.backend"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("variable", "file", "imported"),
    [("", "tensorflow", False), ("", "jax", True), ("tensorflow", "jax", False), ("jax", "tensorflow", True)],
)
def test_jax_is_left_out_only_where_it_is_not_the_backend(
    tmp_path: Path, variable: str, file: str, imported: bool
) -> None:
    (tmp_path / "keras.json").write_text(f'{{"backend": "{file}"}}', encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    given = {"KERAS_HOME": str(tmp_path), **({"KERAS_BACKEND": variable} if variable else {})}
    code = (
        "import sys; from nightune.models.backend import _without_what_training_does_not_need as without\n"
        "with without():\n    print('jax' not in sys.modules)\nprint('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=kept | given, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(imported), "False"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "false"), ({"XLA_PYTHON_CLIENT_PREALLOCATE": "true"}, "true"), ({"XLA_CLIENT_MEM_FRACTION": ".5"}, "None")],
)
def test_jax_takes_memory_on_demand_by_default(given: dict[str, str], expected: str) -> None:
    code = (
        "import sys, types; keras = types.ModuleType('keras'); sys.modules |= {'keras': keras, 'tensorflow': None}\n"
        "class Any:\n    __getattr__ = __call__ = lambda *a: 'jax' if a[1:] == () else Any()\n"
        "keras.backend = keras.ops = Any()\n"
        "import os; from nightune.models import backend\n"
        "backend.ignore_tensorflow_until_imported = Any(); backend.load_keras()\n"
        "print(os.environ.get('XLA_PYTHON_CLIENT_PREALLOCATE'))"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XLA_")}
    output: Any = subprocess.run([sys.executable, "-c", code], env={**kept, **given}, capture_output=True, check=True)
    assert output.stdout.decode().strip() == expected


@undocumented(
    "TensorFlow",
    "_api.v2.compat.v1, _api.v2.compat.v2",
    "a start without 250 modules",
    "library_internals.lazy_modules.EARLIER_INTERFACES",
)
def test_tensorflows_earlier_interfaces_are_imported_when_they_are_used() -> None:
    code = (
        "import sys\n"
        "from nightune.models.backend import load_keras\n"
        "load_keras().backend.clear_session(free_memory=False)\n"
        "import tensorflow as tf\n"
        "kind = lambda: type(sys.modules['tensorflow._api.v2.compat.v1']).__name__\n"
        "reset, before = tf.compat.v1.reset_default_graph, kind()\n"
        "tf.compat.v1.placeholder\n"
        "print(before, kind() != before, reset is tf.compat.v1.reset_default_graph)\n"
    )
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["PostponedModule", "True", "True"], done.stderr
