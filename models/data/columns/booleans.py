"""Columns of true and false written as texts, with placeholders among them."""

from nightune.models.data.columns.reading import Reading, Texts
from nightune.models.serving.columns import TRUTHS


def recognize_booleans(texts: Texts) -> Reading | None:
    """Return how texts are read as true and false, if all are but some placeholders."""
    values = texts.values
    if (
        not values
        or texts.number_rows
        or not texts.placeholders
        or any(text.strip().lower() not in TRUTHS for text in values)
    ):
        return None
    remark = f"column {texts.name!r} is read as true and false; {texts.gap_remark({})}"
    return Reading("boolean", "true", (), texts.missing, (remark,))
