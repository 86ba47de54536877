"""Open a version's folder by MLflow alone, and write its outputs: a program, which `fresh_process.py` starts.

usage: python -P open_alone.py FOLDER ROWS RESULT, where ROWS is a table (Parquet), an array (.npy) or several (.npz; in
order if it is named ordered.npz). RESULT names the files to write: RESULT.json, and RESULT.npy with the outputs of the
model unless the version cannot be opened. For classes and labels RESULT.json also has the names of its probabilities,
and RESULT-probabilities.npy their values.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any


def main(folder: str, rows: str, result: str) -> None:
    """Write the outputs, and what is wrong: `error` with the line of the version's code, and `outside`."""
    sys.meta_path.insert(0, _WithoutNightune())
    reads = _OutsideReads(Path(folder))
    found: dict[str, Any] = {"error": "", "line": ""}
    try:
        found["classes"] = _write_outputs(folder, rows, result, reads)
    except (Exception, SystemExit) as error:
        found = {"error": f"{type(error).__name__}: {_first_line(error)}", "line": _line(error, reads.code)}
    found["outside"] = sorted(reads.found)
    Path(f"{result}.json").write_text(json.dumps(found), encoding="utf-8")


def _write_outputs(folder: str, rows: str, result: str, reads: "_OutsideReads") -> list[Any] | None:
    import h5py  # noqa: PLC0415 - after the program has hidden Nightune
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415
    from mlflow import pyfunc  # noqa: PLC0415

    raw: Any
    if rows.endswith(".npz"):
        with np.load(rows, allow_pickle=False) as file:
            raw = {name[1:]: array for name, array in file.items()}  # as `fresh_process.py` names them
        raw = [raw[str(place)] for place in range(len(raw))] if Path(rows).name == "ordered.npz" else raw
    else:
        raw = np.load(rows, allow_pickle=False) if rows.endswith(".npy") else pd.read_parquet(rows, engine="pyarrow")
    sys.addaudithook(reads.hook)
    begin = h5py.File.__init__

    def begin_file(self: Any, name: Any, *values: Any, **options: Any) -> None:
        reads.note(name)
        begin(self, name, *values, **options)

    h5py.File.__init__ = begin_file
    loaded = pyfunc.load_model(folder)
    predictor = loaded.unwrap_python_model().predictor
    outputs = predictor.outputs(predictor.inputs(raw))
    loaded.predict(raw)  # with MLflow's check of the schema
    np.save(f"{result}.npy", np.asarray(outputs, np.float64))
    if all(each["task"] == "regression" for each in predictor.description.get("heads", [predictor.description])):
        return None
    asked = loaded.predict(raw, params={"output": "probabilities"})
    np.save(f"{result}-probabilities.npy", asked.to_numpy(np.float64))
    classes: list[Any] = asked.columns.tolist()
    return classes


class _WithoutNightune:
    """Lets no module find the Nightune that trained the model."""

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> None:
        if name.partition(".")[0] == "nightune":
            raise ModuleNotFoundError("a version opens without Nightune: remove this import", name=name)


class _OutsideReads:
    """The files that a version's own code reads outside its folder and the installed packages."""

    def __init__(self, folder: Path) -> None:
        self.code = folder.resolve() / "artifacts" / "parts" / "model" / "code"
        installed = {sys.prefix, sys.base_prefix, *(path for path in sys.path if path)}
        known = {"/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev", str(folder), str(folder.resolve())}
        self._allowed = tuple(f"{path.rstrip(os.sep)}{os.sep}" for path in installed | known)
        self._written: set[str] = set()
        self.found: set[str] = set()

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note a file that is opened; an audit hook of Python."""
        if event == "open":
            self.note(*arguments[:2])

    def note(self, place: Any, mode: Any = "r") -> None:
        """Note a file that is opened for reading by code of the version, unless a library does so when imported."""
        if not isinstance(place, str | bytes | os.PathLike):
            return
        path = os.path.abspath(os.fsdecode(place))  # noqa: PTH100 - pathlib is slow for every opened file
        if path.startswith(self._allowed) or path in self._written:
            return
        if mode and "r" not in str(mode):
            self._written.add(path)
        elif Path(path).is_file() and self._is_called_by_code():
            self.found.add(path)

    def _is_called_by_code(self) -> bool:
        frame = sys._getframe(2)
        while frame.f_back is not None:
            frame = frame.f_back
            if frame.f_code.co_filename.startswith(f"{self.code}{os.sep}"):
                return True
            if frame.f_globals.get("__name__") == "importlib._bootstrap":
                return False
        return False


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    is_of_keras = len(lines) > 1 and lines[0].startswith("Exception encountered when calling")
    return (lines[1] if is_of_keras else lines[0] if lines else "no message")[:300]


def _line(error: BaseException, code: Path) -> str:
    """Return `line 7 of net.py` for the last line of the version's code that led to the error; empty if none did."""
    each: BaseException | None = error
    while each is not None:
        for frame in reversed(traceback.extract_tb(each.__traceback__)):
            if Path(frame.filename).is_relative_to(code):
                return f"line {frame.lineno} of {Path(frame.filename).relative_to(code).as_posix()}"
        each = each.__cause__ or each.__context__
    return ""


if __name__ == "__main__":
    main(*sys.argv[1:])
