"""From a request with photos to their answers, within the limits of time, queue and memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import ClientDisconnect

from landmark_ml.inference.photos import DEFAULT_LIMITS, PhotoError
from landmark_ml.inference.runtime import usable_cpus
from serving.app.answer_queue import AnswerQueue, Found
from serving.app.answers import Answers, Model, answer_photo, describe_model
from serving.app.refusals import RequestRefusedError, TooBusyError
from serving.app.run_links import RunLinks
from serving.app.upload_memory import Memory
from serving.app.uploads import Upload, read_uploads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from landmark_ml.config import AppConfig
    from landmark_ml.inference.predictor import Predictor
    from serving.app.answers import PhotoAnswer
    from serving.app.metrics import Metrics
    from serving.app.upload_memory import Share
    from serving.champion import Loaded

_CLIENT_GONE = 499
"""No status of HTTP; nginx made it common in logs."""


class Source(Protocol):
    """Where the version that answers comes from: a `Champion` that was started."""

    @property
    def current(self) -> Loaded:
        """The version that answers now."""

    @property
    def problem(self) -> str | None:
        """Why it is not the one it should be, None when it is."""


class Answering:
    """Answers requests with the champion of the moment a request's photos have arrived."""

    def __init__(
        self,
        champion: Source,
        config: AppConfig,
        metrics: Metrics,
        run_url: Callable[[str], str | None],
    ) -> None:
        self._champion = champion
        self._config = config
        self._metrics = metrics
        self._links = RunLinks(run_url)
        # Looked for now, the link stands in the first answer already.
        self._links.get(champion.current.run_id)
        self._memory = Memory(config.max_memory)
        workers = config.threads or usable_cpus()
        self._queue = AnswerQueue(workers, config.max_waiting, metrics.batch_photos.observe)
        metrics.watch(
            "landmarks_waiting_photos", "Photos that wait for an answer.", lambda: len(self._queue)
        )
        metrics.watch("landmarks_upload_bytes", "Bytes of photos held.", lambda: self._memory.held)
        metrics.watch(
            "landmarks_model_version", "Version that answers.", lambda: champion.current.version
        )

    def model(self) -> Model:
        """Who answers now."""
        return self._describe(self._champion.current)

    async def answer(self, request: Request, top_k: int, threshold: float | None) -> Answers:
        """Answers for the photos of a request, all by one version.

        Raises RequestRefusedError when the request is too much, too slow or cannot be read.
        """
        with self._memory.share() as memory:
            uploads = await self._read(request, memory)
            loaded = self._champion.current
            found = await self._find(loaded.predictor, uploads)
        answers = [
            answer_photo(upload.name, loaded, item, top_k, threshold)
            for upload, item in zip(uploads, found, strict=True)
        ]
        self._count(request, loaded, answers)
        return Answers(model=self._describe(loaded), photos=answers)

    def close(self) -> None:
        """Answer what waits, then end the threads."""
        self._queue.close()

    async def _read(self, request: Request, memory: Share) -> list[Upload]:
        config = self._config
        try:
            async with asyncio.timeout(config.timeout):
                return await read_uploads(request, config.max_body, config.max_photos, memory)
        except TimeoutError:
            reason = f"the upload took over {config.timeout:g} s; send fewer or smaller photos"
            raise RequestRefusedError(408, reason, {"Connection": "close"}) from None
        except ClientDisconnect:
            # For log and counters alone: nobody is there to read it.
            raise RequestRefusedError(_CLIENT_GONE, "the client went away") from None

    async def _find(self, predictor: Predictor, uploads: Sequence[Upload]) -> list[Found]:
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
        return [_refusal(upload) or next(found) for upload in uploads]

    def _describe(self, loaded: Loaded) -> Model:
        return describe_model(self._config.model, loaded, self._links.get(loaded.run_id))

    def _count(self, request: Request, loaded: Loaded, answers: Sequence[PhotoAnswer]) -> None:
        outcomes = Counter(_outcome(answer) for answer in answers)
        for outcome, count in outcomes.items():
            self._metrics.photos.labels(outcome).inc(count)
        facts: dict[str, Any] = request.scope.get("state", {}).get("log", {})
        facts.update(photos=len(answers), outcomes=dict(outcomes), version=loaded.version)


def _refusal(upload: Upload) -> PhotoError | None:
    if not upload.too_large:
        return None
    most = DEFAULT_LIMITS.max_bytes
    reason = f"{upload.size:,} bytes are over the limit of {most:,}: export it smaller"
    return PhotoError("too_many_bytes", reason)


def _outcome(answer: PhotoAnswer) -> str:
    return answer["error"]["code"] if answer["error"] else answer["level"] or "none"
