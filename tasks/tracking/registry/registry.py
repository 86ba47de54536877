"""Register versions of a study's model, and set their two aliases: champion and challenger."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import RefusedRequestError, StoreError
from nightune.tasks.tracking.store.records import Record, first_line, whole_records
from nightune.tasks.tracking.store.retry import masked
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.vocabulary import listing, suggestion

CHAMPION, CHALLENGER = "champion", "challenger"
NO_MODEL = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the second one of a study's path, given as a name


@dataclass(frozen=True, slots=True)
class Version:
    """One registered version of a model."""

    model: str
    number: int
    run_id: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """True if Nightune has registered it; its run alone does not say so."""
        return names.SWEEP in self.tags and names.TRIAL_KEY in self.tags

    @property
    def gain(self) -> float | None:
        """The gain over the champion before it; None without a comparison, or if the tag was changed by hand."""
        try:
            return float(self.tags.get(names.GAIN, ""))
        except ValueError:
            return None

    @property
    def siblings(self) -> list[str]:
        """The runs of its configuration's other models; none, with a warning, if the tag was changed by hand."""
        record = Record(f"{self.model} version {self.number}", self.tags)
        return next(whole_records([names.SIBLINGS], record.texts), [])

    @property
    def history(self) -> list[dict[str, str]]:
        """Its events, oldest first; the text of a damaged tag is kept as one event."""
        text = self.tags.get(names.HISTORY, "[]")
        try:
            entries = json.loads(text)
        except ValueError:
            entries = None
        is_whole = isinstance(entries, list) and all(
            isinstance(entry, dict) and isinstance(entry.get("event"), str) for entry in entries
        )
        return entries if is_whole else [{"at": "", "event": "damaged entries", "because": text}]


def versions(store: Store, model: str) -> list[Version]:
    """Return all versions of a model, oldest first; empty if there is no such model."""
    aliases = _aliases(store, model)
    if aliases is None:
        return []
    found = client(store).search_model_versions(f"name = '{model}'", max_results=10_000)
    return sorted((_read(version, aliases) for version in found), key=lambda version: version.number)


def all_versions(store: Store) -> list[Version]:
    """Return the versions of all models, by name and oldest first: two requests, not two for each model."""
    held = {str(model.name): _by_version(model.aliases) for model in _models(store)}
    found = client(store).search_model_versions("", max_results=10_000)
    read = (_read(version, held.get(str(version.name), {})) for version in found)
    return sorted(read, key=lambda version: (version.model, version.number))


def models(store: Store) -> list[str]:
    """Return the names of all registered models."""
    return sorted(str(model.name) for model in _models(store))


def _models(store: Store) -> Sequence[Any]:
    found: Sequence[Any] = client(store).search_registered_models(max_results=1000)
    return found


def champion(store: Store, model: str) -> Version | None:
    """Return the version that serves, or None."""
    return next((version for version in versions(store, model) if CHAMPION in version.aliases), None)


def registered(store: Store, model: str, run_id: str) -> Version | None:
    """Return the version that Nightune registered from a run, or None."""
    found = (version for version in versions(store, model) if version.run_id == run_id and version.is_ours)
    return next(found, None)


def register(store: Store, model: str, sweep: Sweep, run_id: str, folder: Path, tags: Mapping[str, str]) -> Version:
    """Upload a model's folder and register it as a version with its tags, in one step. No alias is moved.

    A kill may leave a logged model without a version; the next attempt uses it.
    """
    mlflow_client = client(store)
    if _aliases(store, model) is None:
        mlflow_client.create_registered_model(model, tags={names.STUDY: model})
    logged = _logged_model(store, model, sweep, run_id, folder)
    # By location, not by `models:/…`: MLflow would search that in the process's default store.
    made = mlflow_client.create_model_version(
        model, logged.artifact_location, run_id=run_id, tags=dict(tags), model_id=logged.model_id
    )
    return _read(made, {})


def set_alias(store: Store, model: str, alias: str, number: int) -> None:
    """Point an alias at a version, in one atomic call."""
    client(store).set_registered_model_alias(model, alias, str(number))


def delete_alias(store: Store, model: str, alias: str) -> None:
    """Delete an alias."""
    client(store).delete_registered_model_alias(model, alias)


def set_tags(store: Store, version: Version, tags: Mapping[str, str]) -> None:
    """Set the tags of a version that differ from the wanted values."""
    for name, value in tags.items():
        if version.tags.get(name) != value:
            client(store).set_model_version_tag(version.model, str(version.number), name, value)


def describe(store: Store, version: Version, text: str) -> None:
    """Set the description of a version."""
    client(store).update_model_version(version.model, str(version.number), description=text)


def describe_model(store: Store, model: str, text: str) -> None:
    """Set the description of a registered model that has none: a later one is of people."""
    if not client(store).get_registered_model(model).description:
        client(store).update_registered_model(model, description=text)


def clear_rollback(store: Store, version: Version) -> None:
    """Delete the rollback tag of a version that a person has promoted again; its history keeps the entry."""
    if names.ROLLED_BACK_BECAUSE in version.tags:
        client(store).delete_model_version_tag(version.model, str(version.number), names.ROLLED_BACK_BECAUSE)


def extended_history(version: Version, event: str, because: str) -> dict[str, str]:
    """Return the history tag of a version with one more entry: MLflow keeps no history of aliases."""
    entry = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "event": event, "because": because}
    return {names.HISTORY: json.dumps([*version.history, entry], ensure_ascii=False)}


