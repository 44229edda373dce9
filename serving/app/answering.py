"""Read the photos of a request and answer them, within the limits of time, queue and memory."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from landmark_ml.config import AppConfig, user_path
from landmark_ml.corrections import UNDONE, Correction, append_corrections
from landmark_ml.files import write_whole
from landmark_ml.geo.names import Named, names_in
from landmark_ml.inference.photos import DEFAULT_LIMITS, PhotoError, decode_photo
from landmark_ml.inference.photos.headers import photo_format
from landmark_ml.inference.predictor import Predictor, Scores
from landmark_ml.inference.runtime import usable_cpus
from serving.app.answers import (
    Answers,
    Landmarks,
    Model,
    PhotoAnswer,
    answer_photo,
    describe_model,
    known_landmarks,
)
from serving.champion import Champion, Loaded

if TYPE_CHECKING:
    from serving.app.application import Metrics


Found: TypeAlias = Scores | PhotoError
Unpack: TypeAlias = Callable[[list["Upload"]], list["Upload"]]

_CHECKED_SIDE = 64
_CLIENT_GONE = 499
"""Not an HTTP status; nginx made it common in logs."""


class Answering:
    """Answers each request with the version that is champion when its photos have arrived."""

    def __init__(self, champion: Champion, config: AppConfig, metrics: Metrics) -> None:
        self._champion = champion
        self._config = config
        self._metrics = metrics
        self._memory = Memory(config.max_memory)
        # Corrections and packed photos take turns: each may take hundreds of MB.
        self._unpacking = asyncio.Lock()
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
        return describe_model(self._champion.current, self._config)

    def landmarks(self, request: Request) -> Landmarks:
        """List what the version that answers now knows."""
        loaded = self._champion.current
        known = map(translation(request, loaded), known_landmarks(loaded))
        return Landmarks(model=describe_model(loaded, self._config), landmarks=list(known))

    async def answer(
        self, request: Request, top_k: int, threshold: float | None, unpack: Unpack | None = None
    ) -> Answers:
        """Answer the photos of a request, all with one version.

        unpack: gives the photos where the body of the request holds them packed. Raises
        HTTPException when the request is too large, too slow or cannot be read.
        """
        with self._memory.share() as hold:
            uploads = await self._read(request, hold)
            if unpack:
                async with self._unpacking:
                    uploads = await asyncio.to_thread(unpack, uploads)
            loaded = self._champion.current
            found = await self._score(loaded.predictor, [upload.photo for upload in uploads])
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
        translated = map(translation(request, loaded), answers)
        return Answers(model=describe_model(loaded, self._config), photos=list(translated))

    async def correct(self, request: Request, said: str, decision: str, right: str) -> None:
        """Keep the photo of a request and what a person says of it; see `keep_correction`.

        Raises HTTPException as `answer` does, and when there is more than one photo or a decision
        that cannot be.
        """
        with self._memory.share() as hold:
            uploads = await self._read(request, hold)
            if len(uploads) > 1:
                raise HTTPException(400, "a correction is of one photo; send one at a time")
            file, (_, photo) = user_path(self._config.corrections), uploads[0]
            async with self._unpacking:
                try:
                    await asyncio.to_thread(keep_correction, file, photo, said, decision, right)
                except ValueError as error:
                    raise HTTPException(422, str(error)) from error

    def close(self) -> None:
        """Stop, once the photos in progress are answered."""
        self._queue.close()

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

    async def _score(self, predictor: Predictor, photos: Sequence[bytes]) -> list[Found]:
        jobs = self._queue.submit(predictor, photos)
        try:
            async with asyncio.timeout(self._config.timeout):
                return [await asyncio.wrap_future(job) for job in jobs]
        except TimeoutError:
            raise TooBusyError(f"the answer took over {self._config.timeout:g} s") from None
        finally:
            for job in jobs:
                job.cancel()


def translation(request: Request, loaded: Loaded) -> Callable[[Named], Named]:
    """Translates places to the language that the browser prefers; English and unknown ones not."""
    preferred = request.headers.get("accept-language", "").split(",")[0].split(";")[0].strip()
    try:
        names = names_in(preferred or "en")
    except ValueError:
        names = names_in("en")
    return partial(names.translate, codes=loaded.predictor.metadata.country_codes)


class AnswerQueue:
    """Scores photos one by one on `workers` threads, in the order they came."""

    def __init__(self, workers: int, max_waiting: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="answer")
        self._max_waiting = max_waiting
        self._jobs: set[Future[Found]] = set()

    def __len__(self) -> int:
        return sum(not (job.running() or job.done()) for job in tuple(self._jobs))

    def submit(self, predictor: Predictor, photos: Sequence[bytes]) -> list[Future[Found]]:
        """Queue photos and give a future for each; cancel the futures that nobody waits for.

        Raises TooBusyError when they do not all fit into the queue.
        """
        waiting = len(self)
        # An empty queue takes any request, or one with many photos would never be answered.
        if waiting and waiting + len(photos) > self._max_waiting:
            raise TooBusyError(f"{waiting} photos are waiting already")
        jobs = [self._pool.submit(_score_one, predictor, photo) for photo in photos]
        self._jobs.update(jobs)
        for job in jobs:
            job.add_done_callback(self._jobs.discard)
        return jobs

    def close(self) -> None:
        """Cancel the photos that wait, and finish those in progress."""
        self._pool.shutdown(cancel_futures=True)


def _score_one(predictor: Predictor, photo: bytes) -> Found:
    (found,) = predictor.score([photo])
    return found


def keep_correction(file: Path, photo: bytes, said: str, decision: str, right: str) -> None:
    """Add a decision to a corrections file; the photo goes into a folder beside it.

    A withdrawn one takes the photo away again. Raises ValueError for a photo that cannot be decoded
    or a decision that cannot be.
    """
    decode_photo(photo, min_side=_CHECKED_SIDE)
    # As the tagger and trainings know it, which read no more of a large raw file.
    digest = hashlib.sha256(photo[: DEFAULT_LIMITS.max_bytes + 1]).hexdigest()
    kept = file.with_name(f"{file.stem}_photos") / f"{digest}.{(photo_format(photo) or '').lower()}"
    path = kept.relative_to(file.parent).as_posix()
    append_corrections(file, [Correction(digest, path, said, decision, right.strip(), "app")])
    if decision == UNDONE:
        kept.unlink(missing_ok=True)
    else:
        write_whole(kept, photo)


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


class Upload(NamedTuple):
    """One photo, under the name the client gave it."""

    name: str | None
    photo: bytes


class _Form(MultiPartParser):
    """Starlette's parser, which would take a form that is cut short and refuse some files."""

    is_complete = False

    def on_headers_finished(self) -> None:
        """Take a field without a name, and a file whose name stands in `filename*` alone."""
        given = self._current_part.content_disposition or b"form-data"
        options = parse_options_header(given)[1]
        if b"name" not in options:
            given += b'; name=""'
        if b"filename" not in options and b"filename*" in given:
            given += b'; filename=""'
        self._current_part.content_disposition = given
        super().on_headers_finished()

    def on_end(self) -> None:
        """Note that the last boundary came."""
        self.is_complete = True


