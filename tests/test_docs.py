"""The reference in docs/ matches the code."""

from pathlib import Path

from nightune.models.networks.architectures import ARCHITECTURES, architecture_keys
from nightune.models.recipe.params import KEYS
from nightune.models.recipe.rules import RULES
from nightune.models.techniques.keys import Key
from tests.rows import missing_rows

REFERENCE = Path("docs/study-files.md")


def row(name: str, key: Key) -> str:
    values = ", ".join(f"`{option}`" for option in key.options) or key.allowed.removeprefix("allowed: ")
    default = f"{key.default:g}" if isinstance(key.default, float) else str(key.default)
    default = default.lower() if isinstance(key.default, bool) else default
    when = "; ".join(f"`{name}` is {' or '.join(map(str, values))}" for name, values in key.when.items())
    return f"| `{name}` | {key.meaning} | {values} | {default} | {when or 'always'} |"


def between(text: str, start: str, end: str) -> list[str]:
    return text.split(start)[1].split(end, maxsplit=1)[0].strip().splitlines()


def test_the_reference_lists_every_key_with_its_default_and_range() -> None:
    rows = between(REFERENCE.read_text(), "<!-- keys -->", "<!-- end of keys -->")[2:]
    expected = {name: row(name, key) for name, key in KEYS.items()}
    found = {line.split("`")[1]: line for line in rows}
    assert missing_rows(expected, found, "the table of keys in docs/study-files.md") == []
    wrong = [f"write in docs/study-files.md: {line}" for name, line in expected.items() if found[name] != line]
    assert wrong == []
    assert rows == list(expected.values())


def test_the_reference_lists_every_parameter_of_the_built_in_models() -> None:
    rows = between(REFERENCE.read_text(), "<!-- models -->", "<!-- end of models -->")[2:]
    expected = [
        f"| `{architecture}` | `{name}` | {key.default} |"
        for architecture in ARCHITECTURES
        for name, key in architecture_keys(architecture, Path()).items()
    ]
    assert rows == expected


def test_the_overview_of_rules_lists_every_rule() -> None:
    text = Path("docs/rules.md").read_text(encoding="utf-8")
    assert not [rule for rule in RULES if f"| [{rule}](#{rule.lower()}) |" not in text]
