"""Read the photos of a request and answer them, within the limits of time, queue and memory."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from landmark_ml.config import AppConfig
from landmark_ml.inference.photos import DEFAULT_LIMITS, PhotoError, check_bytes
from landmark_ml.inference.predictor import Predictor, Scores
from landmark_ml.inference.runtime import usable_cpus
from serving.app.answers import (
    Answers,
    Landmarks,
    Model,
    PhotoAnswer,
    RunLinks,
    answer_photo,
    describe_model,
    known_landmarks,
)
from serving.champion import Champion, Loaded

if TYPE_CHECKING:
    from serving.app.application import Metrics


Found: TypeAlias = Scores | PhotoError

STOP_SECONDS = 5.0
_CLIENT_GONE = 499
"""Not an HTTP status; nginx made it common in logs."""


class Answering:
    """Answers each request with the version that is champion when its photos have arrived."""

    def __init__(
        self,
        champion: Champion,
        config: AppConfig,
        metrics: Metrics,
        run_url: Callable[[str], str],
    ) -> None:
        self._champion = champion
        self._config = config
        self._metrics = metrics
        self._links = RunLinks(run_url)
        # Looked up now, so that the first answer already has it.
        self._links.get(champion.current.run_id)
        self._memory = Memory(config.max_memory)
        # One more than cores, so that a photo is decoded while the network computes the others.
        workers = (config.threads or usable_cpus()) + 1
        self._queue = AnswerQueue(workers, config.max_waiting)
        metrics.watch(
            "landmarks_waiting_photos", "Photos that wait for an answer.", lambda: len(self._queue)
        )
        metrics.watch("landmarks_upload_bytes", "Bytes of photos held.", lambda: self._memory.held)
        metrics.watch(
            "landmarks_model_version", "Version that answers.", lambda: champion.current.version
        )

    def model(self) -> Model:
        """Describe the version that answers now."""
        return self._describe(self._champion.current)

    def landmarks(self) -> Landmarks:
        """List what the version that answers now knows."""
        loaded = self._champion.current
        return Landmarks(model=self._describe(loaded), landmarks=known_landmarks(loaded))

    async def answer(self, request: Request, top_k: int, threshold: float | None) -> Answers:
        """Answer the photos of a request, all with one version.

        Raises HTTPException when the request is too large, too slow or cannot be read.
        """
        with self._memory.share() as hold:
            uploads = await self._read(request, hold)
            loaded = self._champion.current
            found = await self._score(loaded.predictor, uploads)
        answers = [
            answer_photo(upload.name, loaded, item, top_k, threshold)
            for upload, item in zip(uploads, found, strict=True)
        ]
        # By the model's own threshold: the page asks with 0 and applies the user's itself.
        own = loaded.predictor.metadata.threshold

        def told(answer: PhotoAnswer) -> str:
            if answer["error"]:
                return answer["error"]["code"]
            return (answer["level"] or "none") if (answer["landmark_score"] or 0) >= own else "none"

        outcomes = Counter(map(told, answers))
        for outcome, count in outcomes.items():
            self._metrics.photos.labels(outcome).inc(count)
        facts: dict[str, Any] = request.scope.get("state", {}).get("log", {})
        facts.update(photos=len(answers), outcomes=dict(outcomes), version=loaded.version)
        return Answers(model=self._describe(loaded), photos=answers)

    def close(self) -> None:
        """Stop; photos in progress do not delay it beyond STOP_SECONDS."""
        self._queue.close(STOP_SECONDS)

    async def _read(self, request: Request, hold: Callable[[int], None]) -> list[Upload]:
        config = self._config
        # A request over the memory limit could never be held, so "try again" would be wrong.
        max_body = min(config.max_body, config.max_memory)
        try:
            async with asyncio.timeout(config.timeout):
                return await read_uploads(request, max_body, config.max_photos, hold)
        except TimeoutError:
            reason = f"the upload took over {config.timeout:g} s; send fewer or smaller photos"
            raise HTTPException(408, reason, {"Connection": "close"}) from None
        except ClientDisconnect:
            # Nobody reads this answer; it is for the log and the counters.
            raise HTTPException(_CLIENT_GONE, "the client went away") from None

    async def _score(self, predictor: Predictor, uploads: Sequence[Upload]) -> list[Found]:
        photos = [upload.take() for upload in uploads if not upload.too_large]
        jobs = self._queue.submit(predictor, photos)
        try:
            async with asyncio.timeout(self._config.timeout):
                found = iter([await asyncio.wrap_future(job) for job in jobs])
        except TimeoutError:
            raise TooBusyError(f"the answer took over {self._config.timeout:g} s") from None
        finally:
            for job in jobs:
                job.cancel()
        results: list[Found] = []
        for upload in uploads:
            try:
                check_bytes(upload.size)
                results.append(next(found))
            except PhotoError as error:
                results.append(error)
        return results

    def _describe(self, loaded: Loaded) -> Model:
        return describe_model(self._config.model, loaded, self._links.get(loaded.run_id))


@dataclass
class _Job:
    predictor: Predictor
    photo: bytes
    found: Future[Found] = field(default_factory=Future)


class AnswerQueue:
    """Scores photos one by one on `workers` threads, in the order they came."""

    def __init__(self, workers: int, max_waiting: int) -> None:
        self._waiting: deque[_Job] = deque()
        self._max_waiting = max_waiting
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
        """Queue photos and give a future for each; cancel the futures that nobody waits for.

        Raises TooBusyError when they do not all fit into the queue.
        """
        jobs = [_Job(predictor, photo) for photo in photos]
        with self._changed:
            waiting = len(self._waiting)
            # An empty queue takes any request, or one with many photos would never be answered.
            if self._closed or (waiting and waiting + len(jobs) > self._max_waiting):
                raise TooBusyError(f"{waiting} photos are waiting already")
            self._waiting.extend(jobs)
            self._changed.notify(len(jobs))
        return [job.found for job in jobs]

    def close(self, seconds: float) -> None:
        """Cancel the photos that wait, and give the threads this many seconds to end.

        A photo that takes longer ends with the process.
        """
        end = time.monotonic() + seconds
        with self._changed:
            self._closed = True
            for job in self._waiting:
                job.found.cancel()
            self._changed.notify_all()
        for worker in self._workers:
            worker.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while job := self._take():
            self._answer(job)
            # Frees photo and answer while the thread waits. Everything else that holds them is a
            # local variable of a method that has ended.
            del job

    def _answer(self, job: _Job) -> None:
        try:
            (found,) = job.predictor.score([job.photo])
        # The error belongs to those who wait, and the thread must go on.
        except Exception as error:
            job.found.set_exception(error)
        else:
            job.found.set_result(found)

    def _take(self) -> _Job | None:
        """Wait for a job that somebody waits for; None when the queue is closed and empty."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return None
                job = self._waiting.popleft()
                if job.found.set_running_or_notify_cancel():
                    return job
                # As in `_work`.
                del job


