"""Undocumented details of Keras' `.keras` files: the names of archive members, and the content of their JSON."""

import json
import time

WEIGHTS, CONFIG, METADATA = "model.weights.h5", "config.json", "metadata.json"


def with_present_date(metadata: bytes) -> bytes:
    """Return the content of METADATA with the current time as the date of saving."""
    return json.dumps({**json.loads(metadata), "date_saved": time.strftime("%Y-%m-%d@%H:%M:%S")}).encode()


def with_dropout_rate(config: bytes, rate: float) -> bytes:
    """Return the content of CONFIG with this rate in all Dropout layers; for models with a flat list of layers."""
    model = json.loads(config)
    for layer in model["config"]["layers"]:
        if layer["class_name"] == "Dropout":
            layer["config"]["rate"] = rate
    return json.dumps(model).encode()
