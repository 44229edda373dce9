"""The queue: order, batches, its bound, and workers that survive what goes wrong."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, cast

import pytest

from landmark_ml.inference.photos import PhotoError
from serving.app.answering import BATCH, AnswerQueue
from serving.app.uploads import TooBusyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from landmark_ml.inference.predictor import Predictor


class BrokenError(RuntimeError):
    """Unlike those built in, it can be referred to weakly."""


class Echo:
    """Stands for a predictor: answers with the photo itself, once it is let go."""

    def __init__(self, *, held: bool = False) -> None:
        self.go = threading.Event()
        self.started = threading.Event()
        self.batches: list[list[bytes]] = []
        if not held:
            self.go.set()

    def score(self, photos: Sequence[bytes]) -> list[Any]:
        self.started.set()
        assert self.go.wait(10)
        self.batches.append(list(photos))
        if b"fail" in photos:
            raise BrokenError("the network broke")
        return [PhotoError("empty", photo.decode()) for photo in photos]

    @property
    def predictor(self) -> Predictor:
        return cast("Predictor", self)


@pytest.fixture
def queue() -> Iterator[AnswerQueue]:
    made = AnswerQueue(1, 6, lambda _: None)
    yield made
    made.close()


def reasons(found: list[Any]) -> list[str]:
    return [future.result(10).reason for future in found]


def numbers(count: int) -> list[bytes]:
    return [str(index).encode() for index in range(count)]


def test_answers_come_to_those_who_asked(queue: AnswerQueue) -> None:
    echo = Echo().predictor
    asked = [queue.submit(echo, [name.encode()]) for name in "abc"]
    assert [reasons(found) for found in asked] == [["a"], ["b"], ["c"]]


def test_batches_fill_while_photos_wait(queue: AnswerQueue) -> None:
    echo = Echo(held=True)
    first = queue.submit(echo.predictor, [b"first"])
    assert echo.started.wait(10)
    rest = queue.submit(echo.predictor, numbers(6))
    echo.go.set()
    assert reasons(first + rest) == ["first", *"012345"]
    assert [len(batch) for batch in echo.batches] == [1, BATCH, 6 - BATCH]


def test_a_full_queue_asks_to_come_again(queue: AnswerQueue) -> None:
    echo = Echo(held=True)
    first = queue.submit(echo.predictor, [b"first"])
    assert echo.started.wait(10)
    # One request of many photos is taken when nothing waits: it would never fit otherwise.
    many = queue.submit(echo.predictor, numbers(9))
    with pytest.raises(TooBusyError, match="9 photos are waiting already"):
        queue.submit(echo.predictor, [b"late"])
    assert len(queue) == 9
    echo.go.set()
    assert len(reasons(first + many)) == 10
    assert reasons(queue.submit(echo.predictor, [b"late"])) == ["late"]


def test_two_versions_never_share_a_batch(queue: AnswerQueue) -> None:
    held, old, new = Echo(held=True), Echo(), Echo()
    first = queue.submit(held.predictor, [b"first"])
    assert held.started.wait(10)
    found = queue.submit(old.predictor, [b"a", b"b"]) + queue.submit(new.predictor, [b"c"])
    held.go.set()
    assert reasons(first + found) == ["first", "a", "b", "c"]
    assert (old.batches, new.batches) == ([[b"a", b"b"]], [[b"c"]])


def test_what_goes_wrong_reaches_those_who_wait_and_the_worker_goes_on(queue: AnswerQueue) -> None:
    echo = Echo().predictor
    (found,) = queue.submit(echo, [b"fail"])
    with pytest.raises(RuntimeError, match="the network broke"):
        found.result(10)
    assert reasons(queue.submit(echo, [b"next"])) == ["next"]


def test_photos_nobody_waits_for_are_left_out(queue: AnswerQueue) -> None:
    echo = Echo(held=True)
    first = queue.submit(echo.predictor, [b"first"])
    assert echo.started.wait(10)
    gone, kept = queue.submit(echo.predictor, [b"gone", b"kept"])
    assert gone.cancel()
    echo.go.set()
    assert reasons([*first, kept]) == ["first", "kept"]
    assert [b"gone"] not in echo.batches
    assert [b"kept"] in echo.batches


@pytest.mark.parametrize("photo", [b"photo", b"fail"])
def test_an_idle_worker_keeps_nothing_alive(photo: bytes, queue: AnswerQueue) -> None:
    echo = Echo()
    (found,) = queue.submit(echo.predictor, [photo])
    kept: list[weakref.ref[Any]] = [weakref.ref(echo), weakref.ref(found)]
    # The future belongs to the job, which holds the photo; bytes know no weak references.
    kept.append(weakref.ref(found.exception(10) or found.result()))
    del echo, found
    assert are_gone(kept)


def test_an_idle_worker_keeps_nothing_that_was_cancelled(queue: AnswerQueue) -> None:
    held, echo = Echo(held=True), Echo()
    first = queue.submit(held.predictor, [b"first"])
    assert held.started.wait(10)
    (gone,) = queue.submit(echo.predictor, [b"gone"])
    assert gone.cancel()
    kept: list[weakref.ref[Any]] = [weakref.ref(echo), weakref.ref(gone)]
    del echo, gone
    held.go.set()
    assert reasons(first) == ["first"]
    assert are_gone(kept)


def are_gone(kept: list[weakref.ref[Any]]) -> bool:
    """Whether all die soon: a worker answers shortly before it lets go."""
    end = time.monotonic() + 5
    while any(ref() is not None for ref in kept) and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    return all(ref() is None for ref in kept)
