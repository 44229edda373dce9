"""Parts tagged by Ray Data: an actor a worker, each with the model loaded once."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from landmark_ml.inference.predictor import Predictor
from landmark_ml.inference.runtime import usable_cpus
from serving.cluster.part_tagger import PartTagger
from serving.cluster.parts import Part
from serving.tagging import Counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from serving.cluster.part_tagger import Job

_LOCAL_OBJECT_STORE = 256 * 1024 * 1024


@dataclass(frozen=True)
class RayWorkers:
    """Workers of a Ray cluster; fields as of `ClusterConfig`."""

    workers: int = 0
    cpus: int = 1
    address: str = ""

    def tag(
        self, job: Job, network: Mapping[str, bytes], parts: Iterable[Part]
    ) -> Iterator[Counts]:
        """Counts of each part, as they are finished.

        network: files of the exported network, handed to every worker, so that none of them has to
        reach MLflow. Raises OSError when a worker cannot read or write (finished parts stay),
        ValueError when no machine has the cores of one worker.
        """
        with self.joined() as ray:
            # Put one by one: millions of names lie with Ray, which may lay them on the disk.
            tables = [ray.put(part.to_table()) for part in parts]
            if not tables:
                return
            dataset = ray.data.from_arrow_refs(tables).map_batches(
                _Worker,
                fn_constructor_args=(job, dict(network)),
                batch_size=1,
                batch_format="pyarrow",
                num_cpus=self.cpus,
                compute=ray.data.ActorPoolStrategy(size=self._size(ray, len(tables))),
            )
            for row in dataset.iter_rows():
                if row["failure"]:
                    raise OSError(
                        f"a worker could not go on: {row['failure']}; what is finished stays,"
                        " start it again"
                    )
                yield Counts.from_dict(json.loads(row["counts"]))

    def _size(self, ray: Any, parts: int) -> int:
        largest = max((node["Resources"].get("CPU", 0) for node in ray.nodes()), default=0)
        if self.cpus > largest:
            # Ray would wait for such a machine for ever, without a word.
            raise ValueError(
                f"cpus={self.cpus}: the largest machine of the cluster has {largest:g} core(s); ask"
                " for at most so many"
            )
        fitting = int(ray.cluster_resources().get("CPU", 1)) // self.cpus
        return max(1, min(self.workers or fitting, parts))

    @contextlib.contextmanager
    def joined(self) -> Iterator[Any]:
        """Ray, connected; what is started here ends here, a cluster that was there goes on."""
        ray = _import_ray(alone=not (self.address or os.environ.get("RAY_ADDRESS")))
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        if ray.is_initialized():
            yield ray
            return
        self._connect(ray)
        try:
            yield ray
        finally:
            ray.shutdown()

    def _connect(self, ray: Any) -> None:
        settings: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
        if address := self.address or os.environ.get("RAY_ADDRESS"):
            try:
                ray.init(address=address, **settings)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise ValueError(f"address={address}: no Ray cluster answers ({error})") from None
            return
        ray.init(
            address="local",
            num_cpus=self.workers * self.cpus or usable_cpus(),
            include_dashboard=False,
            # Photos do not go through it, only their names.
            object_store_memory=_LOCAL_OBJECT_STORE,
            **settings,
        )


class _Worker:
    """Actor of Ray Data: a batch of parts in, their counts out, or why one cannot be tagged."""

    def __init__(self, job: Job, network: Mapping[str, bytes]) -> None:
        self._job = job
        with tempfile.TemporaryDirectory(prefix="network-") as scratch:
            for name, content in network.items():
                (Path(scratch) / name).write_bytes(content)
            self._predictor = Predictor.load(Path(scratch), threads=job.cpus)

    @functools.cached_property
    def _tagger(self) -> PartTagger:
        return PartTagger(self._job, self._predictor)

    def __call__(self, batch: pa.Table) -> pa.Table:
        counts, failure = [], None
        try:
            counts = [self._tagger.tag(Part.from_row(row)) for row in batch.to_pylist()]
        except (OSError, ValueError) as error:
            failure = f"{socket.gethostname()}: {error}"
        told: list[str | None] = [json.dumps(count.to_dict()) for count in counts]
        told = told or [None]
        schema = pa.schema([("counts", pa.string()), ("failure", pa.string())])
        return pa.table({"counts": told, "failure": [failure] * len(told)}, schema=schema)


def _import_ray(*, alone: bool) -> Any:
    """Ray; alone: a cluster of this machine, which no other machine can reach."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if alone:
        # Read by Ray when it is imported: off, it listens on the loopback interface only.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray  # noqa: PLC0415 - an extra, and slow to import
        import ray.data  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(f"the cluster path needs Ray ({error}); pip install -e '.[ray]'") from None
    return ray
