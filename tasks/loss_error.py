"""Record by how much the best trial's `val_loss` is uncertain, by the losses of its held-out rows."""

import logging
import tempfile
from pathlib import Path

import numpy as np

from nightune.models.error_causes import cause_of
from nightune.models.recipe.params import read_recipe
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.errors import StoreLostError
from nightune.tasks.tracking.trials.checkpoints import fetch_checkpoint
from nightune.tasks.tracking.trials.row_errors import read_row_error, write_row_error
from nightune.tasks.trial.interrupts import interrupts_raised
from nightune.tasks.trial.trainer import trainer_of
from nightune.tuning.trial import TrialResult

METRIC = "val_loss"

logger = logging.getLogger("nightune")


def record_loss_error(setting: Setting, best: TrialResult) -> None:
    """Write the standard error of the best trial's `val_loss` to its run; nothing for other metrics, and with folds.

    A model that does not open leaves it unknown, with a warning. The rows are taken as independent of each other.
    """
    sweep = setting.sweep
    if sweep.metric != METRIC or sweep.has_folds or sweep.is_complete:
        return
    if read_row_error(setting.store, best.run_id) is None:
        try:
            with interrupts_raised():
                error = _error(setting, best)
        except StoreLostError:
            raise
        except Exception as error_of_model:  # of a lost class, a damaged file or memory: no result depends on it
            logger.warning("trial %d · standard error unknown: %s", best.trial.number, cause_of(error_of_model))
            return
        if np.isfinite(error):
            write_row_error(setting.store, best.run_id, error)


def _error(setting: Setting, best: TrialResult) -> float:
    from nightune.models.engines.prediction import outputs_of  # noqa: PLC0415 - Keras
    from nightune.models.networks.rows_as_trained import (  # noqa: PLC0415
        losses_as_trained,
        standard_error_of_mean,
        weighing_rows,
    )
    from nightune.models.serving.predictor import Predictor, open_model  # noqa: PLC0415

    trainer = trainer_of(setting)
    rows, head = trainer.dataset.ranking, trainer.engine.head(read_recipe(best.trial.params))
    places = weighing_rows(head, rows)
    rows = rows if places is None else rows.part(places)
    with tempfile.TemporaryDirectory() as folder:
        model = open_model(fetch_checkpoint(setting.store, best.run_id, Path(folder)))
        predictor = Predictor(model, None, {**trainer.dataset.description, **head.description})
        outputs = outputs_of(predictor, rows.inputs)
    return standard_error_of_mean(losses_as_trained(head, outputs, rows), rows.weights)
