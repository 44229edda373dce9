"""The aliases follow the history: one move wins, what is half-way is finished, hands are seen."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from mlflow.tracking import MlflowClient

from landmark_ml.registry.champion import OvertakenError, Succession
from landmark_ml.registry.history import history_name
from landmark_ml.registry.registered import CHALLENGER, CHAMPION, PREVIOUS
from tests.registry.memory_registry import MemoryRegistry
from tests.registry.registered_models import aliases, crown, make_versions, told

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

WRITES = (
    "create_registered_model",
    "create_model_version",
    "set_model_version_tag",
    "set_registered_model_tag",
    "delete_registered_model_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
)


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


class Dying:
    """A client that dies before its n-th write, counted from 0."""

    def __init__(self, client: MlflowClient, writes: int) -> None:
        self._client = client
        self._left = writes

    def __getattr__(self, name: str) -> Any:
        if name in WRITES:
            if self._left == 0:
                raise Killed
            self._left -= 1
        return getattr(self._client, name)


@pytest.fixture(scope="module")
def postgres_uri(postgres: PostgresServer) -> str:
    return postgres.create_database("succession")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name).replace("[", "-").rstrip("]")


@pytest.fixture(
    params=[
        "memory",
        pytest.param("sqlite", marks=pytest.mark.slow),
        pytest.param("postgres", marks=pytest.mark.slow),
    ]
)
def client(name: str, request: pytest.FixtureRequest) -> MlflowClient:
    """Registry with a model of four versions, nobody champion."""
    registry: Any = MemoryRegistry()
    if request.param != "memory":
        wanted = {"sqlite": "tracking_uri", "postgres": "postgres_uri"}[request.param]
        uri = request.getfixturevalue(wanted)
        registry = MlflowClient(tracking_uri=uri, registry_uri=uri)
    make_versions(registry, name, 4)
    return registry  # type: ignore[no-any-return]


@pytest.fixture
def succession(name: str, client: MlflowClient) -> Succession:
    return Succession(name, client)


def test_champions_follow_one_another(
    succession: Succession, client: MlflowClient, name: str
) -> None:
    head = crown(succession, 1, 3, 2)
    assert aliases(client, name) == (2, 3)
    assert (head.champion, head.former, head.applied) == (2, (1, 3), True)
    assert told(succession) == [("register", 1), ("promote", 3), ("promote", 2)]


def test_rolling_back_twice_goes_back_two_champions(
    succession: Succession, client: MlflowClient, name: str
) -> None:
    head = crown(succession, 1, 2, 3)
    succession.move("rollback", 2, head, "it tagged cats")
    assert aliases(client, name) == (2, 1)
    head, _ = succession.settle()
    succession.move("rollback", 1, head, "still cats")
    assert aliases(client, name) == (1, 0)
    assert [entry.reason for entry in succession.entries()][-2:] == ["it tagged cats", "still cats"]


def test_rolling_back_to_one_that_was_champion_twice_keeps_the_way_further_back(
    succession: Succession, client: MlflowClient, name: str
) -> None:
    head = crown(succession, 1, 2, 1, 3)
    succession.move("rollback", 1, head, "3 is worse")
    assert aliases(client, name) == (1, 2)
    head, _ = succession.settle()
    assert head.former == (1, 2)
    succession.move("rollback", 2, head, "1 was worse as well")
    assert aliases(client, name) == (2, 0)


def test_who_judged_against_a_former_champion_is_too_late(
    succession: Succession, client: MlflowClient, name: str
) -> None:
    since = crown(succession, 1)
    succession.move("promote", 2, since, "better")
    with pytest.raises(OvertakenError, match=r"version 3 .*first: Version 2 was promoted. better"):
        succession.move("promote", 3, since, "better as well")
    assert aliases(client, name) == (2, 1)


def test_a_move_that_came_first_by_a_hair_wins(
    succession: Succession, client: MlflowClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = crown(succession, 1)
    late = Succession(name, client)
    # It looked just before the other move was appended.
    monkeypatch.setattr(late, "settle", lambda: (since, []))
    succession.move("promote", 2, since, "better")
    with pytest.raises(OvertakenError):
        late.move("promote", 3, since, "better as well")
    assert aliases(client, name) == (2, 1)
    assert [entry.version for entry in succession.entries()] == [1, 2, 3]
    assert succession.settle()[0].champion == 2


@pytest.mark.parametrize("writes", range(7))
def test_a_move_cut_short_is_done_wholly_or_not_at_all(
    writes: int, succession: Succession, client: MlflowClient, name: str
) -> None:
    since = crown(succession, 1, 2)
    # Writes: mark, entry, previous, champion, applied, unmark.
    dying = Succession(name, Dying(client, writes))  # type: ignore[arg-type]
    if writes < 6:
        with pytest.raises(Killed):
            dying.move("promote", 3, since, "better")
    else:
        dying.move("promote", 3, since, "better")
    head, notes = succession.settle()
    done = writes >= 2
    assert head.champion == (3 if done else 2)
    assert aliases(client, name) == ((3, 2) if done else (2, 1))
    assert bool(notes) == (2 <= writes < 5)
    assert all("half-way" in note and "Version 3 was promoted" in note for note in notes)
    assert succession.settle() == (head, [])


def test_a_late_write_of_a_killed_process_is_undone(
    succession: Succession, client: MlflowClient, name: str
) -> None:
    crown(succession, 1, 2, 3)
    # It was about to set the aliases of the entry before, slept, wrote, and was killed.
    client.set_registered_model_tag(history_name(name), "moving.killed", str(time.time()))
    client.set_registered_model_alias(name, CHAMPION, "2")
    head, notes = succession.settle()
    assert (head.champion, aliases(client, name)) == (3, (3, 2))
    assert len(notes) == 1


def test_an_old_mark_is_forgotten(succession: Succession, client: MlflowClient, name: str) -> None:
    crown(succession, 1)
    client.set_registered_model_tag(history_name(name), "moving.killed", str(time.time() - 3600))
    client.set_registered_model_tag(history_name(name), "moving.alive", str(time.time()))
    succession.settle()
    assert list(client.get_registered_model(history_name(name)).tags) == ["moving.alive"]


def test_an_alias_moved_by_hand_is_taken_over_not_reverted(
    succession: Succession, client: MlflowClient, name: str
) -> None:
    since = crown(succession, 1, 2, 3)
    client.set_registered_model_alias(name, CHAMPION, "2")
    head, notes = succession.settle()
    assert (head.champion, head.former) == (2, (1,))
    assert notes == [f"{name}: The alias champion was moved outside this history, to version 2."]
    assert aliases(client, name) == (2, 1)
    with pytest.raises(OvertakenError):
        succession.move("promote", 4, since, "better")


def test_a_lost_alias_previous_is_set_again(
    succession: Succession, client: MlflowClient, name: str
) -> None:
    crown(succession, 1, 2)
    client.delete_registered_model_alias(name, PREVIOUS)
    _, notes = succession.settle()
    assert aliases(client, name) == (2, 1)
    assert len(notes) == 1


def test_a_registered_model_from_before_the_history_keeps_its_aliases(
    succession: Succession, client: MlflowClient, name: str
) -> None:
    client.set_registered_model_alias(name, CHAMPION, "3")
    client.set_registered_model_alias(name, PREVIOUS, "1")
    head, notes = succession.settle()
    assert (head.champion, head.former, aliases(client, name)) == (3, (1,), (3, 1))
    assert notes[0].endswith("to version 3. The history begins here.")


def test_a_champion_that_was_deleted_is_champion_no_more(
    succession: Succession, client: MlflowClient, name: str
) -> None:
    crown(succession, 1, 2, 3)
    client.delete_model_version(name, "3")
    client.delete_model_version(name, "1")
    head, notes = succession.settle()
    assert (head.champion, len(notes)) == (0, 1)
    assert aliases(client, name) == (0, 2)
    succession.move("rollback", 2, head, "3 is gone")
    assert aliases(client, name) == (2, 0)


def test_entries_deleted_from_the_registry_do_not_bring_back_an_old_champion(
    succession: Succession, client: MlflowClient, name: str
) -> None:
    crown(succession, 1, 2, 3)
    client.delete_model_version(history_name(name), "2")
    assert succession.settle()[0].champion == 3
    assert aliases(client, name) == (3, 2)


def test_a_promoted_challenger_is_challenger_no_more(
    succession: Succession, client: MlflowClient, name: str
) -> None:
    since = crown(succession, 1)
    succession.challenge(2)
    succession.move("promote", 2, since, "better")
    assert aliases(client, name) == (2, 1)
    assert CHALLENGER not in client.get_registered_model(name).aliases


def test_of_threads_that_promote_at_once_one_wins(
    succession: Succession, client: MlflowClient, name: str
) -> None:
    since = crown(succession, 1)
    together, won, lost = threading.Barrier(3), [], []

    def promote(version: int) -> None:
        together.wait()
        try:
            won.append(Succession(name, client).move("promote", version, since, "better"))
        except OvertakenError:
            lost.append(version)

    threads = [threading.Thread(target=promote, args=(version,)) for version in (2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = won
    assert sorted([winner.version, *lost]) == [2, 3, 4]
    assert aliases(client, name) == (winner.version, 1)
    assert succession.settle()[0].number == winner.number


def test_a_refusal_is_written_down_and_moves_nothing(
    succession: Succession, client: MlflowClient, name: str
) -> None:
    since = crown(succession, 1)
    succession.record("refuse", 2, since, "p = 0.4", "run")
    succession.move("promote", 3, since, "better")
    assert told(succession) == [("register", 1), ("refuse", 1), ("promote", 3)]
    assert aliases(client, name) == (3, 1)


def test_an_entry_says_who_when_and_why_and_stands_readable_in_the_registry(
    succession: Succession, client: MlflowClient, name: str
) -> None:
    entry = crown(succession, 1)
    assert "@" in entry.by
    assert entry.at.endswith("Z")
    version = client.get_model_version(history_name(name), "1")
    assert version.description == "Version 1 is the first champion. better"
    assert version.source == f"models:/{name}/1"


def test_of_a_model_that_is_not_there_it_says_how_to_make_one(client: MlflowClient) -> None:
    with pytest.raises(ValueError, match=r"no registered model 'absent'.*register=absent"):
        Succession("absent", client).settle()


def test_a_version_that_somebody_put_into_the_history_is_passed_over(
    succession: Succession, client: MlflowClient, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    crown(succession, 1)
    client.create_model_version(f"{name}.history", "somewhere/model")
    assert succession.settle()[0].champion == 1
    assert told(succession) == [("register", 1)]
    assert "is no entry and is passed over" in caplog.text


def test_a_model_made_again_under_its_name_has_no_champions_of_the_former_one(
    succession: Succession, client: MlflowClient, name: str
) -> None:
    crown(succession, 1, 2)
    client.delete_registered_model(name)
    # Another millisecond, of which the registry counts.
    time.sleep(0.01)
    make_versions(client, name, 2)
    again = Succession(name, client)
    head, repaired = again.settle()
    assert (head.champion, head.former, repaired) == (0, (), [])
    assert told(again) == []
    crown(again, 2)
    assert told(again) == [("register", 2)]
    assert aliases(client, name) == (2, 0)
