"""Draw the report of a sweep at the end of a command or a night, which it cannot fail."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.models.heavy_imports import lasting_imports

if TYPE_CHECKING:
    from nightune.tasks.draw_report import DrawnReport

logger = logging.getLogger("nightune")


def morning_page(study_file: Path, study: str, sweep_id: str) -> "DrawnReport | None":
    """Draw the report and attach it to the sweep's run; None with a warning if that is not possible.

    The sweep and its verdict are recorded by now: no error of a drawing may undo the exit code that they have.
    """
    logger.info("drawing the report …")
    try:
        with lasting_imports():
            from nightune.tasks.draw_report import Asked, draw_report  # noqa: PLC0415 - at the end, when it is needed
            from nightune.tasks.tracking.store.store import open_existing_store  # noqa: PLC0415

        return draw_report(open_existing_store(store_root(), tracking_uri()), study, study_file, Asked(sweep_id))
    except Exception as error:  # whatever it is: the night is over, and `nightune report` shows it again
        logger.warning("report · not drawn (%s) · `nightune report` draws it", error)
        return None
