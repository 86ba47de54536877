"""Find in the source of a model's function, without Keras, whether it compiles another loss than the task's default.

Trials of such a function have keys of their own: earlier versions of Nightune ignored the compiled loss.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from nightune.models.user_code import source_files

_DEFAULTS = {
    "regression": {"mse", "MSE", "mean_squared_error", "MeanSquaredError"},
    "binary": {"bce", "BCE", "binary_crossentropy", "BinaryCrossentropy"},
    "multilabel": {"bce", "BCE", "binary_crossentropy", "BinaryCrossentropy", "crossentropy", "ce"},
}
_OF_CLASSES = {
    "crossentropy",
    "ce",
    "categorical_crossentropy",
    "CategoricalCrossentropy",
    "sparse_categorical_crossentropy",
    "SparseCategoricalCrossentropy",
}


def compiles_other_loss(architecture: str, folder: Path, task: str) -> bool:
    """Return True if a call of `compile` in the function's files has a loss that is not known as the default one."""
    known = _DEFAULTS.get(task, set()) | (_OF_CLASSES if task in ("binary", "multiclass") else set())
    sources = source_files(architecture, folder).values()
    return any(_name(loss) not in known for source in sources for loss in _compiled_losses(source))


def _compiled_losses(source: bytes) -> Iterator[ast.expr]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # reported by the import
        return
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "compile"):
            continue
        if isinstance(node.func.value, ast.Name) and node.func.value.id in ("re", "regex"):
            continue
        named = {keyword.arg: keyword.value for keyword in node.keywords}
        loss = named.get("loss", node.args[1] if len(node.args) > 1 else None)
        if loss is not None and not (isinstance(loss, ast.Constant) and loss.value is None):
            yield loss
        elif None in named:  # compile(**settings)
            yield named[None]


def _name(loss: ast.expr) -> str:
    """The name of a loss that is written as a text, a function, or an object without settings but `from_logits`."""
    if isinstance(loss, ast.Call):
        is_plain = not loss.args and all(keyword.arg == "from_logits" for keyword in loss.keywords)
        return _name(loss.func) if is_plain else ""
    if isinstance(loss, ast.Attribute):
        return loss.attr
    if isinstance(loss, ast.Name):
        return loss.id
    return str(loss.value) if isinstance(loss, ast.Constant) else ""
