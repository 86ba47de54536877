"""What people return that is neither arrays nor a table is read, or refused with what to return, and this is read."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nightune.models.data.contents import Arrays, Table
from nightune.models.data.returned import from_result
from nightune.models.errors import InputError

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
Y = np.arange(60) % 2
FRAME = pd.DataFrame(X, columns=[*"abcd"]).assign(y=Y)
WORDS = FRAME.assign(word=["a", "b", "c"] * 20)[["a", "word"]]
HALVES = [(X[:30], Y[:30]), (X[30:], Y[30:])]

# what is returned → a part of the message, and what follows it
REFUSED: dict[str, tuple[Any, str, Callable[[Any], Any] | None]] = {
    "examples": ([*zip(X, Y, strict=True)], "iter(them)", iter),
    "batches": ([*HALVES, *HALVES], "iter(them)", iter),
    "rows": (FRAME.to_dict("records"), "pd.DataFrame(rows)", pd.DataFrame),
    "columns": (FRAME.to_dict("list"), "pd.DataFrame(them)", pd.DataFrame),
    "other names": (
        {"features": X, "labels": Y},
        "\"x\": held['features'], \"y\": held['labels']",
        lambda held: {"x": held["features"], "y": held["labels"]},
    ),
    "four arrays": (
        (X[:40], Y[:40], X[40:], Y[40:]),
        '"x_train"',
        lambda four: dict(zip(("x_train", "y_train", "x_test", "y_test"), four, strict=True)),
    ),
    "nothing": (None, "return", None),
    "a path": ("t.csv", "read_csv", None),
    "parts of a table": (iter([FRAME[:30], FRAME[30:]]), "pd.concat", lambda _: pd.concat([FRAME[:30], FRAME[30:]])),
    "dictionaries one by one": (iter(FRAME.to_dict("records")), "pd.DataFrame(them)", None),
    "inputs alone": (iter(X), "without targets", None),
    "images": (
        ([Image.fromarray(np.zeros((8, 8, 3), np.uint8))] * 60, Y),
        "np.stack",
        lambda pair: (np.stack([np.asarray(image) for image in pair[0]]), pair[1]),
    ),
    "images of several sizes": (([np.zeros((8 + row % 2, 8, 3)) for row in range(60)], Y), "resize", None),
    "a table of words": ((WORDS, Y), "x.assign(y=y)", lambda pair: pair[0].assign(y=pair[1])),
    "a table with gaps": ((WORDS.mask(WORDS == "a"), Y), "x.assign(y=y)", lambda pair: pair[0].assign(y=pair[1])),
    "a table with y": ((WORDS.assign(y=1), Y), "x.assign(target=y)", lambda pair: pair[0].assign(target=pair[1])),
    "texts": ((["a b"] * 60, Y), "text = ", lambda pair: pd.DataFrame({"words": pair[0], "y": pair[1]})),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_says_what_to_return_and_this_is_read(kind: str) -> None:
    result, words, follow = REFUSED[kind]
    with pytest.raises(InputError) as caught:
        from_result(result, "d.py:f")
    assert words in caught.value.message
    if follow is not None:
        read = from_result(follow(result), "d.py:f")
        assert isinstance(read, Table | Arrays)
        assert len(read.frame if isinstance(read, Table) else read.targets) >= 60


@pytest.mark.parametrize("form", [tuple, list])
def test_a_dictionary_of_splits_holds_pairs(form: Callable[[Any], Any]) -> None:
    read = from_result({"train": form(HALVES[0]), "val": form(HALVES[1])}, "d.py:f")
    assert isinstance(read, Arrays)
    assert read.keys["part"].value_counts().to_dict() == {"train": 30, "validation": 30}
