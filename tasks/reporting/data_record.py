"""Record the data and the code that a sweep starts with, and warn of columns that drifted since the sweep before."""

import logging

from nightune.models.data.storage import PROFILE
from nightune.models.user_code import source_digest
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.profiles import DataNews, write_profile
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Value, trial_key

SHOWN = 3
NO_CODE = "none"
FROM_CODE = ("model.architecture", "stopping.rule", "training.loss")  # keys that may refer to functions

logger = logging.getLogger("nightune")


def record_data(store: Store, study: Study, sweep: Sweep, data: PreparedData) -> None:
    """Write the digest of today's user code to the run of an unfinished sweep, and the data's profile if it has none.

    Trials of other code are trained again: what the sweep ends with is by today's.
    """
    tags, code = client(store).get_run(sweep.run_id).data.tags, _code(study)
    if tags.get(names.CODE) != code:
        client(store).set_tag(sweep.run_id, names.CODE, code)
    file = data.folder / PROFILE
    if names.DRIFT in tags or not file.exists():
        return
    news = write_profile(store, sweep, file.read_text(encoding="utf-8"))
    if news is not None and news.comparison.drifted:
        logger.warning("data · %s", drift_line(news))


def drift_line(news: DataNews) -> str:
    """Return the columns that drifted in one line."""
    drifted = news.comparison.drifted
    said = "; ".join(f"{each.name} ({each.said})" for each in drifted[:SHOWN])
    more = f"; {len(drifted) - SHOWN} more" if len(drifted) > SHOWN else ""
    return f"drift since {news.against.id}: {said}{more}"


def _code(study: Study) -> str:
    """Return what identifies the user's code in the study; `none` without any."""
    folder = study.path.parent
    given: list[tuple[str, Value]] = [(name, each) for name in FROM_CODE for each in study.space.options(name)]
    named = [(key, text) for key, value in given for text in (value.values() if isinstance(value, dict) else [value])]
    named += [(study.objective.key, each) for each in study.objective.named]
    digests = {source_digest(text, folder, key) for key, text in named if isinstance(text, str)} - {""}
    return trial_key({"code": sorted(digests)}) if digests else NO_CODE
