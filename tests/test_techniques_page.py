"""docs/techniques.md has a section for every option, and docs/article.md a test for every row."""

import re
import sys
from pathlib import Path

import pytest

from nightune.models.recipe.params import KEYS
from nightune.vocabulary import row_of
from tests.rows import missing_rows
from tests.test_acceptance import named_tests

sys.path.insert(0, "docs")  # a script, not a package

import draw_techniques
from line_charts import draw

PAGE, ARTICLE = Path("docs/techniques.md"), Path("docs/article.md")


def sections() -> dict[tuple[str, str], str]:
    """The text of each option's section, by key and option."""
    found = {}
    for chapter in PAGE.read_text().split("\n## ")[1:]:
        heading, *parts = chapter.split("\n### ")
        for part in parts:
            option = re.match(r"`(\w+)`", part)
            if option is None:  # text that applies to all of them
                continue
            key = row_of(draw_techniques.KINDS, heading.splitlines()[0], "KINDS in docs/draw_techniques.py")
            found[key, option[1]] = part
    return found


OPTIONS = [(key, option) for key in draw_techniques.KINDS.values() for option in KEYS[key].options]


@pytest.mark.parametrize(("key", "option"), OPTIONS)
def test_every_option_has_a_section_with_its_keys_and_its_picture(key: str, option: str) -> None:
    heading = next(heading for heading, each in draw_techniques.KINDS.items() if each == key)
    found = {own: part for (each, own), part in sections().items() if each == key}
    section = row_of(found, option, f"docs/techniques.md: a section '### `{option}`' under '## {heading}'")
    assert draw_techniques.keys_line(key, option) in section
    assert f"](pictures/{draw_techniques.picture(key, option)}.svg)" in section
    if option not in ("none", "fixed"):
        assert "*When*: " in section


@pytest.mark.parametrize("page", [PAGE, ARTICLE, Path("docs/study-files.md"), Path("README.md")])
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


def test_pictures_of_plans_match_the_code() -> None:
    charts = dict(draw_techniques.quick_charts())
    drawn = {file.stem for file in draw_techniques.PICTURES.glob("*.svg")}
    assert missing_rows(charts, drawn, "docs/pictures: run python docs/draw_techniques.py") == []
    for name, chart in charts.items():
        assert (draw_techniques.PICTURES / f"{name}.svg").read_text() == draw(chart), f"draw {name} again"


def test_an_optimizers_picture_starts_at_its_loss_and_falls() -> None:
    losses = draw_techniques.descent("sgd", 0.05)
    assert losses[0] == pytest.approx(13.0)
    assert losses[-1] < 1e-3
    assert draw_techniques.descent("sgd", 10.0)[-1] == 1e3  # cut off


def test_every_row_of_the_article_names_existing_tests() -> None:
    rows = [line.split(" | ") for line in ARTICLE.read_text().splitlines() if re.match(r"\| \d", line)]
    assert [int(cells[0].removeprefix("| ")) for cells in rows] == list(range(1, 29))
    for cells in rows:
        named = re.findall(r"`(test_\w+)`", cells[-1])
        assert named
        assert set(named) <= named_tests()
