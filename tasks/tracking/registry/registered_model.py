"""The code of every registered version: MLflow copies this file into the version and runs it to load the model.

So a version contains no pickled object. `nightune_model` is the version's own copy of the files that
`models/serving/predictor.py` lists, so that a later Nightune does not change the predictions of an earlier version.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class RegisteredModel(PythonModel):
    """Predicts labels or quantities from raw rows."""

    def load_context(self, context: Any) -> None:
        """Open the version's files; Keras uses JAX if TensorFlow is not installed."""
        if importlib.util.find_spec("tensorflow") is None:
            os.environ.setdefault("KERAS_BACKEND", "jax")
        from nightune_model.serving import Predictor  # noqa: PLC0415 - MLflow has put it on the path

        self.predictor = Predictor.open(Path(context.artifacts["parts"]))

    # Of all type hints, MLflow ignores only this one; the signature defines the input, an array for images.
    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        """Return one prediction per row; `params` with output "probabilities" asks for those of the classes."""
        return self.predictor.predict(model_input, **(params or {}))


set_model(RegisteredModel())  # MLflow's protocol: running the file sets its model
