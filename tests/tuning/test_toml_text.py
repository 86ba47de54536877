"""A file that is not a study, or is malicious, raises a StudyError like any other mistake."""

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nightune.tuning.errors import StudyError
from nightune.tuning.study.study import load_study
from tests.tuning.conftest import VOCABULARY, Refuse, has_parts, study_text, unhurried


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        study_text().replace('question = "Which?"', ""): "question: missing (needed: a text)",
        "seed = -1\n" + study_text(): "seed: -1 is not a whole number from 0 to 4294967295",
        "seed = true\n" + study_text(): "seed: true is not a whole number from 0 to 4294967295",
        'name = "../escape"\n' + study_text(): "name: '../escape' is not a name (allowed: … letters, digits, - and _",
        "name = 3\n" + study_text(): "name: 3 is not a text",
        "data = 3\nquestion = 'Which?'\nsearch = {trials = 1, epochs = 1}": "data: 3 is not a table (write [data])",
        study_text().replace("[space]", "[[space]]"): "space: [{}] is not a table (write [space])",
        "seed = 1\nquestion": "line 2: not TOML: expected '=' after a key in a key/value pair: 'question'",
        "seed = 1\noptimizer = adam\n": 'line 2: not TOML: not a value (a text needs quotes, as in "adam"): '
        "'optimizer = adam'",
        "seed = 1\nseed = 2\n": "line 2: not TOML: a key or table is given twice: 'seed = 2'",
        "a = [1, 2": "line 1: not TOML: unclosed array: 'a = [1, 2'",
        f"seed = {'9' * 5000}": "file: … value … cannot be read … 4300 digits",
    }.items(),
)
def test_a_broken_file_is_named_with_its_line(refuse: Refuse, text: str, expected: str) -> None:
    (line,) = refuse(text)
    assert has_parts(line, expected), line


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "{ a = " * 50_000,
        "a = " + "[" * 30 + "]" * 30,
        ".".join("a" * 100_000) + " = 1",
        "[" + " . ".join('"a"' for _ in range(20_000)) + "]",
        ".".join("a" * 25) + " = 1",
    ],
    ids=["arrays", "tables", "thirty arrays", "a long key", "a long header", "a key of 25"],
)
def test_deep_nesting_is_refused(refuse: Refuse, text: str) -> None:
    assert refuse(text) == ["file: is nested too deeply (allowed: 20 levels)"]


def test_a_file_of_very_many_values_is_refused(refuse: Refuse) -> None:
    (line,) = refuse(study_text(f"model.units = {list(range(5001))}"))
    assert has_parts(line, "file: … too many values (allowed: up to 5000)"), line


def test_a_file_that_is_not_utf8_or_too_long_or_absent_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'seed = 1\nquestion = "caf\xe9"\n')
    (tmp_path / "long.toml").write_bytes(b"# " + b"x" * (1 << 20))
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    expected = {
        "latin.toml": "line 2: is not UTF-8 text; save the file as UTF-8",
        "long.toml": "file: … too large (allowed: up to 1 MiB)",
        "lang.toml": "file: does not exist; did you mean 'long.toml'? (studies there: latin.toml, long.toml)",
        "rows.csv": f"file: … `nightune init {tmp_path / 'rows.csv'}`, and give that (.toml)",
        ".": "file: is a folder … (.toml)",
        "no/a.toml": f"file: does not exist: there is no folder {str(tmp_path / 'no')!r}",
    }
    for name, message in expected.items():
        with pytest.raises(StudyError) as caught:
            load_study(tmp_path / name, VOCABULARY)
        assert has_parts(str(caught.value), f"{tmp_path / name}: {message}"), name


def test_a_file_name_that_is_not_a_study_name_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "my study.toml"
    path.write_text(study_text())
    with pytest.raises(StudyError, match=r"name: 'my study' is not a name .* rename the file"):
        load_study(path, VOCABULARY)


def test_a_message_is_one_short_line_for_any_file(tmp_path: Path) -> None:
    path = tmp_path / "flowers.toml"
    path.write_text(study_text("\n".join(f'"na\\nme\\u001b{place}{"x" * 2000}" = 1' for place in range(50))))
    with pytest.raises(StudyError) as caught:
        load_study(path, VOCABULARY)
    lines = str(caught.value).split("\n")
    assert len(lines) == 41
    assert lines[-1] == f"{path}: and 10 more problems"
    assert all(len(line) < 2500 and line.isprintable() for line in lines)


VALUES = st.recursive(
    st.sampled_from(["1", "-1", "0.5", "true", "nan", "''", "'sgd'", "2026-01-01", str(2**70), "[]", "{}"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(
            st.sampled_from(["low", "high", "steps", "scale", "integer", "value", "options", "when", "optimizer"]),
            inner,
            max_size=4,
        ).map(lambda items: f"{{ {', '.join(f'{key} = {value}' for key, value in items.items())} }}"),
    ),
    max_leaves=6,
)
PLACES = [
    *(
        "question",
        "seed",
        "name",
        "data",
        "data.source",
        "data.split",
        "data.split.test",
        "data.drop",
        "model",
        "space",
    ),
    *("model.architecture", "model.units", "space.optimizer", "space.learning_rate.peak", "space.batch_size.size"),
    *("space.nesterov", "space.when", "stopping", "stopping.patience", "search", "search.method", "search.trials"),
    *("search.epochs", "objective", "objective.metric", "objective.direction", "space.model.dropout"),
]


@unhurried
@given(st.dictionaries(st.sampled_from(PLACES), VALUES, max_size=12))
@example({"question": "'Which?'", "data.source": "'iris'", "search": "{ trials = 1, epochs = 1 }", "space.when": "1"})
def test_any_file_is_a_study_or_a_study_error(values: dict[str, str]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "flowers.toml"
        path.write_text("\n".join(f"{key} = {value}" for key, value in values.items()), encoding="utf-8")
        with contextlib.suppress(StudyError):
            load_study(path, VOCABULARY)
