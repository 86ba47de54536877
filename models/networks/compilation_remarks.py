"""What of a model's own compilation is not used."""

from collections.abc import Iterator

import keras

from nightune.models.library_internals.models import compiled_metrics

UNUSED_LOSS = "the compiled loss"
_DECIDE = "[space] and [objective] decide"


def is_of_loss(remark: str) -> bool:
    """True for a remark on the compiled loss of one head, not on the compilation of the whole model."""
    return remark.startswith(UNUSED_LOSS)


def remarks_on_compilation(model: keras.Model) -> Iterator[str]:
    """Yield that the compiled optimizer and metrics are not used, if the model was compiled."""
    if getattr(model, "optimizer", None) is not None:
        optimizer = type(model.optimizer).__name__
        names = [str(getattr(each, "name", getattr(each, "__name__", each))) for each in compiled_metrics(model)]
        if names:
            yield f"the compiled optimizer {optimizer} and metrics {', '.join(names)} are not used: {_DECIDE}"
        else:
            yield f"the compiled optimizer {optimizer} is not used: {_DECIDE}"
