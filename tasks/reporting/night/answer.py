"""The answer of the report: the verdict as headline, and what won, by how much and how sure, each computed."""

import math
import shlex
from collections.abc import Sequence

from nightune.tasks.reporting.night.measure import SPACE
from nightune.tasks.reporting.night.phrases import (
    interval,
    promote_command,
    recipe,
    rows_text,
    status_text,
    tune_command,
)
from nightune.tasks.reporting.night.record import Night
from nightune.tasks.tracking.trials.recorded import fold_errors
from nightune.tuning.analysis.confirmation import ConfirmedFinalist, is_rival
from nightune.tuning.analysis.leaderboard import status_counts
from nightune.tuning.analysis.metric_values import values_text
from nightune.tuning.analysis.paired_gain import Gain
from nightune.tuning.analysis.promotion_gate import Decision, Verdict
from nightune.tuning.analysis.quantiles import normal_quantile, share_interval
from nightune.tuning.analysis.standard_errors import fold_reach, rows_of_share, standard_errors
from nightune.tuning.trial import UNRANKED, Status, TrialResult
from nightune.vocabulary import counted

RECIPE_LENGTH = 3  # params of a trial that a sentence names


def headline(night: Night) -> str:
    """Return the verdict in one line."""
    winner, verdict = night.winner, night.verdict
    if winner is None:
        return _without_winner(night)
    who, scored = f"trial {winner.trial.number}", _scored(night)
    if verdict is None:
        so_far = "" if night.sweep.is_complete else f"{_progress(night)}: "
        text = f"{so_far}{who} leads with {scored}; not judged yet"
        return text[0].upper() + text[1:]
    if verdict.decision is Decision.PROMOTED:
        return f"Trial {winner.trial.number} became the champion, with {scored}"
    if verdict.decision is Decision.FORCED:
        return f"Trial {winner.trial.number} was made champion by hand, with {scored}"
    if verdict.against is None:
        return f"Trial {winner.trial.number}, with {scored}, is not promoted"
    is_sound = all(guard.passed for guard in verdict.guards) and verdict.gain is not None
    why = "is not significantly better" if is_sound else "is refused"
    return f"The champion stays: {who}, with {scored}, {why}"


def _scored(night: Night) -> str:
    """Return the winner's score on the sealed rows, or else the one by which it was chosen, and over how many seeds."""
    sealed, gain = night.sealed, night.verdict and (night.verdict.gain or night.verdict.baseline)
    if sealed is not None and gain:
        return f"{night.measure.text(sealed.challenger)} {night.measure.name}{night.sealed_unit} on {rows_text(gain)}"
    confirmed = night.confirmed
    seeds = "" if confirmed is None else f" over {counted(len(confirmed.finalist.scores), 'fresh seed')}"
    return f"{night.measure.text(night.score)} {night.measure.full_name}{seeds}"


def answer(night: Night, study_file: str) -> list[str]:
    """Return what won and by how much, how sure that is, and what became of it: a sentence or two for each."""
    if night.winner is None:
        return _why_no_winner(night, study_file)
    return [_what_won(night, night.winner), _how_sure(night, study_file), *_judged(night, study_file)]


def _without_winner(night: Night) -> str:
    if not night.trials:
        ended = night.sweep.ended_by
        return f"No trial fits into search.{ended}" if ended else "No trial has ended yet"
    counts = status_counts(night.results)
    bad = [f"{counts[status]} {status_text(night, status)}" for status in UNRANKED if counts[status]]
    said = f"{' and '.join(bad)} of {counted(len(night.trials), 'trial')}" if bad else f"{_progress(night)}"
    return f"No trial has a finite score: {said}"


def _progress(night: Night) -> str:
    return f"{len(night.trials)} of {night.sweep.planned_trials} trials so far"


def _why_no_winner(night: Night, study_file: str) -> list[str]:
    if not night.trials:
        return [f"{counted(night.sweep.planned_trials, 'trial')} planned; the sweep is {night.sweep.status}."]
    texts = [f"{_progress(night)}; the sweep is {night.sweep.status}."] if not night.sweep.is_complete else []
    over = [each for each in night.results if each.status is Status.OVER_LIMIT]
    if over and len(over) == len(night.results):
        return [*texts, "The models of all trials are over a limit: raise [limits], or search smaller models."]
    return [
        *texts,
        "The causes are below. Correct them, check the study, and tune again: failed trials are tried again when code, "
        f"data or packages have changed. The commands are `{shlex.join(['nightune', 'check', study_file])}` and "
        f"`{tune_command(night, study_file)}`.",
    ]


