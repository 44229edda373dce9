"""Photos to answers with all cores busy and few photos in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from landmark_ml.inference.prediction import refused
from landmark_ml.inference.runtime import usable_cpus
from serving.tagging.in_order import in_order
from serving.tagging.journal import Tagged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from landmark_ml.inference.prediction import Prediction
    from landmark_ml.inference.predictor import Predictor

CANNOT_BE_READ = "cannot_be_read"
"""Code of a photo whose file the system does not give; the decoder's codes are the others."""

_UNSUPPORTED = "unsupported"

CHUNK = 4
TOP_K = 3

Read: TypeAlias = Callable[[Path], bytes | OSError]
"""Bytes of a photo by its path within the library, or why the system does not give them."""


def recognise(
    predictor: Predictor,
    read: Read,
    photos: Iterable[Path],
    threshold: float | None = None,
    threads: int = 0,
) -> Iterator[list[Tagged]]:
    """Answers for photos by their paths within a library, a few at a time and in order.

    Files are read while other photos are decoded and recognised; at most four photos for each
    thread and one waiting place are held at once, however many there are. threads: that read
    files; 0: one more than cores.
    """
    work = partial(_answer, predictor, read, threshold)
    # One more than cores: while they decode and recognise, the next files are read.
    return in_order(work, _chunks(photos), threads or usable_cpus() + 1, name="tag")


def _chunks(photos: Iterable[Path]) -> Iterator[list[Path]]:
    remaining = iter(photos)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk


def _answer(
    predictor: Predictor, read: Read, threshold: float | None, paths: list[Path]
) -> list[Tagged]:
    contents = [read(path) for path in paths]
    photos = [content for content in contents if isinstance(content, bytes)]
    answers = iter(predictor.predict(photos, top_k=TOP_K, threshold=threshold))
    return [
        Tagged(path, next(answers) if isinstance(content, bytes) else _not_given(content))
        for path, content in zip(paths, contents, strict=True)
    ]


def _not_given(error: OSError) -> Prediction:
    return refused(CANNOT_BE_READ, error.strerror or str(error))


def may_change(code: str | None) -> bool:
    """Whether a photo with this error, None for none, may be answered another time as it is.

    What the system did not give today it may give tomorrow, and a decoder may be installed.
    """
    return code in (CANNOT_BE_READ, _UNSUPPORTED)
