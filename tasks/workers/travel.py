"""Make a job independent of the flow's machine: what its workers read there is in parcels, of data and of code."""

import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from nightune.models.data.storage import EXAMPLE, SEALED, mark_left_out
from nightune.models.kept_code import KeptCode
from nightune.models.serving.predictor import DESCRIPTION, PREPROCESSING
from nightune.models.user_code import is_reference
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.workers.job import Job
from nightune.tasks.workers.parcels import Parcel, pack, unpack
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.study.study import Study

SENT = "sent"  # the folder of the store in which the flow puts code together


@dataclass(frozen=True)
class Travelling:
    """A job without code, and its parcels: the prepared data without its test split, the user's code in its folders."""

    job: Job
    data: Parcel
    code: Parcel

    def arrived(self, root: Path) -> tuple[Job, Setting]:
        """Return the job as the worker with a store in this folder runs it, and the setting that it trains with.

        The job's own setting keeps the place of the data, which the trials' runs record.
        """
        store = Store(root, self.job.setting.store.tracking_uri)
        data, code = unpack(self.data, root, store), unpack(self.code, root, store)
        mark_left_out(data)
        study = self.job.setting.study
        here = study.model_copy(update={"path": code / _mirrored(study.path.resolve())})
        setting = replace(self.job.setting, store=store, study=here)
        return replace(self.job, setting=setting), replace(setting, data=replace(setting.data, folder=data))


def data_parcel(setting: Setting) -> Parcel:
    """Return the prepared data of a sweep: what trainings read of it, never the rows of the test split.

    The copy does not lie in `data/`, where a command on the worker's machine would take it for the whole.
    """
    folder = setting.data.folder
    files = [file for file in folder.iterdir() if file.suffix == ".npy" or file.name in (PREPROCESSING, EXAMPLE)]
    files.append(folder / DESCRIPTION)
    assert not any(SEALED in file.parts[len(folder.parts) :] for file in files)
    return pack(f"sent-data/{folder.name}", folder, {file.name: file for file in files})


def code_parcel(setting: Setting, code: KeptCode, earlier: Path | None = None) -> Parcel:
    """Write the user's code, as the flow has kept it, and the files that it names, into a folder of the store.

    Of the files that it names, those that the folder of an `earlier` parcel has are taken from there.
    """
    study_file = setting.study.path.resolve()
    content = {study_file: study_file.read_bytes(), **code.sources}
    named = dict(code.digests)
    text = "".join(f"{path} {hashlib.sha256(each).hexdigest()}\n" for path, each in sorted(content.items()))
    text += "".join(f"{path} {digest}\n" for path, digest in sorted(named.items()))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = setting.store.root / SENT / digest
    for path, each in content.items():
        _place(folder, path).write_bytes(each)
    for path in named:
        kept = path if earlier is None else earlier / _mirrored(path)
        shutil.copyfile(kept if kept.is_file() else path, _place(folder, path))
    files = {_mirrored(path).as_posix(): folder / _mirrored(path) for path in (*content, *named)}
    parcel = pack(f"code/{digest}", folder, files)
    _refuse_changed(setting.study, {path: parcel.digests[_mirrored(path).as_posix()] for path in named}, named)
    return parcel


def refuse_fixed_places(study: Study) -> None:
    """Refuse functions that a study names by a place of this machine: the folders of workers are others."""
    given = [(name, option) for name in study.space.by_name for option in _texts(study.space.options(name))]
    for key, reference in [*given, *((study.objective.key, each) for each in study.objective.named)]:
        if is_reference(reference) and (PurePath(reference).is_absolute() or reference.startswith("~")):
            problem = f"{reference!r} is a place of this machine, and workers have others"
            remedy = "name it by a path relative to the study's file, such as models/net.py:build"
            raise StudyError(str(study.path), [Problem(key, f"{problem}; {remedy}")])


def _texts(options: Iterable[object]) -> list[str]:
    found = [each for option in options for each in (option.values() if isinstance(option, dict) else [option])]
    return [each for each in found if isinstance(each, str)]


def _mirrored(path: Path) -> Path:
    """Return the place of a file below the folder of code: references from file to file stay as they are."""
    return path.relative_to(path.anchor)


def _place(folder: Path, path: Path) -> Path:
    target = folder / _mirrored(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _refuse_changed(study: Study, found: dict[Path, str], kept: dict[Path, str]) -> None:
    changed = sorted(str(path) for path, digest in found.items() if kept[path] != digest)
    if changed:
        problem = f"{', '.join(changed)} has changed since the sweep began; run the same command again"
        raise StudyError(str(study.path), [Problem("model", problem)])