RETRY_SECONDS = 2
_MAX_NAME = 255


class TooBusyError(HTTPException):
    """More work than the queue or the memory holds. The client may try again."""

    def __init__(self, reason: str) -> None:
        super().__init__(503, f"{reason}; try again", {"Retry-After": str(RETRY_SECONDS)})


class Memory:
    """Counts the bytes of photos that all requests together hold."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    @contextlib.contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Give one request a function that holds more bytes, and release them at the end.

        The function raises TooBusyError when the limit is reached.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if self.held + size > self.limit:
                raise TooBusyError("too many photos are being uploaded")
            self.held += size
            held += size

        try:
            yield hold
        finally:
            self.held -= held


@dataclass
class Upload:
    """One photo, under the name the client gave it. Bytes over the photo limit are not kept."""

    name: str | None = None
    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, data: bytes) -> None:
        """Add bytes as they arrive, and drop them all once there are too many."""
        self.size += len(data)
        if self.too_large:
            self.parts = []
        elif data:
            self.parts.append(data)

    @property
    def too_large(self) -> bool:
        """Whether it has more bytes than a photo may have."""
        return self.size > DEFAULT_LIMITS.max_bytes

    def take(self) -> bytes:
        """Give the photo's bytes away; they are not kept here, so memory holds them only once."""
        parts, self.parts = self.parts, []
        return b"".join(parts)


async def read_uploads(
    request: Request, max_body: int, max_photos: int, hold: Callable[[int], None]
) -> list[Upload]:
    """Read the photos of a multipart form, or the body as one photo.

    hold: called with the size of each part as it arrives. Raises HTTPException: 413 for too
    many bytes or photos, 400 for a form that cannot be read, and whatever `hold` raises.
    """
    reason = f"the request has more than {max_body:,} bytes; send fewer or smaller photos"
    # With this header the server closes the connection instead of reading what still arrives.
    too_large = HTTPException(413, reason, {"Connection": "close"})
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > max_body:
        raise too_large
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    form, body = None, Upload()
    if kind == b"multipart/form-data":
        form = _Form(options.get(b"boundary", b""), max_photos)
    feed = form.feed if form else body.add
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_body:
            raise too_large
        hold(len(chunk))
        feed(chunk)
    if not form and not body.size:
        raise HTTPException(400, "the request has no photo; send one as the body, or a form")
    return form.end() if form else [body]


class _Form:
    """Files of a multipart form, whatever their fields are called.

    A field that is not a file is refused. Parameters belong in the address, and a parameter sent
    here would silently have no effect.
    """

    def __init__(self, boundary: bytes, max_photos: int) -> None:
        if not boundary:
            raise HTTPException(400, "the form has no boundary; send it as multipart/form-data")
        self._uploads: list[Upload] = []
        self._max_photos = max_photos
        self._header, self._value = b"", b""
        self._field: bytes | None = None
        self._complete = False
        with _refuse_unreadable():
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_end,
                    "on_part_data": self._data,
                    "on_end": self._end,
                },
            )

    def feed(self, chunk: bytes) -> None:
        with _refuse_unreadable():
            self._parser.write(chunk)

    def end(self) -> list[Upload]:
        if not self._complete:
            raise HTTPException(400, "the form is cut short; send it again")
        if not self._uploads:
            raise HTTPException(400, "the form has no files; add at least one photo")
        return self._uploads

    def _begin(self) -> None:
        if len(self._uploads) == self._max_photos:
            raise HTTPException(
                413,
                f"the form has more than {self._max_photos} photos; send fewer at a time",
                {"Connection": "close"},
            )
        self._uploads.append(Upload())
        self._field = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            options = parse_options_header(self._value)[1]
            self._uploads[-1].name = _text(options.get(b"filename", b"")) or None
            # Browsers send an empty name where no file was chosen, old clients only `filename*`.
            is_file = b"filename" in options or b"filename*" in self._value
            self._field = None if is_file else options.get(b"name", b"")
        self._header, self._value = b"", b""

    def _headers_end(self) -> None:
        if self._field is not None:
            reason = (
                f"the field {_text(self._field)!r} of the form is not a file; send photos as files"
                " and parameters in the address, such as /api/tag?top_k=3"
            )
            raise HTTPException(400, reason, {"Connection": "close"})

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._uploads[-1].add(data[start:end])

    def _end(self) -> None:
        self._complete = True


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")[:_MAX_NAME]


@contextlib.contextmanager
def _refuse_unreadable() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        reason = f"the form cannot be read ({error}); send it again"
        raise HTTPException(400, reason) from None