def _what_won(night: Night, winner: TrialResult) -> str:
    m, confirmed, claim = night.measure, night.confirmed, night.confirmation.claim if night.confirmation else None
    over = "one seed" if confirmed is None else counted(len(confirmed.finalist.scores), "fresh seed")
    tried = recipe(night, winner, RECIPE_LENGTH)
    text = f"Trial {winner.trial.number}{f' ({tried})' if tried else ''} scores {m.text(night.score)} {m.full_name} "
    text += f"on held-out rows over {over}" if confirmed is not None else f"on held-out rows with {over}"
    if len(night.full) > 2:
        text += f", {_compared(night, night.score, night.median)} the median of {_trials(night)}"
        if claim is not None and confirmed is not None and _is_confirmed_winner(night):
            text += _shown(night, claim.low, claim.is_shown)
    champion = night.champion
    if champion is not None and champion.score is not None:
        text += f", and {_compared(night, night.score, champion.score)} champion version {champion.version} had"
    return f"{text}.{_later_seeds(night)}"


def _later_seeds(night: Night) -> str:
    """Say what the seeds reached that had no part in the choice: those of the gate."""
    confirmed = night.confirmed
    chosen_by = 0 if confirmed is None else len(confirmed.finalist.scores)
    later = [each.result.objective for each in night.replicates if _is_later(night, each.result, chosen_by)]
    if confirmed is None or not later:
        return ""
    mean = night.measure.text(sum(later) / len(later))
    return (
        f" {counted(len(later), 'more seed')} of the gate, which had no part in the choice, reached {mean} on average."
    )


def _is_later(night: Night, result: TrialResult, chosen_by: int) -> bool:
    is_winner = night.winner is not None and result.trial.number == night.winner.trial.number
    return is_winner and result.trial.replicate > chosen_by and math.isfinite(result.objective)


def _trials(night: Night) -> str:
    """Return the number of trials that are compared: with rungs, those that used their budget."""
    dropped = any(each.status is Status.NOT_PROMOTED for each in night.ranked)
    return f"the {len(night.full)} trials with the full budget" if dropped else f"{len(night.full)} trials"


def _shown(night: Night, low: float, is_shown: bool) -> str:
    confidence = f"{100 * night.confirmation.confidence:g}{SPACE}%" if night.confirmation else ""
    return f" (at least {night.measure.points(low)} at {confidence})" if is_shown else " (which luck alone could give)"


def _is_confirmed_winner(night: Night) -> bool:
    held = night.confirmation
    return held is not None and night.confirmed is not None and held.is_winner(night.confirmed)


def _compared(night: Night, score: float, other: float) -> str:
    better = night.improvement(score, other)
    points = night.measure.points(abs(better))
    if points == night.measure.points(0.0):
        return "the same as"
    return f"{points} {'better' if better > 0 else 'worse'} than"


def _how_sure(night: Night, study_file: str) -> str:
    confirmed, held = night.confirmed, night.confirmation
    if confirmed is None or held is None:
        return f"{_row_doubt(night)}One seed may be luck: {_next_command(night, study_file)}"
    if held.note:
        return f"Its uncertainty is unknown: {held.note}."
    rivals = [each for each in held.finalists if each != confirmed and is_rival(each, held)]
    text = f"Its interval is {interval(night, confirmed)} at {100 * held.confidence:g}{SPACE}%"
    if len(held.finalists) > 1:
        text += f"; it is the best of {len(held.finalists)} finalists with probability {confirmed.best_probability:.2f}"
    if rivals:
        verb = "does" if len(rivals) == 1 else "do"
        text += f", and {_numbered(rivals)} {verb} not differ significantly from it"
    likelier = [each for each in rivals if each.best_probability > confirmed.best_probability]
    if likelier and held.is_winner(confirmed):
        adjective = "smallest" if held.cost == "parameters" else "quickest"
        text += f"; it was taken as the {adjective} of those within one standard error of the best"
    return f"{text}."


