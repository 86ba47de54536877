"""What Keras does not document of `.keras` files: the names in the archive, and what the two JSON texts hold."""

import json
import time

WEIGHTS, CONFIG, METADATA = "model.weights.h5", "config.json", "metadata.json"


def with_present_date(metadata: bytes) -> bytes:
    """Return the text METADATA with the present time as the one at which the model was saved."""
    return json.dumps({**json.loads(metadata), "date_saved": time.strftime("%Y-%m-%d@%H:%M:%S")}).encode()


def with_dropout_rate(config: bytes, rate: float) -> bytes:
    """Return the text CONFIG of a model that is one stack of layers with this rate in all its Dropout layers."""
    model = json.loads(config)
    for layer in model["config"]["layers"]:
        if layer["class_name"] == "Dropout":
            layer["config"]["rate"] = rate
    return json.dumps(model).encode()
