"""Write the study with the changes that a sweep's report advises."""

import tomllib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nightune.models.errors import InputError
from nightune.tasks.check_study import check_study
from nightune.tasks.load_study import load_study, problems_of
from nightune.tasks.output_files import refuse_bad_copy
from nightune.tasks.reporting.night.next_steps import Advice, complete_changes, with_changes
from nightune.tuning.analysis.next_steps.steps import Change
from nightune.tuning.errors import StudyError
from nightune.tuning.study.edit import with_value

NAME = ("name",)


def write_next_study(
    study_file: Path,
    copy: Path,
    advice: Sequence[Advice],
    sweep_tables: Any,
    before_building: Callable[[], None] | None = None,
) -> list[Advice]:
    """Write a copy of the study file with the changes of the steps that it can have; return these steps.

    It is checked as `nightune check` does, models included, unless `before_building` is None.

    `sweep_tables` are those of the study as the sweep was trained: a key that the file has changed since is left as it
    is. The copy keeps the name of the study, so that its sweeps are the next ones. StudyError or InputError, and no
    file, if it cannot be written, or no step changes it.
    """
    refuse_bad_copy(study_file, copy)
    text = study_file.read_text(encoding="utf-8-sig")
    tables, problems = tomllib.loads(text), partial(problems_of, study_file=study_file)
    taken: list[Advice] = []
    changes: tuple[Change, ...] = ()
    for each in advice:
        is_same = all(_value(tables, one.path) == _value(sweep_tables, one.path) for one in each.step.changes)
        both = complete_changes(text, (*changes, *each.step.changes), problems) if each.lines and is_same else None
        if both is not None:
            taken.append(each)
            changes = both
    edited = with_changes(text, changes)
    if edited is not None and "name" not in tables:
        edited = with_value(edited, NAME, study_file.stem)
    if not taken or edited is None:
        raise InputError("--write", f"no step changes a key of {study_file} as it is now; nothing is written")
    with copy.open("x", encoding="utf-8") as file:
        file.write(edited)
    try:
        check_study(load_study(copy), before_building)
    except StudyError as error:
        copy.unlink()
        said = "; ".join(f"{each.key}: {each.message}" for each in error.problems)
        raise InputError("--write", f"the study with these changes is refused, so it is not kept ({said})") from error
    except BaseException:
        copy.unlink()
        raise
    return taken


def _value(tables: Any, path: Sequence[str]) -> Any:
    held = tables
    for part in path:
        held = held.get(part) if isinstance(held, dict) else None
    return held
