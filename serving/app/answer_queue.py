"""Photos that wait for the network: a bounded queue, taken in batches by a thread a core."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from landmark_ml.inference.photos import PhotoError
from landmark_ml.inference.predictor import Predictor, Scores
from serving.app.refusals import TooBusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Found: TypeAlias = Scores | PhotoError

BATCH = 4
"""Most photos of a batch; the predictor shares them out over its threads by twos."""


@dataclass
class _Job:
    predictor: Predictor
    photo: bytes
    found: Future[Found] = field(default_factory=Future)


class AnswerQueue:
    """Scores of photos, computed by `workers` threads in the order the photos came.

    A worker takes what waits, up to a batch, and never waits for more: alone, a photo is answered
    at once; under load, batches fill by themselves. on_batch is called with each batch's size.
    """

    def __init__(self, workers: int, most_waiting: int, on_batch: Callable[[int], None]) -> None:
        self._waiting: deque[_Job] = deque()
        self._most_waiting = most_waiting
        self._on_batch = on_batch
        self._changed = threading.Condition()
        self._closed = False
        self._workers = [
            threading.Thread(target=self._work, name=f"answer-{number}", daemon=True)
            for number in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, predictor: Predictor, photos: Sequence[bytes]) -> list[Future[Found]]:
        """What will be found of each photo; cancel those nobody waits for any more.

        Raises TooBusyError when they do not all fit into the queue.
        """
        jobs = [_Job(predictor, photo) for photo in photos]
        with self._changed:
            # An empty queue takes any request, so that one of many photos is not refused for ever.
            if self._closed or (
                self._waiting and len(self._waiting) + len(jobs) > self._most_waiting
            ):
                raise TooBusyError(f"{len(self._waiting)} photos wait already")
            self._waiting.extend(jobs)
            self._changed.notify(len(jobs))
        return [job.found for job in jobs]

    def close(self) -> None:
        """Answer what waits, then end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()

    def _work(self) -> None:
        while batch := self._take():
            self._answer(batch)
            # Photos and answers must not live on while the thread waits: what else holds them are
            # locals of methods that have ended.
            del batch

    def _answer(self, batch: list[_Job]) -> None:
        self._on_batch(len(batch))
        try:
            found = batch[0].predictor.score([job.photo for job in batch])
        # Whatever went wrong belongs to those who wait, and the thread must go on.
        except Exception as error:
            for job in batch:
                job.found.set_exception(error)
        else:
            for job, scores in zip(batch, found, strict=True):
                job.found.set_result(scores)

    def _take(self) -> list[_Job]:
        """Jobs of one predictor, at least one; none when the queue is closed and empty."""
        with self._changed:
            while True:
                while not self._waiting:
                    if self._closed:
                        return []
                    self._changed.wait()
                if batch := self._pop():
                    return batch

    def _pop(self) -> list[_Job]:
        """The next jobs of one predictor; none when nobody waits for them any more."""
        batch: list[_Job] = []
        predictor = self._waiting[0].predictor
        while self._waiting and len(batch) < BATCH and self._waiting[0].predictor is predictor:
            job = self._waiting.popleft()
            if job.found.set_running_or_notify_cancel():
                batch.append(job)
        return batch