def _next_command(night: Night, study_file: str) -> str:
    if not night.sweep.is_complete:
        return f"`{tune_command(night, study_file)}` completes the sweep."
    return f"`{promote_command(night, study_file)}` trains the best ones with fresh seeds and judges the winner."


def _row_doubt(night: Night) -> str:
    """Say what the number of held-out rows, or the folds, leave uncertain."""
    by_folds = standard_errors(night.results, None, fold_errors(night.trials), None)
    if night.winner is not None and night.winner.trial.number in by_folds.by_trial:
        reach = fold_reach(by_folds.by_trial[night.winner.trial.number], _folds(night), 0.95)
        return f"Over its folds the score is uncertain by ±{night.measure.points(reach)} or more. "
    data = night.origin.content.get("data", {})
    metric = night.known_metric(night.sweep.metric)
    rows = rows_of_share(metric, night.row_counts, data, night.findings, night.task)
    if not rows and night.row_error is not None:
        by_rows = night.measure.points(normal_quantile(0.975) * night.row_error)
        return f"By its held-out rows alone it is uncertain by ±{by_rows} at 95{SPACE}%. "
    if not rows:
        return ""
    low, high = (night.measure.text(end) for end in share_interval(night.score, rows, 0.95))
    return f"By its {rows} held-out rows alone it lies between {low} and {high} at 95{SPACE}%. "


def _folds(night: Night) -> int:
    """Return the number of folds, two where it is not recorded."""
    data = night.origin.content.get("data", {})
    split = data.get("split", {}) if isinstance(data, dict) else {}
    return int(split.get("folds") or 2) if isinstance(split, dict) else 2


def _judged(night: Night, study_file: str) -> list[str]:
    verdict = night.verdict
    if verdict is None:
        command = promote_command(night, study_file)
        return [f"It is not judged yet: `{command}` judges it."] if night.confirmed is not None else []
    parts = [f"{_measured(night, verdict)}{_outcome(verdict)}."]
    if verdict.is_promoted and night.serving not in (None, night.version):
        parts.append(f"Since then version {night.serving} has become champion.")
    elif verdict.is_promoted and not night.is_serving_known:
        parts.append("The registry does not answer, so that today's champion is not known.")
    elif verdict.is_promoted and night.serving is None:
        parts.append("No version of the study is champion now.")
    return [" ".join(parts)]


def _measured(night: Night, verdict: Verdict) -> str:
    values, gain = verdict.values, verdict.gain or verdict.baseline
    if values is None or gain is None:
        return f"The gate says: {verdict.reason}"
    m, rows = night.measure, f"On {rows_text(gain)}"
    if night.sealed is None:
        return f"{rows}: {values_text(values)}; {verdict.reason}"
    if verdict.gain is None or values.champion is None:
        other = f"a guess that ignores the inputs has {m.text(values.baseline)}"
    else:
        other = f"the champion has {m.text(values.champion)}"
    return (
        f"{rows} it has {m.text(values.challenger)} {m.name}{night.sealed_unit}, {other}: {_gain_between(night, gain)}"
    )


def _gain_between(night: Night, gain: Gain) -> str:
    low, high = (night.measure.points(end) for end in (gain.low, gain.high))
    return f"a gain between {low.removesuffix(f'{SPACE}points')} and {high} at {100 * gain.confidence:g}{SPACE}%"


def _outcome(verdict: Verdict) -> str:
    broken = "; ".join(guard.said for guard in verdict.guards if not guard.passed)
    if verdict.decision is Decision.FORCED:
        return f"; it was made champion by hand because: {verdict.because}" if verdict.because else "; made by hand"
    if verdict.decision is Decision.PROMOTED:
        return ", so it became the champion"
    stays = "it is not promoted" if verdict.against is None else "the champion stays"
    return f", so {stays}{f' ({broken})' if broken else ''}"


def _numbered(held: Sequence[ConfirmedFinalist]) -> str:
    numbers = [str(each.finalist.trial) for each in held]
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    return f"trials {', '.join(numbers[:-1])} and {numbers[-1]}"
