"""The packages that serving a version needs, pinned to the versions of the training."""

import ast
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from nightune.settings import read_settings


def requirements(code: Path | None = None, others: Sequence[str] = ()) -> list[str]:
    """Return the requirements of a version, with those that its inputs need; Nightune is not among them.

    `code` is the folder of the author's source files in a version that has any: what they import is required, too.
    """
    names = dict.fromkeys(("mlflow", "keras", read_settings().keras_backend, "numpy", "pandas", *others))
    if code is not None:
        known = metadata.packages_distributions()
        for module in sorted({module for file in code.rglob("*.py") for module in _imports(file)}):
            names |= dict.fromkeys(name for name in known.get(module, ()) if name != "nightune")
    return [f"{name}=={metadata.version(name)}" for name in names]


def _imports(file: Path) -> Iterator[str]:
    """Yield the first names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
