"""The keys of weights of rows: [data] weight and [objective] average."""

import pytest

from tests.tuning.conftest import Read, Refuse, study_text

DATA = 'source = "t.csv"\ntarget = "y"'


def test_studies_without_weights_keep_their_content(read: Read) -> None:
    study = read(study_text(data=DATA))
    assert "weight" not in study.content["data"]
    assert "average" not in study.content["objective"]
    stated = read(f'{study_text(data=DATA)}[objective]\naverage = "weights"\n')
    assert stated.digest == study.digest


def test_weights_and_their_average_are_content(read: Read) -> None:
    plain, weighted = (read(study_text(data=f"{DATA}{more}")) for more in ("", '\nweight = "w"'))
    by_rows = read(f'{study_text(data=DATA)}[objective]\nmetric = "val_mae"\naverage = "rows"\n')
    assert weighted.data.weight == "w"
    assert weighted.content["data"]["weight"] == "w"
    assert by_rows.content["objective"] == {"metric": "val_mae", "direction": "minimize", "average": "rows"}
    assert len({plain.digest, weighted.digest, by_rows.digest}) == 3


@pytest.mark.parametrize(
    ("data", "objective", "words"),
    [
        ("weight = 3", "", "data.weight: 3"),
        ('weight = ""', "", "data.weight: "),
        ("weight = ['w', 'v']", "", "data.weight: "),
        ("weight = {}", "", "data.weight: "),
        ("weight = { kind = 3 }", "", "data.weight: "),
        ("", 'average = "row"', "objective.average: unknown 'row'; did you mean 'rows'?"),
        ("", "average = true", "objective.average: true"),
    ],
)
def test_wrong_keys_of_weights_are_refused(refuse: Refuse, data: str, objective: str, words: str) -> None:
    text = study_text(data=f"{DATA}\n{data}")
    (line,) = refuse(f"{text}[objective]\n{objective}\n")
    assert line.startswith(words)
