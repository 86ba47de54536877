"""Weights of classes in a study: words, tables of classes, and lists of both."""

from pathlib import Path
from typing import Any

import pytest

from nightune.models.techniques.keys import Key
from nightune.tuning.errors import StudyError
from nightune.tuning.search.domains import Choice
from nightune.tuning.study.study import Study, load_study
from nightune.tuning.study.vocabulary import Vocabulary
from tests.tuning.conftest import KEYS, architecture_keys, study_text

NAME = "training.class_weight"
KEY = Key("class_weight", "none", low=0.0, options=("none", "balanced", "sqrt"), is_silent=True)
VOCABULARY = Vocabulary({**KEYS, NAME: KEY}, architecture_keys)


def loaded(folder: Path, text: str) -> Study:
    (folder / "s.toml").write_text(text, encoding="utf-8")
    return load_study(folder / "s.toml", VOCABULARY)


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ('"balanced"', ["balanced"]),
        ('["none", "sqrt"]', ["none", "sqrt"]),
        ("{ yes = 5, no = 1 }", [{"no": 1.0, "yes": 5.0}]),
        ("{ low = 1, high = 5 }", [{"high": 5.0, "low": 1.0}]),  # classes, not a range
        ("{ value = 2, when = 0.5 }", [{"value": 2.0, "when": 0.5}]),
        ('["none", { no = 1, yes = 5 }]', ["none", {"no": 1.0, "yes": 5.0}]),
        ("[{ no = 1, yes = 5 }, { no = 1, yes = 9 }]", [{"no": 1.0, "yes": 5.0}, {"no": 1.0, "yes": 9.0}]),
        ('{ "class b" = 2 }', [{"class b": 2.0}]),
        ("{ no = 0 }", [{"no": 0.0}]),  # the others weigh 1; the data says whether there are others
        ('{ kind = "balanced", ripe = { no = 1, yes = 5 } }', [{"kind": "balanced", "ripe": {"no": 1.0, "yes": 5.0}}]),
        ('["sqrt", { kind = { low = 1, high = 5 } }]', ["sqrt", {"kind": {"high": 5.0, "low": 1.0}}]),
        ('{ options = ["none", { no = 2 }] }', ["none", {"no": 2.0}]),
        ('{ value = { no = 2 }, when = { optimizer = "sgd" } }', [{"no": 2.0}]),
    ],
)
def test_words_and_tables_are_options(tmp_path: Path, written: str, options: list[Any]) -> None:
    space = 'optimizer = ["sgd", "adam"]'
    texts = [study_text(f"{space}\n{NAME} = {written}"), f"{study_text(space)}[training]\nclass_weight = {written}\n"]
    digests = set()
    for text in texts:
        study = loaded(tmp_path, text)
        assert study.space.by_name[NAME].domain == Choice(tuple(options))
        digests.add(study.digest)
    assert len(digests) == 1


def test_cases_on_another_parameter_are_read(tmp_path: Path) -> None:
    cases = '[{ value = { a = 2 }, when = { optimizer = "sgd" } }, { value = "sqrt", when = { optimizer = "adam" } }]'
    study = loaded(tmp_path, study_text(f'optimizer = ["sgd", "adam"]\n{NAME} = {cases}'))
    domain = study.space.by_name[NAME].domain
    assert domain.under({"optimizer": "sgd"}) == Choice(({"a": 2.0},))
    assert domain.under({"optimizer": "adam"}) == Choice(("sqrt",))


def test_a_section_of_classes_is_a_table(tmp_path: Path) -> None:
    study = loaded(tmp_path, f"{study_text()}[training.class_weight]\n0 = 1\n1 = 2.5\n")
    assert study.space.by_name[NAME].domain == Choice(({"0": 1.0, "1": 2.5},))
    assert str(study.space.by_name[NAME].domain) == "{ 0 = 1, 1 = 2.5 }"


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ('"ballanced"', "balanced"),
        ('{ no = "1" }', "'no'"),
        ("{ no = -1 }", "out of range"),
        ("{}", "empty"),
        ("{ no = inf }", "numbers"),
        ("{ no = 1, yes = { low = 1, high = 2 } }", "list tables"),
        ("{ no = { low = [1, 2] } }", "'low'"),
        ('{ kind = "ballanced" }', "head 'kind'"),
        ('{ kind = "sqrt", yes = 2 }', "head 'yes'"),
        ("{ kind = {} }", "empty"),
        ("[{ no = 1 }, { no = 1.0 }]", "twice"),
        ("3", "table of classes"),
    ],
)
def test_other_values_are_refused_with_the_allowed_ones(tmp_path: Path, written: str, word: str) -> None:
    with pytest.raises(StudyError, match=rf"training\.class_weight: .*{word}"):
        loaded(tmp_path, study_text(f"{NAME} = {written}"))
