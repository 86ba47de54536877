"""Names of classes stand beside labels that are codes, and change neither data nor trials."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.loading import load_dataset
from nightune.models.data.names_of_studies import keep_names, names_for
from nightune.models.data.returned import from_result
from nightune.models.data.settings import DataSettings
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError

CODE = """
import numpy as np
x = np.random.default_rng(0).normal(size=(60, 4))
def arrays():
    return x, np.arange(60) % 3
def codes():
    return x, np.arange(60) % 2 + 1
def numbers():
    return x, x[:, 0]
class Batches:
    class_names = ["cat", "dog", "emu"]
    def __init__(self, first):
        self.first = first
    def __iter__(self):
        yield x, np.arange(60) % 2 + self.first
def loader():
    return Batches(1)
def others():
    return Batches(5)
"""


def load(folder: Path, function: str, **keys: Any):
    (folder / "d.py").write_text(CODE)
    return load_dataset(DataSettings(f"d.py:{function}", **keys), folder)


def test_names_of_a_loader_count_by_code(tmp_path: Path) -> None:
    assert load(tmp_path, "loader").description["class_names"] == ["dog", "emu"]
    assert "class_names" not in load(tmp_path, "others").description
    assert "class_names" not in load(tmp_path, "arrays").description


def test_names_of_the_study_are_in_the_order_of_the_classes_and_no_part_of_the_version(tmp_path: Path) -> None:
    plain = load(tmp_path, "arrays")
    folder = save_dataset(plain, tmp_path / "data")
    for names in (("cat", "dog", "emu"), ("a", "b", "c")):
        named = load(tmp_path, "arrays", class_names=names)
        assert named.version == plain.version
        assert save_dataset(named, tmp_path / "data") == folder
        assert open_dataset(folder).description["class_names"] == list(names)
    save_dataset(plain, tmp_path / "data")
    assert open_dataset(folder).description == plain.description


def test_studies_on_the_same_data_keep_their_own_names(tmp_path: Path) -> None:
    plain, stated = load(tmp_path, "codes"), load(tmp_path, "codes", class_names=("cat", "dog"))
    of_loader = load(tmp_path, "loader")
    saved = {name: save_dataset(each, tmp_path / "data") for name, each in (("a", of_loader), ("b", stated))}
    assert saved["a"] == saved["b"]
    folder = saved["a"]
    assert names_for(open_dataset(folder), folder, "a", ()) == {"class_names": ["cat", "dog"]}  # an earlier store
    for study, each in (("a", of_loader), ("b", stated), ("c", plain)):
        save_dataset(each, tmp_path / "data")
        keep_names(each, folder, study)
    shared = open_dataset(folder)
    assert names_for(shared, folder, "a", ()) == {"class_names": ["dog", "emu"]}
    assert names_for(shared, folder, "b", ()) == {"class_names": ["cat", "dog"]}
    assert names_for(shared, folder, "c", ()) == {}
    assert names_for(shared, folder, "a", ("x", "y")) == {"class_names": ["x", "y"]}
    with pytest.raises(InputError, match="2 classes"):
        names_for(shared, folder, "a", ("x",))


def test_parts_that_number_classes_in_another_way_are_refused() -> None:
    class Batches:
        def __init__(self, *names: str, is_shuffled: bool = False) -> None:
            self.class_names, self._random = list(names), np.random.default_rng(0) if is_shuffled else None

        def __iter__(self) -> Any:
            order = np.arange(20) if self._random is None else self._random.permutation(20)
            yield np.arange(60.0).reshape(20, 3)[order], order % 2

    train = Batches("cat", "dog", "emu")
    with pytest.raises(InputError, match=r"class 0 is 'dog' in 'test', and 'cat' in 'train'.*empty"):
        from_result({"train": train, "test": Batches("dog", "emu")}, "d.py:f")
    held = from_result({"train": Batches("cat", "dog"), "test": train}, "d.py:f")
    assert (held.class_names, held.has_order) == (("cat", "dog", "emu"), True)
    assert not from_result({"train": train, "test": Batches(is_shuffled=True)}, "d.py:f").has_order


@pytest.mark.parametrize(
    ("function", "names", "word"),
    [("arrays", ("a", "b"), "3 classes"), ("numbers", ("a",), "regression"), ("arrays", ("a", "a", "b"), "twice")],
)
def test_names_that_do_not_fit_are_refused(tmp_path: Path, function: str, names: tuple[str, ...], word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        load(tmp_path, function, class_names=names)
    assert caught.value.key == "data.class_names"


def test_names_of_a_loader_of_pytorch_are_those_of_its_data_set() -> None:
    class Images(list):
        classes = ("cat", "dog")

    class Loader:
        dataset, batch_size = Images(), 4

        def __iter__(self):
            yield np.zeros((4, 2)), np.array([0, 1, 0, 1])

    assert from_result(Loader(), "d.py:f").class_names == ("cat", "dog")
