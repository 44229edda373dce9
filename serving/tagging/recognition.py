"""From photos to answers: load the model from the registry, keep all cores busy, keep order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import mlflow
from mlflow.exceptions import MlflowException

from landmark_ml.inference.prediction import refused
from landmark_ml.inference.runtime import usable_cpus
from landmark_ml.tracking.errors import is_not_there
from serving.champion import ALIAS, load_predictor
from serving.tagging.journal import Tagged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from mlflow.entities.model_registry import ModelVersion

    from landmark_ml.inference.predictor import Predictor

CANNOT_BE_READ = "cannot_be_read"
"""Error code of a photo whose file the system does not give; all others are the decoder's."""

CHUNK = 4
TOP_K = 3

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class LoadedVersion:
    """A predictor, and the registered version it was loaded from, such as `landmarks/3`."""

    predictor: Predictor
    version: str

    @property
    def identity(self) -> str:
        """Version and run: two registries may both have a `landmarks/3`."""
        return f"{self.version} {self.predictor.metadata.run_id}"


def load_version(model: str) -> LoadedVersion:
    """Load `name` (its champion), `name@alias` or `name/version` from the registry.

    Raises ValueError when it is not there or is not a model of this project.
    """
    version = find_version(model)
    return LoadedVersion(load_predictor(version), f"{version.name}/{version.version}")


def find_version(model: str) -> ModelVersion:
    """Find the registered version that `name`, `name@alias` or `name/version` means.

    Raises ValueError when there is none.
    """
    client = mlflow.MlflowClient()
    name, slash, number = model.partition("/")
    try:
        if slash:
            return client.get_model_version(name, number)
        name, _, alias = model.partition("@")
        return client.get_model_version_by_alias(name, alias or ALIAS)
    except MlflowException as error:
        if not is_not_there(error):
            raise
        raise ValueError(
            f"model={model} is not in the registry ({error.message}); make one with"
            f' `make transfer MODEL="{name}"` or name another'
        ) from None


def recognise(
    predictor: Predictor,
    read: Callable[[Path], bytes | OSError],
    photos: Iterable[Path],
    threshold: float | None = None,
    threads: int = 0,
) -> Iterator[list[Tagged]]:
    """Yield answers in the order of the photos, a few at a time.

    read: reads a photo by its path within the library, and returns an error instead of raising it.
    threads: threads that read files; 0 means one more than there are cores, so that files are read
    while others are decoded and recognised. Each thread holds at most `CHUNK` photos in memory.
    """

    def answer(paths: list[Path]) -> list[Tagged]:
        contents = [read(path) for path in paths]
        given = [content for content in contents if isinstance(content, bytes)]
        answers = iter(predictor.predict(given, top_k=TOP_K, threshold=threshold))
        return [
            Tagged(
                path,
                refused(CANNOT_BE_READ, content.strerror or str(content))
                if isinstance(content, OSError)
                else next(answers),
            )
            for path, content in zip(paths, contents, strict=True)
        ]

    remaining = iter(photos)
    chunks = iter(lambda: list(islice(remaining, CHUNK)), [])
    return in_order(answer, chunks, threads or usable_cpus() + 1, name="tag")


def may_change(error_code: str | None) -> bool:
    """Whether the same photo may be answered next time: a disk recovers, a decoder is installed."""
    return error_code in (CANNOT_BE_READ, "unsupported")


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, *, name: str
) -> Iterator[Result]:
    """Yield results of `work` in the order of the items, computed by several threads.

    At most `threads` + 1 items are taken ahead of the result that is waited for. Closing the
    iterator ends the threads; an error of `work` is raised where its result would be.
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
