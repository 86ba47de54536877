"""Find registered versions that were changed on MLflow's pages, are not Nightune's, or have lost their files."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import ParseResult, unquote, urlparse

from nightune.tasks.tracking.registry.registry import CHAMPION, Version, models, versions
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.artifacts import list_files
from nightune.tasks.tracking.store.errors import RefusedRequestError
from nightune.tasks.tracking.store.records import first_line
from nightune.tasks.tracking.store.store import Store, client

MLMODEL = "MLmodel"  # each version has this file
CROWNED = ("promoted", "forced")


def damaged_versions(store: Store) -> Iterator[tuple[str, str]]:
    """Yield a model's name and a damage of one of its versions. Models without a version of ours are left out."""
    for model in models(store):
        known = versions(store, model)
        if not any(version.is_ours for version in known):
            continue
        numbers = [version.number for version in known]
        for version in known:
            for problem in _problems(store, version, numbers):
                yield model, f"version {version.number}: {problem}"


def _problems(store: Store, version: Version, numbers: list[int]) -> Iterator[str]:
    if not version.is_ours:
        if CHAMPION in version.aliases:
            yield "is champion, but Nightune did not register it"
        return
    if names.GAIN in version.tags and version.gain is None:
        yield f"{names.GAIN}: {version.tags[names.GAIN]!r} (expected: a number)"
    previous = version.tags.get(names.PREVIOUS_CHAMPION)
    if previous is not None and previous not in map(str, numbers):
        yield f"{names.PREVIOUS_CHAMPION}: {previous!r} (expected: one of {', '.join(map(str, numbers))})"
    if any(entry["event"] == "damaged entries" for entry in version.history):
        yield f"{names.HISTORY}: not as Nightune wrote it"
    if CHAMPION in version.aliases and version.tags.get(names.VERDICT) not in CROWNED:
        yield "is champion, but was not promoted: the alias was moved by hand"
    yield from _lost_files(store, version)


def _lost_files(store: Store, version: Version) -> Iterator[str]:
    try:
        address = urlparse(str(client(store).get_model_version_download_uri(version.model, str(version.number))))
    except RefusedRequestError as error:
        yield f"its files are not known ({first_line(error)})"
        return
    place = unquote(address.path) if address.scheme == "file" else address.geturl()
    if not _has_files(store, address):
        yield f"its files are missing from {place}"


def _has_files(store: Store, address: ParseResult) -> bool:
    """Return whether a version has its first file, in a folder or where a server keeps it."""
    if address.scheme == "file":
        return (Path(unquote(address.path)) / MLMODEL).is_file()
    return MLMODEL in list_files(store, address.geturl())
