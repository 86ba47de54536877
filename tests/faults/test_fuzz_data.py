"""Every CSV file is data that can be trained on, or a StudyError that names the problem."""

import csv
import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import read_dataset
from nightune.tuning.errors import StudyError

CASES = int(os.environ.get("NIGHTUNE_FUZZ_CASES", "100"))  # `make fuzz` runs 10,000

fuzzed = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=CASES < 1000)

STUDY = """
question = "What does the table say?"
[data]
source = "table.csv"
target = {target}
split = {{ kind = {kind}, validation = 0.2, test = 0.2 }}
[space]
learning_rate.peak = 0.1
[search]
trials = 1
epochs = 1
"""

cells = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(str),
    st.sampled_from(
        ["", "NA", "nan", "inf", "-1e400", "true", "no", "2024-02-30", "2024-01-01", "a,b", '"', "é", "\ufeff"]
    ),
    st.text(max_size=6),
)
columns = st.one_of(
    st.lists(cells, min_size=12, max_size=12),
    st.lists(st.floats(allow_nan=False, width=32).map(str), min_size=12, max_size=12),
    st.sampled_from([["1"] * 12, ["a", "b"] * 6, ["0", "1", "2"] * 4, [str(i) for i in range(12)], [""] * 12]),
)
names = st.one_of(st.text(max_size=5), st.sampled_from(["x", "y", "x", "", " ", "target", "1", "ä", "a.b"]))


def read(content: bytes, target: str, kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "table.csv").write_bytes(content)
        path = Path(folder) / "study.toml"
        text = target.encode("unicode_escape").decode().replace('"', "").replace("\\x", "x")
        path.write_text(STUDY.format(target=f'"{text or "y"}"'.replace("\\", "\\\\"), kind=f'"{kind}"'))
        try:
            dataset = read_dataset(load_study(path))
        except StudyError as error:
            assert str(path) in str(error)  # noqa: PT017 - either outcome is well
            return
        for split in (dataset.train, dataset.validation):
            assert len(split) > 0
            assert np.isfinite(split.inputs).all()
            assert np.isfinite(split.targets).all()
        assert dataset.output_size >= 1


@pytest.mark.slow
@fuzzed
@given(st.lists(st.tuples(names, columns), min_size=1, max_size=4), st.sampled_from(["random", "stratified"]))
def test_any_table_is_data_or_a_study_error(table: list[tuple[str, list[str]]], kind: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([name for name, _ in table])
    writer.writerows(zip(*(column for _, column in table), strict=True))
    read(text.getvalue().encode("utf-8", "surrogatepass"), table[-1][0], kind)


@fuzzed
@given(st.binary(max_size=300))
def test_any_bytes_are_data_or_a_study_error(content: bytes) -> None:
    read(content, "y", "random")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n\n",
        b"x,y\n",
        b"x,y\n1,2\n",
        b"x,y\n" + b"1,2\n" * 50,
        b"x,y\n" + b"".join(b"%d,a\n" % i for i in range(50)),
        b"x,y\n" + b"".join(b"%d,%d\n" % (i, i) for i in range(50)) + b"1,2,3,4\n",
        ",".join(["x"] * 2000 + ["y"]).encode() + b"\n" + (",".join(["1"] * 2001) + "\n").encode() * 20,
        "größe,y\n".encode() + "ä,1\nß,2\n".encode() * 20,
    ],
    ids=["empty", "blank", "header", "one row", "constant", "one class", "ragged", "wide", "non-ASCII"],
)
def test_unusual_tables_are_data_or_refused(content: bytes) -> None:
    read(content, "y", "random")
