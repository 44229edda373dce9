"""Workers of this process alone: what an actor of Ray does, without Ray."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from serving.cluster.part_tagger import PartTagger
from serving.cluster.parts import Part
from serving.tagging import Counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from landmark_ml.inference.predictor import Predictor
    from serving.cluster.part_tagger import Job


class OneProcess:
    """Tags parts one after the other, and is interrupted before the part number `ends_before`."""

    def __init__(self, predictor: Predictor, ends_before: int | None = None) -> None:
        self._predictor = predictor
        self._ends_before = ends_before

    def tag(
        self, job: Job, network: Mapping[str, bytes], parts: Iterable[Part]
    ) -> Iterator[Counts]:
        assert "model.onnx" in network
        tagger = PartTagger(job, self._predictor)
        for done, part in enumerate(parts):
            if done == self._ends_before:
                raise KeyboardInterrupt
            (row,) = part.to_table().to_pylist()
            counts = tagger.tag(Part.from_row(row))
            yield Counts.from_dict(json.loads(json.dumps(counts.to_dict())))
