"""Say that files with a user's code were edited while a sweep worked: its trials keep the code of its start."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from nightune.models.kept_code import newly_changed, newly_edited

logger = logging.getLogger("nightune")


@contextmanager
def edits_reported() -> Iterator[None]:
    """Warn at the end of the block, whatever ends it, of each kept file that was edited, once for each."""
    try:
        yield
    finally:
        edited = newly_edited()
        if edited:
            names = ", ".join(path.name for path in edited)
            logger.warning(
                "%s: edited while this command ran; its trials and versions have the code of its start. "
                "The next `nightune tune` takes the edited code as new code",
                names,
            )
        changed = newly_changed()
        if changed:
            logger.warning(
                "%s: changed while this command ran, and the study's functions read it: trials after the change may "
                "have read the new content under the keys of the old one. Run `nightune tune --fresh` for new trials",
                ", ".join(path.name for path in changed),
            )
