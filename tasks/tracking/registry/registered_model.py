"""The code of every registered version: MLflow copies this file into the version and runs it to load the model.

So a version holds no pickled object. `nightune_model` is the version's own copy of the files that
`models/serving/predictor.py` names: a later Nightune does not change what an earlier version answers.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class RegisteredModel(PythonModel):
    """Raw rows in, labels or quantities out."""

    def load_context(self, context: Any) -> None:
        """Open the version's files; Keras takes JAX where there is no TensorFlow."""
        if importlib.util.find_spec("tensorflow") is None:
            os.environ.setdefault("KERAS_BACKEND", "jax")
        from nightune_model.serving import Predictor  # noqa: PLC0415 - on the path from now on

        self._predictor = Predictor.open(Path(context.artifacts["parts"]))

    # The one hint that MLflow takes as none: the signature says what comes, which for images is an array.
    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        """One answer a row."""
        return self._predictor.predict(model_input)


set_model(RegisteredModel())  # MLflow's protocol: the file names its model when it is run
