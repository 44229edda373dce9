"""The history decides who is champion, and the aliases follow it: one move wins, half-done ones are
finished, manual ones kept; whatever the order of calls, and wherever a process dies.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from benchmarks.databases import PostgresServer
from landmark_ml.registry.history import (
    CHALLENGER,
    CHAMPION,
    MOST_FORMER,
    PREVIOUS,
    AliasHistory,
    ConflictError,
    Entry,
    counted,
    history_name,
)
from tests.registry.memory_registry import MemoryRegistry
from tests.registry.registered_models import (
    Dying,
    Killed,
    aliases,
    crown,
    kinds,
    make_versions,
)


@pytest.fixture(scope="module")
def postgres_uri(postgres: PostgresServer) -> str:
    return postgres.create_database("alias_history")


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
    """Registry with a model of four versions and no champion."""
    registry: Any = MemoryRegistry()
    if request.param != "memory":
        wanted = {"sqlite": "tracking_uri", "postgres": "postgres_uri"}[request.param]
        uri = request.getfixturevalue(wanted)
        registry = MlflowClient(tracking_uri=uri, registry_uri=uri)
    make_versions(registry, name, 4)
    return registry  # type: ignore[no-any-return]


@pytest.fixture
def history(name: str, client: MlflowClient) -> AliasHistory:
    return AliasHistory(name, client)


def test_each_promotion_sets_champion_and_previous(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    head = crown(history, 1, 3, 2)
    assert aliases(client, name) == (2, 3)
    assert (head.champion, head.former) == (2, (1, 3))
    assert kinds(history) == [("register", 1), ("promote", 3), ("promote", 2)]


def test_rolling_back_twice_goes_back_two_champions(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    head = crown(history, 1, 2, 3)
    history.move("rollback", 2, head, "it tagged cats")
    assert aliases(client, name) == (2, 1)
    head, _ = history.reconcile()
    history.move("rollback", 1, head, "still cats")
    assert aliases(client, name) == (1, 0)
    assert [entry.reason for entry in history.entries()][-2:] == ["it tagged cats", "still cats"]


def test_rolling_back_to_one_that_was_champion_twice_keeps_the_way_further_back(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    head = crown(history, 1, 2, 1, 3)
    history.move("rollback", 1, head, "3 is worse")
    assert aliases(client, name) == (1, 2)
    head, _ = history.reconcile()
    assert head.former == (1, 2)
    history.move("rollback", 2, head, "1 was worse as well")
    assert aliases(client, name) == (2, 0)


def test_a_move_judged_against_a_former_champion_is_refused(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    since = crown(history, 1)
    history.move("promote", 2, since, "better")
    with pytest.raises(ConflictError, match=r"version 3 .*first: Version 2 was promoted. better"):
        history.move("promote", 3, since, "better as well")
    assert aliases(client, name) == (2, 1)


def test_of_two_moves_with_the_same_base_the_first_entry_wins(
    history: AliasHistory, client: MlflowClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = crown(history, 1)
    late = AliasHistory(name, client)
    # It looked just before the other move was appended.
    monkeypatch.setattr(late, "reconcile", lambda: (since, []))
    history.move("promote", 2, since, "better")
    with pytest.raises(ConflictError):
        late.move("promote", 3, since, "better as well")
    assert aliases(client, name) == (2, 1)
    assert [entry.version for entry in history.entries()] == [1, 2, 3]
    assert history.reconcile()[0].champion == 2


@pytest.mark.parametrize("writes", range(6))
def test_a_killed_move_is_done_completely_or_not_at_all(
    writes: int, history: AliasHistory, client: MlflowClient, name: str
) -> None:
    since = crown(history, 1, 2)
    # Writes: mark, entry, previous, champion, unmark.
    dying = AliasHistory(name, Dying(client, writes))  # type: ignore[arg-type]
    if writes < 5:
        with pytest.raises(Killed):
            dying.move("promote", 3, since, "better")
    else:
        dying.move("promote", 3, since, "better")
    head, notes = history.reconcile()
    done = writes >= 2
    assert head.champion == (3 if done else 2)
    assert aliases(client, name) == ((3, 2) if done else (2, 1))
    assert bool(notes) == (2 <= writes < 4)
    assert all("left half-way" in note and "Version 3 was promoted" in note for note in notes)
    assert history.reconcile() == (head, [])


def test_a_late_write_of_a_killed_process_is_undone(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    crown(history, 1, 2, 3)
    # It was about to set the aliases of the entry before, slept, wrote, and was killed.
    client.set_registered_model_tag(history_name(name), "moving.killed", str(time.time()))
    client.set_registered_model_alias(name, CHAMPION, "2")
    head, notes = history.reconcile()
    assert (head.champion, aliases(client, name)) == (3, (3, 2))
    assert len(notes) == 1


def test_an_old_mark_is_removed(history: AliasHistory, client: MlflowClient, name: str) -> None:
    crown(history, 1)
    client.set_registered_model_tag(history_name(name), "moving.killed", str(time.time() - 3600))
    client.set_registered_model_tag(history_name(name), "moving.alive", str(time.time()))
    history.reconcile()
    assert list(client.get_registered_model(history_name(name)).tags) == ["moving.alive"]


def test_an_alias_moved_by_hand_is_recorded_and_kept(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    since = crown(history, 1, 2, 3)
    client.set_registered_model_alias(name, CHAMPION, "2")
    head, notes = history.reconcile()
    assert (head.champion, head.former) == (2, (1,))
    assert notes == [f"{name}: The alias champion was moved outside this history, to version 2."]
    assert aliases(client, name) == (2, 1)
    with pytest.raises(ConflictError):
        history.move("promote", 4, since, "better")


def test_a_lost_alias_previous_is_set_again(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    crown(history, 1, 2)
    client.delete_registered_model_alias(name, PREVIOUS)
    _, notes = history.reconcile()
    assert aliases(client, name) == (2, 1)
    assert len(notes) == 1


def test_a_registered_model_from_before_the_history_keeps_its_aliases(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    client.set_registered_model_alias(name, CHAMPION, "3")
    client.set_registered_model_alias(name, PREVIOUS, "1")
    head, notes = history.reconcile()
    assert (head.champion, head.former, aliases(client, name)) == (3, (1,), (3, 1))
    assert notes[0].endswith("to version 3. The history begins here.")


def test_a_deleted_champion_is_not_champion_any_more(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    crown(history, 1, 2, 3)
    client.delete_model_version(name, "3")
    client.delete_model_version(name, "1")
    head, notes = history.reconcile()
    assert (head.champion, len(notes)) == (0, 1)
    assert aliases(client, name) == (0, 2)
    history.move("rollback", 2, head, "3 is gone")
    assert aliases(client, name) == (2, 0)


def test_entries_deleted_from_the_registry_do_not_bring_back_an_old_champion(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    crown(history, 1, 2, 3)
    client.delete_model_version(history_name(name), "2")
    assert history.reconcile()[0].champion == 3
    assert aliases(client, name) == (3, 2)


def test_a_promoted_challenger_loses_the_alias_challenger(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    since = crown(history, 1)
    history.set_challenger(2)
    history.move("promote", 2, since, "better")
    assert aliases(client, name) == (2, 1)
    assert CHALLENGER not in client.get_registered_model(name).aliases


def test_a_history_written_by_an_older_version_is_read_and_continued(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    """Entries as they were written before: marked `applied`, the first without `model_made`."""
    client.create_registered_model(history_name(name))
    for number, (kind, version, former) in enumerate(
        [("register", 1, ""), ("promote", 3, "1"), ("promote", 2, "1,3")]
    ):
        tags = {
            "kind": kind,
            "version": str(version),
            "champion": str(version),
            "former": former,
            "based_on": str(number),
            "reason": "better",
            "receipt": "run",
            "by": "me@host",
            "at": "2025-01-02T03:04:05Z",
            "ticket": f"{number:032x}",
            "applied": "true",
        }
        client.create_model_version(history_name(name), f"models:/{name}/{version}", tags=tags)
    client.set_registered_model_alias(name, CHAMPION, "2")
    client.set_registered_model_alias(name, PREVIOUS, "3")
    head, notes = history.reconcile()
    assert (head.champion, head.former, head.by, notes) == (2, (1, 3), "me@host", [])
    history.move("rollback", 3, head, "it tagged cats")
    assert aliases(client, name) == (3, 1)
    assert kinds(history)[-2:] == [("promote", 2), ("rollback", 3)]


def test_when_threads_promote_at_once_one_wins(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    since = crown(history, 1)
    together, won, lost = threading.Barrier(3), [], []

    def promote(version: int) -> None:
        together.wait()
        try:
            won.append(AliasHistory(name, client).move("promote", version, since, "better"))
        except ConflictError:
            lost.append(version)

    threads = [threading.Thread(target=promote, args=(version,)) for version in (2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = won
    assert sorted([winner.version, *lost]) == [2, 3, 4]
    assert aliases(client, name) == (winner.version, 1)
    assert history.reconcile()[0].number == winner.number


def test_a_refusal_is_written_down_and_moves_nothing(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    since = crown(history, 1)
    history.log_refusal(2, since, "p = 0.4", "run")
    history.move("promote", 3, since, "better")
    assert kinds(history) == [("register", 1), ("refuse", 1), ("promote", 3)]
    assert aliases(client, name) == (3, 1)


def test_an_entry_says_who_when_and_why_and_is_readable_in_the_registry(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    entry = crown(history, 1)
    assert "@" in entry.by
    assert entry.at.endswith("Z")
    version = client.get_model_version(history_name(name), "1")
    assert version.description == "Version 1 is the first champion. better"
    assert version.source == f"models:/{name}/1"


def test_a_missing_model_is_reported_with_how_to_train_one(client: MlflowClient) -> None:
    with pytest.raises(ValueError, match=r"no registered model 'absent'.*transfer model=absent"):
        AliasHistory("absent", client).reconcile()


def test_a_model_registered_under_the_name_of_the_history_is_ignored(
    history: AliasHistory, client: MlflowClient, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    crown(history, 1)
    client.create_model_version(f"{name}.history", "somewhere/model")
    assert history.reconcile()[0].champion == 1
    assert kinds(history) == [("register", 1)]
    assert "is not an entry: ignored" in caplog.text


def test_a_model_created_again_under_its_name_starts_a_new_history(
    history: AliasHistory, client: MlflowClient, name: str
) -> None:
    crown(history, 1, 2)
    client.delete_registered_model(name)
    # Another millisecond, of which the registry counts.
    time.sleep(0.01)
    make_versions(client, name, 2)
    again = AliasHistory(name, client)
    head, repaired = again.reconcile()
    assert (head.champion, head.former, repaired) == (0, (), [])
    assert kinds(again) == []
    crown(again, 2)
    assert kinds(again) == [("register", 2)]
    assert aliases(client, name) == (2, 0)


NAME = "made_up"


def test_an_entry_lists_as_many_former_champions_as_anybody_will_roll_back() -> None:
    registry: Any = MemoryRegistry()
    make_versions(registry, NAME, 2)
    history = AliasHistory(NAME, registry)
    head = crown(history, *[1 + number % 2 for number in range(MOST_FORMER + 20)])
    assert len(head.former) == MOST_FORMER
    assert aliases(registry, NAME) == (head.champion, head.former[-1])


SWITCH_CHANCE = 0.15


class Turns:
    """Lets one thread at a time make one call of the registry, in a random order."""

    def __init__(self, registry: MemoryRegistry, seed: int, kill_chance: float) -> None:
        self._registry = registry
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._kill_chance = kill_chance
        self._waiting: dict[str, tuple[threading.Event, list[bool]]] = {}
        self._changed = threading.Condition()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._registry, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            turn, killed = threading.Event(), [False]
            with self._changed:
                self._waiting[threading.current_thread().name] = turn, killed
                self._changed.notify()
            turn.wait()
            if killed[0]:
                raise Killed
            return method(*args, **kwargs)

        return call

    def run(self, *commands: Callable[[], object]) -> None:
        """Run commands side by side until all have ended."""
        alive, chosen = len(commands), ""

        def run_one(command: Callable[[], object]) -> None:
            nonlocal alive
            with contextlib.suppress(Killed, ConflictError):
                command()
            with self._changed:
                alive -= 1
                self._changed.notify()

        threads = [
            threading.Thread(target=run_one, args=(command,), name=str(number))
            for number, command in enumerate(commands)
        ]
        for thread in threads:
            thread.start()
        with self._changed:
            while True:
                self._changed.wait_for(lambda: len(self._waiting) == alive)
                if not alive:
                    break
                # Most often the same thread goes on, so that another one sleeps for long.
                if chosen not in self._waiting or self._random.random() < SWITCH_CHANCE:
                    chosen = self._random.choice(sorted(self._waiting))
                turn, killed = self._waiting.pop(chosen)
                killed[0] = self._random.random() < self._kill_chance
                turn.set()
        for thread in threads:
            thread.join()


def promote(registry: Any, version: int, since: Entry | None, won: list[int]) -> None:
    """Promote a version, judged under an entry or under the last one; `won` gets it when it won."""
    history = AliasHistory(NAME, registry)
    history.move("promote", version, since or history.reconcile()[0], "better")
    won.append(version)


@pytest.mark.parametrize("kill_chance", [0.0, 0.03])
def test_no_order_of_calls_loses_a_move_or_leaves_the_aliases_wrong(kill_chance: float) -> None:
    for seed in range(150):
        registry: Any = MemoryRegistry()
        make_versions(registry, NAME, 4)
        since = crown(AliasHistory(NAME, registry), 1, 2)
        turns: Any = Turns(registry, seed, kill_chance)
        won: list[int] = []

        turns.run(
            partial(promote, turns, 3, since, won),
            partial(promote, turns, 4, None, won),
            AliasHistory(NAME, turns).reconcile,
        )
        if not kill_chance:
            assert AliasHistory(NAME, registry).reconcile()[1] == [], seed
        history = AliasHistory(NAME, registry)
        head, _ = history.reconcile()
        moves = counted(history.entries())
        assert {entry.kind for entry in moves} <= {"register", "promote"}, seed
        assert set(won) <= {entry.version for entry in moves}, seed
        assert aliases(registry, NAME) == (head.champion, head.former[-1]), seed
        assert head == moves[-1], seed
