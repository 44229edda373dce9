"""Who serves the champion follows its alias, and never stops answering for it."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import mlflow
import pytest
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from landmark_ml.inference.predictor import Predictor
from landmark_ml.registry.history import CHAMPION
from serving.champion import ALIAS, Champion, Loaded, load_version, scratch_folder
from tests.colour_artifact import NAMES, RED, colour_photo, log_artifact

POLL_SECONDS = 0.02
LONGEST = 20.0


@pytest.fixture
def name(tracking_uri: str, request: pytest.FixtureRequest) -> str:
    """Registered model with three versions of one network; the first is champion."""
    name = str(request.node.name)
    client = mlflow.MlflowClient()
    client.create_registered_model(name)
    model = log_artifact(tracking_uri)
    for _ in range(3):
        client.create_model_version(name, f"models:/{model.model_id}", model.run_id)
    point_at(name, 1)
    return name


@pytest.fixture
def watch(name: str, predictor: Predictor) -> Iterator[Callable[..., Champion]]:
    """Start to watch; the network is read once for all tests unless they say otherwise."""

    def load_nothing(version: ModelVersion) -> Loaded:
        return Loaded(predictor, name, int(version.version), "abc")

    def start(load: Callable[[ModelVersion], Loaded] = load_nothing) -> Champion:
        return opened.enter_context(Champion(name, poll_seconds=POLL_SECONDS, load=load))

    with ExitStack() as opened:
        yield start


def point_at(name: str, version: int) -> None:
    mlflow.MlflowClient().set_registered_model_alias(name, ALIAS, str(version))


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(POLL_SECONDS)


def test_the_champion_of_the_registry_answers(name: str, tracking_uri: str) -> None:
    with Champion(name, poll_seconds=POLL_SECONDS) as champion:
        loaded = champion.current
        answer = loaded.predictor.predict([colour_photo(RED)])[0]
        assert (answer["landmark"], loaded.version) == (NAMES[0], 1)
        assert loaded.run_id == log_artifact(tracking_uri).run_id
        assert champion.problem is None


def test_a_moved_alias_is_followed_and_who_holds_the_old_version_keeps_it(
    name: str, watch: Callable[..., Champion]
) -> None:
    champion = watch()
    held = champion.current
    point_at(name, 2)
    wait_until(lambda: champion.current.version == 2)
    assert held.version == 1
    assert held.predictor.predict([colour_photo(RED)])[0]["landmark"] == NAMES[0]
    point_at(name, 1)
    wait_until(lambda: champion.current.version == 1)


def test_the_old_version_answers_while_the_new_one_loads(
    name: str, watch: Callable[..., Champion], predictor: Predictor
) -> None:
    loading, may_end = threading.Event(), threading.Event()

    def load(version: ModelVersion) -> Loaded:
        if int(version.version) == 2:
            loading.set()
            assert may_end.wait(LONGEST)
        return Loaded(predictor, name, int(version.version), "abc")

    champion = watch(load)
    point_at(name, 2)
    assert loading.wait(LONGEST)
    assert champion.current.version == 1
    may_end.set()
    wait_until(lambda: champion.current.version == 2)


def test_no_answer_is_lost_while_the_alias_moves_to_and_fro(
    name: str, watch: Callable[..., Champion]
) -> None:
    champion = watch()
    seen: set[int] = set()
    stop = threading.Event()
    wrong: list[object] = []

    def ask() -> None:
        while not stop.is_set():
            loaded = champion.current
            answer = loaded.predictor.predict([colour_photo(RED)])[0]
            seen.add(loaded.version)
            if answer["landmark"] != NAMES[0]:
                wrong.append(answer)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    for version in (2, 3, 1, 2):
        point_at(name, version)
        wait_until(lambda version=version: champion.current.version == version)  # type: ignore[misc]
    stop.set()
    for asker in askers:
        asker.join()
    assert wrong == []
    assert seen >= {2, 3}


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_and_is_reported(
    name: str, watch: Callable[..., Champion], predictor: Predictor
) -> None:
    tried: list[int] = []

    def load(version: ModelVersion) -> Loaded:
        tried.append(int(version.version))
        if tried == [1, 2, 2]:
            raise RuntimeError("out of memory")
        if tried == [1, 2]:
            raise ValueError("schema version 9")
        return Loaded(predictor, name, int(version.version), "abc")

    champion = watch(load)
    point_at(name, 2)
    wait_until(lambda: champion.problem is not None)
    assert champion.current.version == 1
    assert champion.problem is not None
    assert champion.problem.endswith("version 1 goes on answering")
    wait_until(lambda: champion.current.version == 2)
    wait_until(lambda: champion.problem is None)
    assert tried == [1, 2, 2, 2]


def test_a_missing_alias_leaves_the_old_version_and_is_reported(
    name: str, watch: Callable[..., Champion]
) -> None:
    champion = watch()
    mlflow.MlflowClient().delete_registered_model_alias(name, ALIAS)
    wait_until(lambda: champion.problem is not None)
    assert champion.current.version == 1
    point_at(name, 3)
    wait_until(lambda: champion.current.version == 3)


def test_a_registered_model_made_anew_is_another_even_with_the_same_number(
    name: str, watch: Callable[..., Champion], tracking_uri: str, predictor: Predictor
) -> None:
    loads: list[int] = []

    def load(version: ModelVersion) -> Loaded:
        loads.append(version.creation_timestamp)
        return Loaded(predictor, name, int(version.version), "abc")

    champion = watch(load)
    client, model = mlflow.MlflowClient(), log_artifact(tracking_uri)
    client.delete_registered_model(name)
    client.create_registered_model(name)
    client.create_model_version(name, f"models:/{model.model_id}", model.run_id)
    point_at(name, 1)
    wait_until(lambda: len(loads) == 2)
    assert champion.current.version == 1


def test_after_the_block_the_alias_is_no_longer_followed(name: str) -> None:
    with Champion(name, poll_seconds=POLL_SECONDS) as champion:
        pass
    point_at(name, 2)
    time.sleep(5 * POLL_SECONDS)
    assert champion.current.version == 1


def test_without_a_champion_it_does_not_start(tracking_uri: str) -> None:
    words = r"never-registered cannot be loaded.*transfer model=never-registered$"
    with pytest.raises(ValueError, match=words), Champion("never-registered"):
        pass


def test_a_registry_that_is_away_is_not_taken_for_an_empty_one(
    tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> NoReturn:
        raise MlflowException("the server does not answer")

    monkeypatch.setattr(MlflowClient, "get_model_version_by_alias", away)
    words = r"cannot be loaded: the server does not answer$"
    with pytest.raises(ValueError, match=words), Champion("landmarks"):
        pass


def test_training_and_serving_mean_the_same_alias() -> None:
    assert ALIAS == CHAMPION


def test_a_model_of_another_make_is_refused(tracking_uri: str) -> None:
    client, model = mlflow.MlflowClient(), log_artifact(tracking_uri)
    client.create_registered_model("strange")
    assert model.run_id is not None
    client.log_text(model.run_id, "no model", "strange/readme.txt")
    version = client.create_model_version("strange", f"runs:/{model.run_id}/strange", model.run_id)
    with pytest.raises(ValueError, match="version 1 of strange holds 0 exported networks"):
        load_version(version)


def test_what_a_killed_process_left_in_the_temporary_folder_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "landmark-ml-0123"
    left.mkdir()
    (left / "model.onnx").touch()
    (left / "held.lock").touch()
    with scratch_folder() as held:
        assert list(tmp_path.iterdir()) == [held]
        # That of a living process stays.
        with scratch_folder():
            assert held.is_dir()
    assert list(tmp_path.iterdir()) == []