async def read_uploads(
    request: Request, max_body: int, max_photos: int, hold: Callable[[int], None]
) -> list[Upload]:
    """Read the files of a multipart form, whatever their fields are called, or the body as a photo.

    hold: called with the size of each part as it arrives. A field that is not a file is refused:
    parameters belong in the address, and one sent here would silently have no effect. Raises
    HTTPException: 413 for too many bytes or photos, 400 for a form that cannot be read, and
    whatever `hold` raises.
    """

    # With this header the server closes the connection instead of reading what still arrives.
    def refusal(status: int, reason: str) -> HTTPException:
        return HTTPException(status, reason, {"Connection": "close"})

    reason = f"the request has more than {max_body:,} bytes; send fewer or smaller photos"
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > max_body:
        raise refusal(413, reason)

    async def chunks() -> AsyncGenerator[bytes, None]:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_body:
                raise refusal(413, reason)
            hold(len(chunk))
            yield chunk

    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        body = b"".join([chunk async for chunk in chunks()])
        if not body:
            raise refusal(400, "the request has no photo; send one as the body, or a form")
        return [Upload(None, body)]
    parser = _Form(request.headers, chunks(), max_files=max_photos)
    # Photos stay in memory, which `hold` counts, and never reach the disk.
    parser.spool_max_size = max_body
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many files" in error.message:
            reason = f"the form has more than {max_photos} photos; send fewer at a time"
            raise refusal(413, reason) from None
        raise refusal(400, f"the form cannot be read: {error.message} Send it again.") from None
    if not parser.is_complete:
        raise refusal(400, "the form is cut short; send it again")
    uploads = []
    for field, file in form.multi_items():
        if isinstance(file, str):
            raise refusal(
                400,
                f"the field {field[:_MAX_NAME]!r} of the form is not a file; send photos as files"
                " and parameters in the address, such as /api/tag?top_k=3",
            )
        uploads.append(Upload((file.filename or "")[:_MAX_NAME] or None, await file.read()))
        await file.close()
    if not uploads:
        raise refusal(400, "the form has no files; add at least one photo")
    return uploads
