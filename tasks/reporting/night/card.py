"""The report of a night as a short text in Markdown, for Prefect's page of the night and for the sweep's run in MLflow.

One winner is named: the one of the page. Texts of users are escaped.
"""

import re
from collections.abc import Sequence
from urllib.parse import quote

from nightune.tasks.reporting.night.answer import answer, headline
from nightune.tasks.reporting.night.data_part import since_part
from nightune.tasks.reporting.night.ledger_part import has_whole_ledger, money_text, who_worked
from nightune.tasks.reporting.night.measure import duration
from nightune.tasks.reporting.night.next_steps import Advice
from nightune.tasks.reporting.night.phrases import command_parts
from nightune.tasks.reporting.night.record import Night
from nightune.tasks.tracking.store import names

SPECIAL = re.compile(r"([\\`*_{}\[\]#|~])")


def card(night: Night, study_file: str, advice: Sequence[Advice]) -> str:
    """Return the answer, the cost, what changed, what to do next, and where the report is."""
    return "\n\n".join([f"## {escaped(headline(night))}", body(night, study_file, advice)])


def body(night: Night, study_file: str, advice: Sequence[Advice]) -> str:
    """Return the card without its headline."""
    parts = [*map(_sentence, answer(night, study_file)), _cost(night), _since(night)]
    if advice:
        steps = "\n".join(f"{number}. {escaped(each.step.title)}" for number, each in enumerate(advice, start=1))
        parts.append(f"What to do next:\n\n{steps}")
    when = " (while `nightune ui` runs)" if night.pages.is_local else ""
    page = f"{night.link(night.sweep.run_id)}/artifacts/{quote(names.REPORT_PAGE)}"
    parts.append(f"[The report]({page}) and [all trials]({night.link(night.sweep.run_id)}) in MLflow{when}.")
    return "\n\n".join(filter(None, parts))


def escaped(text: str) -> str:
    """Return text that Markdown and HTML show as it is, in one line."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return SPECIAL.sub(r"\\\1", plain)


def _sentence(text: str) -> str:
    """Escape a sentence, and keep its commands, which stand between backticks, as code."""
    return "".join(f"`{part}`" if n % 2 else _between(part) for n, part in enumerate(command_parts(text)))


def _between(part: str) -> str:
    """Escape a part of a sentence; a blank at its ends parts it from the commands beside it."""
    before, after = " " * part[:1].isspace(), " " * part[-1:].isspace()
    return f"{before}{escaped(part)}{after}" if part.strip() else part


def _cost(night: Night) -> str:
    ledger = night.accounts.ledger
    if ledger is None or not ledger.seconds:
        return ""
    money = "" if ledger.cost is None else f", cost {money_text(ledger.cost)}"
    worked = f"for {100 * ledger.device_share:.0f} % of it {who_worked(ledger)} worked"
    if not has_whole_ledger(night):
        took = f"It took at least {duration(ledger.seconds)}{money}, in the commands that keep a ledger"
        return escaped(f"{took}; {worked}.")
    return escaped(f"It took {duration(ledger.seconds)}{money}; {worked}.")


def _since(night: Night) -> str:
    since, news = since_part(night), night.accounts.news
    if since is None:
        return ""
    drifted = [each.name for each in news.comparison.drifted] if news is not None else []
    drift = f" Drifted: {', '.join(drifted[:3])}{' and others' if len(drifted) > 3 else ''}." if drifted else ""
    before = since["winners"][0]
    score = before["confirmed"] if before["confirmed"] != "–" else before["search"]
    is_known = before["trial"] != "–" and since["has_one_unit"]
    last = f" Its winner, trial {before['trial']}, had {score} ({before['verdict']})." if is_known else ""
    return escaped(f"{since['heading']}.{last}{drift}")
