"""Rolling back restores the last champion that the versions' histories know."""

from pathlib import Path

import pytest

from nightune.tasks.tracking.registry import registry
from nightune.tasks.tracking.registry.damages import damaged_versions
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.store import Store, client


@pytest.fixture
def three(store: Store, tmp_path: Path) -> Store:
    """Three versions that became champion one after the other."""
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    client(store).create_registered_model("flowers")
    for number in (1, 2, 3):
        previous = {names.PREVIOUS_CHAMPION: str(number - 1)} if number > 1 else {}
        tags = {names.SWEEP: f"flowers-{number}", names.TRIAL_KEY: f"{number:016x}", names.VERDICT: "promoted"}
        client(store).create_model_version("flowers", tmp_path.as_uri(), tags=tags | previous)
        version = registry.versions(store, "flowers")[-1]
        registry.set_tags(store, version, registry.extended_history(version, "promoted", "better"))
    registry.set_alias(store, "flowers", "champion", 3)
    return store


def test_the_predecessor_is_restored_and_one_that_is_gone_is_skipped(three: Store) -> None:
    assert list(damaged_versions(three)) == []
    client(three).delete_model_version("flowers", "2")
    assert [problem for _, problem in damaged_versions(three)] == [
        "version 3: nightune.previous_champion: '2' (expected: one of 1, 3)"
    ]
    assert registry.roll_back(three, "flowers", "worse")[1].number == 1
    with pytest.raises(StoreError, match="version 1 is the first champion"):
        registry.roll_back(three, "flowers", "worse")


def test_all_versions_are_those_of_each_model(three: Store, tmp_path: Path) -> None:
    client(three).create_registered_model("empty")
    client(three).create_registered_model("daisies")
    client(three).create_model_version("daisies", tmp_path.as_uri())
    registry.set_alias(three, "daisies", "challenger", 1)
    of_each = [version for name in registry.models(three) for version in registry.versions(three, name)]
    assert registry.all_versions(three) == of_each
    assert [version.aliases for version in of_each] == [("challenger",), (), (), ("champion",)]


@pytest.mark.parametrize("text", ["", "many", "3", "-1", "99"])
def test_a_predecessor_changed_by_hand_gives_the_last_known_champion(three: Store, text: str) -> None:
    client(three).set_model_version_tag("flowers", "3", names.PREVIOUS_CHAMPION, text)
    assert registry.roll_back(three, "flowers", "worse")[1].number == 2


def test_after_an_alias_was_moved_by_hand_the_last_known_champion_is_restored(three: Store) -> None:
    registry.set_alias(three, "flowers", "champion", 1)
    assert registry.roll_back(three, "flowers", "moved by mistake")[1].number == 3


def test_without_a_champion_the_last_known_one_is_named(three: Store) -> None:
    registry.delete_alias(three, "flowers", "champion")
    with pytest.raises(StoreError, match=r"no version is champion \(version 3 was the last one"):
        registry.roll_back(three, "flowers", "worse")


@pytest.mark.parametrize("text", ["", "many", "{}", "[1]", '[{"event": 3}]'])
def test_a_damaged_history_is_kept_as_an_event_and_found(three: Store, text: str) -> None:
    client(three).set_model_version_tag("flowers", "3", names.HISTORY, text)
    assert ("flowers", "version 3: nightune.history: not as Nightune wrote it") in list(damaged_versions(three))
    version = registry.versions(three, "flowers")[-1]
    registry.set_tags(three, version, registry.extended_history(version, "forced", "why"))
    assert [entry["event"] for entry in registry.versions(three, "flowers")[-1].history] == [
        "damaged entries",
        "forced",
    ]


def test_a_foreign_champion_is_found_by_doctor(three: Store, tmp_path: Path) -> None:
    client(three).create_model_version("flowers", tmp_path.as_uri())
    registry.set_alias(three, "flowers", "champion", 4)
    assert list(damaged_versions(three)) == [("flowers", "version 4: is champion, but Nightune did not register it")]
    assert registry.roll_back(three, "flowers", "not ours")[1].number == 3
