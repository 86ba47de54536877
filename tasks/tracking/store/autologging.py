"""Keep MLflow's autologging off while Nightune works: it would write runs of its own beside those of the trials."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("nightune")


@contextmanager
def without_autologging() -> Iterator[None]:
    """Keep autologging off inside the block, also if a user's file calls `mlflow.autolog()` there, and say so once."""
    from mlflow.utils.autologging_utils import (  # noqa: PLC0415 - takes seconds to import
        AUTOLOGGING_INTEGRATIONS,
        autologging_is_disabled,
        disable_autologging,
    )

    try:
        with disable_autologging():
            yield
    finally:
        if not all(autologging_is_disabled(name) for name in list(AUTOLOGGING_INTEGRATIONS)):  # type: ignore[no-untyped-call]
            logger.warning("mlflow.autolog() was off during this run: Nightune logs each trial itself")
