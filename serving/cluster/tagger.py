"""Tag more photos than one machine should: part by part, on many workers."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tqdm.auto import tqdm

from landmark_ml.inference.artifact import METADATA_FILE
from landmark_ml.tracking import run as tracking
from serving.champion import exported_network
from serving.cluster.addresses import local_folder, open_folder
from serving.cluster.listing import Listing, bits_for
from serving.cluster.part_tagger import Job
from serving.cluster.parts import Part, PartStore
from serving.cluster.ray_workers import RayWorkers
from serving.cluster.stored_photos import open_photos
from serving.tagging import Counts, find_version, printable, read_places

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from landmark_ml.config import ClusterConfig

_VERSION = 1
"""Of how a row is made: raised, all photos are recognised again."""


class Workers(Protocol):
    """Who tags parts: `RayWorkers`, or whatever a test has."""

    def tag(
        self, job: Job, network: Mapping[str, bytes], parts: Iterable[Part]
    ) -> Iterator[Counts]:
        """Counts of each part, as they are finished."""


@dataclass(frozen=True)
class Network:
    """Files of an exported network, and the registered version it is: `landmarks/3`."""

    files: Mapping[str, bytes]
    version: str

    @property
    def identity(self) -> str:
        """The version and its run: another registry may count its versions the same."""
        return f"{self.version} {json.loads(self.files[METADATA_FILE])['run_id']}"


@dataclass(kw_only=True)
class ClusterResult(Counts):
    """What the table holds.

    seconds: of all workers at work, their start among them; unreadable: why which folders could not
    be opened.
    """

    out: str
    model: str
    parts: int = 0
    seconds: float = 0.0
    other_pictures: Counter[str] = field(default_factory=Counter)
    unreadable: dict[Path, str] = field(default_factory=dict)
    location: str = ""

    def metrics(self) -> dict[str, float]:
        """Counts for the MLflow run."""
        return {**super().metrics(), "tag/parts": self.parts, "tag/seconds": self.seconds}


def run_cluster_tagging(config: ClusterConfig) -> ClusterResult:
    """Tag photos on a Ray cluster and record the counts in an MLflow run.

    Recorded are the parameters too, the addresses among them, and no photo's name or position.
    Raises ValueError when photos, model or cluster are not there, OSError when the table cannot be
    written or a worker cannot go on.
    """
    if not config.photos:
        raise ValueError("photos is empty; name a folder or an address: --photos=s3://bucket/path")
    with tracking.start_run(config, "cluster", {"kind": "tag"}) as run:
        workers = RayWorkers(config.workers, config.cpus, config.address)
        result = tag_photos(config, fetch_network(config.model), workers)
        run.log_metrics(result.metrics())
        run.set_tags({"model": result.model})
        run.log_text(result.landmarks_csv(), "landmarks.csv")
        run.describe(f"{result.summary()}; the table stays where `out` says.")
        result.location = run.location
    return result


def fetch_network(model: str) -> Network:
    """The exported network of `name` (its champion), `name@alias` or `name/version`.

    Raises ValueError when it is not in the registry or no model of this project.
    """
    version = find_version(model)
    with exported_network(version) as folder:
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return Network(files, f"{version.name}/{version.version}")


def tag_photos(config: ClusterConfig, network: Network, workers: Workers) -> ClusterResult:
    """Bring the table up to date with the photos that are there now.

    Raises ValueError when none is there where some were before.
    """
    job = _job(config, network)
    result = ClusterResult(out=job.out, model=network.version)
    store = PartStore(open_folder(job.out, create=True))
    photos = open_photos(job.photos, job.out)
    with (
        tempfile.TemporaryDirectory(prefix="listing-") as scratch,
        Listing(Path(scratch) / "photos.sqlite") as listing,
    ):
        count = listing.fill(tqdm(photos.walk(), desc="looking", unit=" photos", delay=1))
        result.other_pictures, result.unreadable = photos.other_pictures, photos.unreadable
        job = replace(job, unreadable=frozenset(map(printable, photos.unreadable)))
        written = store.indexes()
        if written and not count:
            raise _all_gone(job)
        bits = store.settle_bits(bits_for(count, config.part_photos), job.photos)
        parts = _with_emptied(listing.parts(bits), written)
        started = time.perf_counter()
        with tqdm(total=count, desc="tagging", unit="photos", smoothing=0.05, delay=1) as bar:
            for counts in workers.tag(job, network.files, parts):
                result.add(counts)
                result.parts += 1
                bar.update(counts.photos)
        result.seconds = time.perf_counter() - started
    return result


def _all_gone(job: Job) -> ValueError:
    return ValueError(
        f"photos={job.photos} holds no photos, where some were before; its disk may not be mounted,"
        f" or the address be another. If they are gone for good, remove the parts in {job.out} or"
        " give another out"
    )


def _with_emptied(parts: Iterator[Part], written: list[int]) -> Iterator[Part]:
    """The parts, and those that were written but have no photos any more."""
    emptied = set(written)
    for part in parts:
        emptied.discard(part.index)
        yield part
    for index in sorted(emptied):
        yield Part(index, ())


def _job(config: ClusterConfig, network: Network) -> Job:
    places = tuple(read_places(config.places))
    threshold = None if config.threshold == -1 else config.threshold
    known = hashlib.sha256(repr(places).encode()).hexdigest()[:16]
    return Job(
        # A worker starts in another folder than this process.
        photos=_absolute(config.photos),
        out=_absolute(config.out),
        version=network.version,
        asked=f"{_VERSION} {network.identity} {threshold} {known}",
        threshold=threshold,
        places=places,
        cpus=config.cpus,
        reads=config.reads,
    )


def _absolute(place: str) -> str:
    return str(local_folder(place) or place)
