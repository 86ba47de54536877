"""A range is inserted into a study's text, and nothing else changes."""

import tomllib

import pytest

from nightune.tuning.study.edit import changed_line, with_parameter, with_value

NEW = {"low": 0.001, "high": 0.1, "scale": "log"}
PLACES = {
    "dotted": "[space]\noptimizer = 'adam' # kept\nlearning_rate.peak = 0.1\n[search]\ntrials = 1\n",
    "own table": "[space]\na = 1\n[space.learning_rate]\nschedule = ['fixed']\npeak = { low = 1e-4, high = 1e-2 }\n",
    "options over several lines": "[space]\nlearning_rate.peak = [\n  0.1, # high\n  0.2,\n]\nb = 1\n",
    "quoted": "[ space ]\n\"learning_rate\".'peak' = 0.1\n",
    "absent": "x = 1\n[space]\na = 1\n",
    "absent from its own table": "[space]\na = 1\n[space.learning_rate]\nschedule = 'step'\n",
    "no space": "x = 1\n",
    "inline table": "[space]\nlearning_rate = { peak = 0.1, schedule = 'step' }\n",
    "table of its own": "[space.learning_rate.peak]\nlow = 1e-4\nhigh = 1e-2\n[search]\ntrials = 1\n",
    "after a text that looks like it": (
        'note = """\n[space]\nlearning_rate.peak = 1\n"""\n[space]\nlearning_rate.peak = 0.1\n'
    ),
    "absent, with other tables": "x = 1\n[data]\nsource = 'iris' # kept\n[search]\ntrials = 1\n",
    "absent beside tables within": "[space.model]\nunits = [[4]]\n[search]\ntrials = 1\n",
    "from the top": "space.learning_rate.peak = 0.1\nx = 1\n",
}


@pytest.mark.parametrize("place", PLACES)
def test_the_range_replaces_the_parameter_in_place(place: str) -> None:
    text = PLACES[place]
    edited = with_parameter(text, "learning_rate.peak", NEW)
    assert edited is not None
    tables, before = tomllib.loads(edited), tomllib.loads(text)
    assert tables["space"]["learning_rate"].pop("peak") == NEW
    before.setdefault("space", {}).setdefault("learning_rate", {}).pop("peak", None)
    assert tables == before
    assert ("# kept" in edited) == ("# kept" in text)


def test_cases_are_written_on_a_line_each() -> None:
    cases = [{**NEW, "when": {"optimizer": "sgd"}}, {"value": 0.1, "when": {"optimizer": ["adam", "lion"]}}]
    text = "[space]\noptimizer = 1 # kept\nlearning_rate.peak = [0.1, 0.2] # old\nb = 2\n"
    edited = with_parameter(text, "learning_rate.peak", cases)
    assert edited is not None
    assert tomllib.loads(edited)["space"] == {"optimizer": 1, "learning_rate": {"peak": cases}, "b": 2}
    assert '\n  { value = 0.1, when = { optimizer = ["adam", "lion"] } },\n]' in edited


def test_comments_stay_with_the_table_that_follows_them() -> None:
    text = "[space]\na = 1 # one\n\n# about the search\n[search]\ntrials = 1\n"
    line = 'learning_rate.peak = { low = 0.001, high = 0.1, scale = "log" }\n'
    assert with_parameter(text, "learning_rate.peak", NEW) == text.replace("\n\n#", f"\n{line}\n#")


def test_a_value_in_the_place_of_a_table_is_left_alone() -> None:
    assert with_parameter("[space]\nlearning_rate = 3\n", "learning_rate.peak", NEW) is None


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("confirmation", "replicates"), 8),
        (("search", "trials"), 7),
        (("name",), "flowers"),
        (("model", "units"), [[64, 32]]),
        (("space", "optimizer"), ["adam", "sgd"]),
    ],
)
def test_a_value_of_any_section_is_put_where_it_belongs(place: str, path: tuple[str, ...], value: object) -> None:
    text = PLACES[place]
    edited = with_value(text, path, value)
    assert edited is not None
    expected = tomllib.loads(text)
    holder = expected
    for part in path[:-1]:
        holder = holder.setdefault(part, {})
    holder[path[-1]] = value
    assert tomllib.loads(edited) == expected
    assert ("# kept" in edited) == ("# kept" in text)


@pytest.mark.parametrize("place", [name for name, text in PLACES.items() if "peak" in text])
def test_a_key_is_removed_and_nothing_else(place: str) -> None:
    text, path = PLACES[place], ("space", "learning_rate", "peak")
    expected = tomllib.loads(text)
    if "peak" not in expected.get("space", {}).get("learning_rate", {}):
        assert with_value(text, path, None) is None
        return
    edited = with_value(text, path, None)
    assert edited is not None
    del expected["space"]["learning_rate"]["peak"]
    found = tomllib.loads(edited)
    assert found.get("space", {}).get("learning_rate", {}) == expected["space"]["learning_rate"]
    assert {name: each for name, each in found.items() if name != "space"} == {
        name: each for name, each in expected.items() if name != "space"
    }
    assert with_value(edited, path, None) is None


@pytest.mark.parametrize(
    ("text", "section", "name"),
    [
        ("[space]\nlearning_rate.peak = 0.1\n", "[space]", "learning_rate.peak"),
        ("[space]\n[ space . 'learning_rate' ]  # here\npeak = 0.1\n", "[space.learning_rate]", "peak"),
        (
            'x = """\n[space.learning_rate\n"""\n[space]\nlearning_rate = { peak = 0.1 }\n',
            "[space]",
            "learning_rate.peak",
        ),
    ],
)
def test_a_changed_line_stands_under_the_heading_of_the_text(text: str, section: str, name: str) -> None:
    line = changed_line(text, ("space", "learning_rate", "peak"), 0.2)
    assert (line.section, line.before, line.after) == (section, f"{name} = 0.1", f"{name} = 0.2")
    removed = changed_line(text, ("space", "learning_rate", "peak"), None)
    assert removed.after == ""
    assert changed_line(text, ("confirmation", "replicates"), 8).section == "[confirmation]"
    assert changed_line(text, ("name",), "a").section == ""
