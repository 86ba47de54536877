"""Tables without lines, and the text of a cell."""

from rich.table import Table

from nightune.tuning.search.domains import table_text


def plain_table(title: str | None = None) -> Table:
    """Return a table without lines between its columns, two blanks apart: it fits into 80 columns."""
    return Table(title=title, title_justify="left", header_style="bold", box=None, padding=(0, 2, 0, 0), pad_edge=False)


def cell_text(value: object) -> str:
    """Format a value for a table: numbers with four digits, true and false as in a study, None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return table_text(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
