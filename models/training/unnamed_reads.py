"""Report files that a person's function reads while it builds a model and its identity lacks, and that it writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightune.models.named_files import written_files
from nightune.models.training.read_files import files_watched
from nightune.models.user_code import find_reference, is_reference, read_digests, source_files
from nightune.vocabulary import ARCHITECTURE

MOST_NAMED = 3


@contextmanager
def unnamed_reads(architecture: str, folder: Path) -> Iterator[list[str]]:
    """Yield a list that holds at the end of the block the remarks on such files of the function's folder.

    `folder` is the study's. Files that a library opens by itself, outside Python and h5py, are not noticed.
    """
    remarks: list[str] = []
    if not is_reference(architecture):
        yield remarks
        return
    reference = find_reference(architecture, folder, ARCHITECTURE)
    place = reference[0].parent
    with files_watched(place) as watch:
        yield remarks
    named = {(place / name).resolve() for name in read_digests(architecture, folder)}
    sources = source_files(architecture, folder)
    known = {*sources, *named, *written_files(*reference, sources)}
    unnamed = [path for path in map(Path, sorted(watch.read)) if path not in known and path.is_file()]
    found = [path.relative_to(place) for path in unnamed]
    files = [
        file.as_posix() for file in found if file.suffix not in (".py", ".pyc") and "site-packages" not in file.parts
    ]
    if files:
        listed = ", ".join(f'"{name}"' for name in files[:MOST_NAMED])
        remedy = f"name them as texts in the file, such as FILES = [{listed}]"
        remarks.append(f"reads {', '.join(files[:MOST_NAMED])}, whose changes make no new trials: {remedy}")
    written = [Path(path).relative_to(place).as_posix() for path in sorted(watch.written) if Path(path) in named]
    if written:
        listed = ", ".join(f'"{name}"' for name in written[:MOST_NAMED])
        problem = f"writes {', '.join(written[:MOST_NAMED])}, whose changes make new trials as if it only read them"
        remarks.append(f"{problem}: list them in the module, WRITTEN = [{listed}]")
