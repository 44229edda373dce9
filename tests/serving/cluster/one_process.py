"""Workers of this process alone: what an actor of Ray does, without Ray."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping

from serving.cluster.storage import Part
from serving.cluster.tagger import Job, PartTagger
from serving.tagging.table import Counts


class OneProcess:
    """Tags parts one after the other, and is interrupted before the part number `ends_before`."""

    def __init__(self, ends_before: int | None = None) -> None:
        self._ends_before = ends_before

    def __call__(
        self, job: Job, network: Mapping[str, bytes], parts: Iterable[Part]
    ) -> Iterator[Counts]:
        tagger = PartTagger(job, network)
        for done, part in enumerate(parts):
            if done == self._ends_before:
                raise KeyboardInterrupt
            # Ray hands both from process to process.
            yield pickle.loads(pickle.dumps(tagger.tag(pickle.loads(pickle.dumps(part)))))  # noqa: S301
