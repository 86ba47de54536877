"""Refuse files that a command is asked to write and cannot, before it computes anything."""

from collections.abc import Sequence
from pathlib import Path

from nightune.models.errors import InputError
from nightune.tuning.errors import Problem, StudyError
from nightune.vocabulary import unknown_name


def refuse_bad_output(output: Path, formats: Sequence[str], option: str = "--output") -> None:
    """Raise InputError for a file of another format, by its suffix in any case, or in no folder."""
    if output.suffix.lower() not in formats:
        raise InputError(option, unknown_name(output.suffix or output.name, formats, "format"))
    if output.is_dir() or not output.absolute().parent.is_dir():
        what = "it is a folder" if output.is_dir() else f"there is no folder {output.absolute().parent}"
        raise InputError(option, f"{output} cannot be written: {what}")


def refuse_bad_copy(study_file: Path, copy: Path) -> None:
    """Raise StudyError unless a copy of the study can be written to this file."""
    if copy.suffix != ".toml":
        raise StudyError(str(copy), [Problem("file", "is not a study file (allowed: names that end in .toml)")])
    if copy.resolve().parent != study_file.resolve().parent:
        problem = f"must be in the folder of {study_file}: the paths in a study are relative to its folder"
        raise StudyError(str(copy), [Problem("file", problem)])
    if copy.exists():
        problem = "exists already; choose another name, existing files are not overwritten"
        raise StudyError(str(copy), [Problem("file", problem)])
