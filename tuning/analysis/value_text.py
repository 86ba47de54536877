"""The value of a param as a sentence or a table has it."""

from nightune.tuning.trial import Value


def value_text(value: Value, longest: int = 0) -> str:
    """Return a value as a study writes it, numbers with three digits; 0: not shortened."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, float):
        text = f"{value:.3g}"
    else:
        text = value if isinstance(value, str) else _plain(value)
    return text if not longest or len(text) <= longest else f"{text[: longest - 1]}…"


def _plain(value: Value) -> str:
    if isinstance(value, list):
        return f"[{', '.join(value_text(each) for each in value)}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {value_text(each)}" for key, each in value.items()) + " }"
    return "–" if value is None else str(value)
