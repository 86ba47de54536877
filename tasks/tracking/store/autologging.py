"""Keep MLflow's autologging off while Nightune works: it would write runs of its own beside those of the trials."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

logger = logging.getLogger("nightune")

WAS_OFF = "mlflow.autolog() was off during this run: Nightune logs each trial itself"
_SWITCHES = "mlflow.utils.autologging_utils"  # the module of the decorator that all `autolog` functions have

_is_ignored = False
_ignored: set[str] = set()  # integrations whose `autolog` was called and ignored


def ignore_autologging() -> None:
    """Ignore calls of MLflow's `autolog` functions in this process from now on. Call it before importing MLflow.

    A user's file is imported long before and after a sweep works, and switching autologging on imports libraries and
    logs lines.
    """
    global _is_ignored  # noqa: PLW0603 - of the process, as autologging is
    import wrapt  # noqa: PLC0415 - imports asyncio, which --help does not need

    if not _is_ignored:
        _is_ignored = True
        wrapt.register_post_import_hook(_make_ignorable, _SWITCHES)


def was_autologging_ignored() -> bool:
    """True if a user's file has called an `autolog` function of MLflow, and it was ignored."""
    return bool(_ignored)


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
        is_on = not all(autologging_is_disabled(name) for name in list(AUTOLOGGING_INTEGRATIONS))  # type: ignore[no-untyped-call]
        if is_on or was_autologging_ignored():
            logger.warning("%s", WAS_OFF)


def _make_ignorable(module: Any) -> None:
    """Replace MLflow's decorator of `autolog` functions."""
    decorator = module.autologging_integration

    def integration(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def decorate(autolog: Callable[..., Any]) -> Callable[..., Any]:
            usual = decorator(name)(autolog)

            @wraps(usual)
            def unless_ignored(*values: Any, **options: Any) -> Any:
                if not _is_ignored:
                    return usual(*values, **options)
                if not options.get("disable"):
                    _ignored.add(name)
                return None

            return unless_ignored

        return decorate

    module.autologging_integration = integration
