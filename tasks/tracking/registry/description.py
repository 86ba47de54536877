"""The description of a registered version on MLflow's page: verdict, score on the test split, how to load it."""

from nightune.tuning.analysis.metric_values import values_text
from nightune.tuning.analysis.promotion_gate import Verdict, gain_text

LONGEST = 1500  # characters of a reason; 5000 of a description are kept
LONGEST_SCHEDULE = 1000


def description_of_model(study: str, question: str) -> str:
    """Return the description of a study's registered model as markdown."""
    lines = [
        question,
        "",
        f"Models of the study {study}, made by `nightune promote`. The description of each version says why it was "
        "promoted or refused.",
        "",
        "```python",
        "import mlflow",
        "",
        f'model = mlflow.pyfunc.load_model("models:/{study}@champion")',
        "model.predict(raw_rows)",
        "```",
    ]
    return "\n".join(lines)


def description_of(verdict: Verdict, version: int, schedule: str = "") -> str:
    """Return the description as markdown; `schedule` says which values of the trial changed by epoch."""
    candidate, values = verdict.candidate, verdict.values
    metric = "" if values is None else values.metric
    unit = f" {values.unit}" if values is not None and values.unit else ""
    pairs = (("champion", verdict.gain), ("baseline", verdict.baseline))
    gains = [f"- against the {name}: {gain_text(gain, metric)}{unit}" for name, gain in pairs if gain is not None]
    because = f" Forced because: {verdict.because[:LONGEST]}." if verdict.because else ""
    lines = [
        f"**{str(verdict.decision).capitalize()}**: {verdict.reason[:LONGEST]}.{because}",
        "",
        f"On the test split: {values_text(values)}{unit}.",
        *gains,
        "",
        f"Trial {candidate.trial} of {candidate.sweep}; {len(candidate.siblings) + 1} models of it were judged.",
        *([f"{schedule[:LONGEST_SCHEDULE]}."] if schedule else []),
        "",
        "```python",
        "import mlflow",
        "",
        f'model = mlflow.pyfunc.load_model("models:/{candidate.model}/{version}")',
        "model.predict(raw_rows)",
        "```",
    ]
    return "\n".join(lines)