def known_versions(store: Store, model: str) -> list[Version]:
    """Return the versions of a model; StoreError if it has none."""
    found = versions(store, model)
    if not found:
        raise _unknown_model(store, model)
    return found


def roll_back(store: Store, model: str, because: str) -> tuple[Version, Version]:
    """Restore the previous champion; return the version rolled back and the one restored.

    Where the champion does not name its predecessor, for example because it was made champion by hand, restore the last
    champion that the versions' histories know. StoreError if there is none. The alias moves last: after a kill, the
    same command completes the rollback.
    """
    known = {version.number: version for version in known_versions(store, model)}
    current = next((version for version in known.values() if CHAMPION in version.aliases), None)
    last = _last_champion(list(known.values()), current)
    if current is None:
        hint = "" if last is None else f" (version {last.number} was the last one that Nightune knows)"
        raise StoreError(f"{model}: no version is champion{hint}; promote one: `nightune promote STUDY`")
    restored = _predecessor(known, current) or last
    if restored is None:
        raise StoreError(f"{model}: nothing to roll back to ({_why_none(current)})")
    history = extended_history(current, f"rolled back to {restored.number}", because)
    set_tags(store, current, {names.ROLLED_BACK_BECAUSE: because, **history})
    set_tags(store, restored, extended_history(restored, f"champion again after {current.number}", because))
    set_alias(store, model, CHAMPION, restored.number)
    return current, restored


def _unknown_model(store: Store, model: str) -> StoreError:
    registered = models(store)
    if not registered:
        known = "none is registered yet: `nightune promote STUDY` registers the winner of a sweep"
    else:
        known = f"{listing(registered)}; a model has the name of its study"
    near = suggestion(model, registered)
    return StoreError(f"{model}: no such registered model in {masked(store.tracking_uri)}{near} ({known})")


def _predecessor(known: Mapping[int, Version], current: Version) -> Version | None:
    """Return the version that the champion names as its predecessor, if it still exists."""
    text = current.tags.get(names.PREVIOUS_CHAMPION, "")
    number = int(text) if text.isascii() and text.isdigit() else current.number
    return None if number == current.number else known.get(number)


def _last_champion(known: Sequence[Version], current: Version | None) -> Version | None:
    """Return the version that became champion last by its history, except the current one and those rolled back."""
    crowned = [
        (str(entry.get("at", "")), version.number, version)
        for version in known
        if version != current and version.is_ours and names.ROLLED_BACK_BECAUSE not in version.tags
        for entry in version.history
        if entry["event"] in ("promoted", "forced") or entry["event"].startswith("champion again")
    ]
    return max(crowned, key=lambda each: each[:2])[2] if crowned else None


def _why_none(current: Version) -> str:
    previous = current.tags.get(names.PREVIOUS_CHAMPION)
    if previous:
        return f"version {previous} is gone"
    known = "the first champion" if current.is_ours else "not Nightune's, and no other one was champion"
    return f"version {current.number} is {known}"


def fetch_version(store: Store, version: Version, folder: Path) -> Path:
    """Download a version's files into a folder and return their folder; StoreError if they cannot be read."""
    from mlflow.artifacts import download_artifacts  # noqa: PLC0415 - seconds
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    try:
        address = client(store).get_model_version_download_uri(version.model, str(version.number))
        return Path(download_artifacts(address, dst_path=str(folder), tracking_uri=store.tracking_uri))
    except (MlflowException, OSError, RefusedRequestError) as error:
        reason = first_line(error)
        raise StoreError(f"{version.model} version {version.number}: its files cannot be read ({reason})") from error


def _logged_model(store: Store, model: str, sweep: Sweep, run_id: str, folder: Path) -> Any:
    mlflow_client = client(store)
    known = mlflow_client.get_run(run_id).data.tags.get(names.LOGGED_MODEL)
    if known:
        with suppress(RefusedRequestError):  # deleted on MLflow's page: log it again
            return mlflow_client.get_logged_model(known)
    logged = mlflow_client.create_logged_model(
        sweep.experiment_id, name=model, source_run_id=run_id, tags={names.SWEEP: sweep.id}
    )
    mlflow_client.log_model_artifacts(logged.model_id, str(folder))
    mlflow_client.finalize_logged_model(logged.model_id, "READY")
    mlflow_client.set_tag(run_id, names.LOGGED_MODEL, logged.model_id)
    return logged


def _aliases(store: Store, model: str) -> dict[int, tuple[str, ...]] | None:
    """Return the aliases of each version, or None if there is no such model."""
    try:
        held: dict[str, Any] = client(store).get_registered_model(model).aliases
    except RefusedRequestError as error:
        if error.code in NO_MODEL:
            return None
        raise
    return _by_version(held)


def _by_version(held: Mapping[str, Any]) -> dict[int, tuple[str, ...]]:
    by_version: dict[int, tuple[str, ...]] = {}
    for alias, number in sorted(held.items()):  # numbers are texts over HTTP; search_model_versions returns no aliases
        by_version[int(number)] = (*by_version.get(int(number), ()), str(alias))
    return by_version


def _read(version: Any, aliases: Mapping[int, tuple[str, ...]]) -> Version:
    number = int(version.version)
    return Version(str(version.name), number, str(version.run_id or ""), dict(version.tags), aliases.get(number, ()))
