"""Train a random share of the stopped trials to the end, and record what stopping cost.

An audit is a run of its own under the run of its trial, with the same params and seed and the rule ignored: the trial's
record, the leaderboard and what a sampler reads stay as the search saw them.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import client
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.analysis.early_stopping import Regret, audit_key, ended_with_search, regret_of, stopped, to_audit
from nightune.tuning.study.rounds import as_settled
from nightune.tuning.trial import Trial, TrialResult

logger = logging.getLogger("nightune")


def audits(setting: Setting) -> list[Trial]:
    """Return the audits of the sweep: none unless the study asks for them, or if no trial was stopped."""
    share, study = setting.study.search.audit, setting.study
    if share is None:
        return []
    results = setting.finished()
    candidates = stopped(results, study.search.epochs, _ended(setting, results))
    if not candidates:
        logger.info("audit · no trial was stopped")
    return [_audit_of(each) for each in to_audit(candidates, share, study.sweep_seed(setting.sweep.number))]


def missing_audits(setting: Setting) -> list[Trial]:
    """Return the audits that are not trained yet."""
    finished = finished_trials(setting.store, setting.sweep, names.AUDIT)
    return [each for each in audits(setting) if each.key not in finished]


def record_audit(setting: Setting) -> Regret | None:
    """Write what stopping cost to the sweep's run; None without an audit."""
    audited = finished_trials(setting.store, setting.sweep, names.AUDIT)
    results, sweep = setting.finished(), setting.sweep
    epochs, ended = setting.study.search.epochs, _ended(setting, results)
    found = regret_of(results, audited.values(), epochs, sweep.direction, ended)
    if found is not None:
        client(setting.store).log_metric(setting.sweep.run_id, names.AUDITED_TRIALS, found.audited)
        client(setting.store).log_metric(setting.sweep.run_id, names.STOPPING_REGRET, found.missed)
        text = "audit · %d of %d stopped trials trained to the end · %.4g better on average · %d better than the best"
        logger.info(text, found.audited, found.stopped, found.missed, found.better)
    return found


def _ended(setting: Setting, results: Sequence[TrialResult]) -> set[int]:
    """Return the trials that the early end of the search halted: no rung dropped them."""
    sweep = setting.sweep
    brackets = as_settled(setting.study.brackets, dict(sweep.first_rungs))
    return ended_with_search(results, brackets, sweep.direction) if sweep.ended_by else set()


def _audit_of(result: TrialResult) -> Trial:
    trial = result.trial
    return replace(trial, key=audit_key(trial.key), replicate_of=result.run_id, is_audit=True)
