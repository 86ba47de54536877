"""Arrays that are split by the group or the time that their source gives."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.errors import InputError

ROWS = 60
X = np.arange(ROWS, dtype=float)[:, None] + [0.5, 0.25]  # the first value of a row names it
Y = np.random.default_rng(0).normal(size=ROWS)
GROUP = np.arange(ROWS) // 5
TIME = np.random.default_rng(1).permutation(ROWS)

LOADER = """
import sys
sys.path.insert(0, {folder!r})
def data():
    import numpy as np, pandas as pd
    from test_split_keys import GROUP, TIME, X, Y, ROWS
    return {result}
"""


def load(folder: Path, result: str, split: Split | None = None) -> Dataset:
    """Load what a function returns that the text describes."""
    (folder / "load.py").write_text(LOADER.format(folder=str(Path(__file__).parent), result=result))
    return load_dataset(DataSettings("load.py:data", split=split or Split()), folder)


def rows_of(dataset: Dataset) -> dict[str, np.ndarray]:
    test = dataset.test.open(Purpose.GATE, record=lambda: None)
    splits = {"train": dataset.train, "validation": dataset.validation, "test": test}
    return {name: (each.inputs[:, 0] - 0.5).astype(int) for name, each in splits.items()}


def assert_in_order(values: np.ndarray, rows: dict[str, np.ndarray]) -> None:
    assert values[rows["train"]].max() < values[rows["validation"]].min()
    assert values[rows["validation"]].max() < values[rows["test"]].min()


def test_a_dictionary_of_x_and_y_is_what_a_pair_is(tmp_path: Path) -> None:
    versions = {load(tmp_path, text).version for text in ("(X, Y)", "{'x': X, 'y': Y}", "{'inputs': X, 'targets': Y}")}
    assert len(versions) == 1


@pytest.mark.parametrize("split", [Split(), Split("group"), Split("group", column="group")])
def test_groups_of_a_dictionary_stay_together(tmp_path: Path, split: Split) -> None:
    dataset = load(tmp_path, "{'x': X, 'y': Y, 'group': GROUP}", split)
    homes = [set(GROUP[rows].tolist()) for rows in rows_of(dataset).values()]
    assert sum(map(len, homes)) == 12
    assert dataset.test.open(Purpose.GATE, record=lambda: None).groups is not None
    assert (split.kind is None) == any("'group'" in finding for finding in dataset.findings)


@pytest.mark.parametrize(
    "time",
    [
        "TIME",
        "pd.Timestamp('2026-01-01').to_datetime64() + TIME * np.timedelta64(1, 'D')",
        "pd.Series([f'2026-{1 + t // 28:02d}-{1 + t % 28:02d}' for t in TIME])",
    ],
)
def test_times_of_a_dictionary_order_the_rows(tmp_path: Path, time: str) -> None:
    dataset = load(tmp_path, f"{{'x': X, 'y': Y, 'time': {time}}}", Split("time"))
    assert_in_order(TIME, rows_of(dataset))


@pytest.mark.parametrize("gap", [4, "4 days"])
def test_dates_have_a_gap_in_rows_or_days(tmp_path: Path, gap: int | str) -> None:
    days = "pd.Timestamp('2026-01-01').to_datetime64() + TIME * np.timedelta64(1, 'D')"
    rows = rows_of(load(tmp_path, f"{{'x': X, 'y': Y, 'time': {days}}}", Split("time", gap=gap)))
    between = TIME[rows["test"]].min() - TIME[rows["validation"]].max()
    assert between == (5 if gap == 4 else 4)


def test_arrays_of_a_file_have_groups_and_times(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y, time=TIME, other=Y)
    dataset = load_dataset(DataSettings("a.npz"), tmp_path)
    assert_in_order(TIME, rows_of(dataset))
    assert any("'other'" in finding for finding in dataset.findings)


def test_a_time_split_without_times_takes_rows_in_order(tmp_path: Path) -> None:
    dataset = load(tmp_path, "(X, Y)", Split("time"))
    assert_in_order(np.arange(ROWS), rows_of(dataset))
    assert any("order" in finding for finding in dataset.findings)


@pytest.mark.parametrize(
    ("split", "unread"),
    [(Split("time"), "group"), (Split("group"), "time"), (None, "group")],
)
def test_a_key_that_no_split_reads_is_said(tmp_path: Path, split: Split | None, unread: str) -> None:
    parts = "np.repeat(['train', 'validation', 'test'], 20)"
    keys = f"'group': GROUP, 'part': {parts}" if split is None else "'group': GROUP, 'time': np.arange(len(Y))"
    dataset = load(tmp_path, f"{{'x': X, 'y': Y, {keys}}}", split)
    (finding,) = [each for each in dataset.findings if "not read" in each]
    assert f"'{unread}'" in finding


def test_a_random_split_says_that_groups_are_not_read(tmp_path: Path) -> None:
    dataset = load(tmp_path, "{'x': X, 'y': Y, 'group': GROUP}", Split("random"))
    assert any("'group'" in finding and "not read" in finding for finding in dataset.findings)
    assert dataset.version == load(tmp_path, "(X, Y)").version


@pytest.mark.parametrize(
    ("result", "split", "key", "words"),
    [
        ("{'x': X, 'y': Y, 'weight': Y}", Split(), "data.source", ["weights", "from 0"]),
        ("{'x': X, 'y': Y, 'grup': Y}", Split(), "data.source", ["'grup'", "'group'"]),
        ("{'x': X, 'labels': Y}", Split(), "data.source", ["'y'", "'targets'", "labels"]),
        ("{'x': X, 'y': Y, 'group': GROUP[:9]}", Split(), "data.source", ["(9,)", "60"]),
        ("{'x': X, 'y': Y, 'group': X}", Split(), "data.source", ["(60, 2)", "60"]),
        ("{'x': X, 'y': Y, 'group': GROUP, 'time': TIME}", Split(), "data.split.kind", ['"group"', '"time"']),
        ("{'x': X, 'y': Y, 'group': GROUP}", Split("group", column="g"), "data.split.column", ["'g'", "group"]),
        ("{'x': X, 'y': Y, 'time': TIME}", Split("group"), "data.split.column", ["'group'", "one value per row"]),
        ("{'x': X, 'y': Y, 'time': ['31/01/2026'] * ROWS}", Split(), "data.source", ["31/01/2026", "2026-01-31"]),
        ("{'x': X, 'y': Y, 'time': np.where(TIME > 5, TIME, np.nan)}", Split(), "data.split.column", ["6 rows"]),
        (
            "{'x': pd.DataFrame(X), 'y': Y, 'group': pd.Series(GROUP)[::-1]}",
            Split(),
            "data.source",
            ["group", "another order"],
        ),
        ("pd.DataFrame(X)", Split("time"), "data.target", ["column"]),
        ("{'x': X, 'y': Y, 'time': TIME}", Split("time", gap="4 days"), "data.split.gap", ["numbers", "rows"]),
    ],
)
def test_unclear_dictionaries_are_refused(
    tmp_path: Path, result: str, split: Split, key: str, words: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, result, split)
    assert caught.value.key == key
    assert not [word for word in words if word not in caught.value.message], caught.value.message


def test_a_table_needs_the_name_of_its_column(tmp_path: Path) -> None:
    table = pd.DataFrame(X, columns=["a", "b"]).assign(y=Y)
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match=r"data\.split\.column: .*column"):
        load_dataset(DataSettings("t.csv", target="y", split=Split("time")), tmp_path)
