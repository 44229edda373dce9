"""Tag more photos than one machine should: list them, share the parts among Ray workers."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeAlias

from landmark_ml.config import ClusterConfig
from landmark_ml.console import Bar
from landmark_ml.data.stores import local_folder, open_folder
from landmark_ml.geo.gazetteer import Place
from landmark_ml.geo.names import names_in
from landmark_ml.inference.predictor import METADATA_FILE, Predictor
from landmark_ml.inference.runtime import usable_cpus
from landmark_ml.tracking import run as tracking
from serving.champion import exported_network, find_version, scratch_folder
from serving.cluster.storage import Listing, Part, PartStore, bits_for, open_photos
from serving.tagging.library import (
    PhotoLocations,
    may_change,
    no_photos,
    printable,
    read_places,
    recognise,
)
from serving.tagging.table import Counts, RunCounts, table_row

_VERSION = 1
"""Version of how a row is made: raise it to have all photos recognised again."""

# Parts hold the names of photos only; photos do not go through Ray.
_LOCAL_OBJECT_STORE = 256 * 1024 * 1024


@dataclass(kw_only=True)
class ClusterResult(RunCounts):
    """What the table holds; `seconds` is from the start of the workers to the last part."""

    out: str
    parts: int = 0

    def metrics(self) -> dict[str, float]:
        """Counts for the MLflow run."""
        return {**super().metrics(), "tag/parts": self.parts}


@dataclass(frozen=True)
class Job:
    """What every worker gets to know.

    asked: the question, that is model version, threshold, places and language; rows that answer
    another one are made again. unreadable: folders that could not be opened, as rows write their
    paths.
    """

    photos: str
    out: str
    version: str
    asked: str
    threshold: float | None
    places: tuple[Place, ...]
    language: str
    cpus: int
    reads: int
    unreadable: frozenset[str]


Tag: TypeAlias = Callable[[Job, Mapping[str, bytes], Iterable[Part]], Iterator[Counts]]
"""Tags parts with the files of a network, and yields the counts of each when it is finished."""


def run_cluster_tagging(
    config: ClusterConfig, show: Callable[[ClusterResult], object] = lambda _: None
) -> ClusterResult:
    """Tag photos on a Ray cluster, record the counts in an MLflow run, and show them.

    The run holds the parameters, addresses included, but no photo's name or position. Raises
    ValueError when photos, model or cluster are not there or no photo could be read, OSError when
    the table cannot be written or a worker cannot go on.
    """
    if not config.photos:
        raise ValueError("photos is empty; name a folder or an address: photos=s3://bucket/path")
    with tracking.start_run(config, "cluster", {"kind": "tag"}) as run:
        workers = RayWorkers(config.workers, config.cpus, config.address)
        # The workers need neither MLflow nor its database.
        version = find_version(config.model)
        with exported_network(version) as folder:
            network = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        result = tag_photos(config, f"{version.name}/{version.version}", network, workers.tag)
        result.record(run, "the table stays where `out` says")
        show(result)
        if failure := result.failure():
            raise ValueError(failure)
    return result


def tag_photos(
    config: ClusterConfig, model: str, network: Mapping[str, bytes], tag: Tag
) -> ClusterResult:
    """Bring the table up to date with the photos that are there now.

    model: registered version, such as `landmarks/3`; network: files of its exported network; tag:
    what `RayWorkers` does. Raises ValueError when there are no photos.
    """
    # Absolute, because a worker starts in another folder than this process.
    photos_at, out = (str(local_folder(place) or place) for place in (config.photos, config.out))
    places = tuple(read_places(config.places))
    names_in(config.language)  # Refused here rather than by every worker.
    threshold = None if config.threshold == -1 else config.threshold
    # Two registries may both have a `landmarks/3`.
    run_id = json.loads(network[METADATA_FILE])["run_id"]
    places_hash = hashlib.sha256(repr(places).encode()).hexdigest()[:16]
    result = ClusterResult(out=out, model=model)
    store = PartStore(open_folder(out, create=True))
    photos = open_photos(photos_at, out)
    with Listing() as listing:
        count = listing.fill(Bar(photos.walk(), desc="looking", unit=" photos"))
        result.other_pictures, result.unreadable = photos.other_pictures, photos.unreadable
        written = store.indexes()
        if not count:
            gone = f"the parts in {out} or give another out" if written else ""
            reason = no_photos(photos.other_pictures, photos.unreadable, gone)
            raise ValueError(f"photos={photos_at} {reason}")
        bits = store.fix_bits(bits_for(count, config.part_photos), photos_at)

        def parts() -> Iterator[Part]:
            emptied = set(written)
            for part in listing.parts(bits):
                emptied.discard(part.index)
                yield part
            for index in sorted(emptied):
                yield Part(index, ())

        job = Job(
            photos=photos_at,
            out=out,
            version=model,
            asked=f"{_VERSION} {model} {run_id} {threshold} {places_hash} {config.language}",
            threshold=threshold,
            places=places,
            language=config.language,
            cpus=config.cpus,
            reads=config.reads,
            unreadable=frozenset(map(printable, photos.unreadable)),
        )
        started = time.perf_counter()
        with Bar(total=count, desc="tagging", unit=" photos", smoothing=0.05) as bar:
            for counts in tag(job, network, parts()):
                result.add(counts)
                result.parts += 1
                bar.update(counts.photos)
        result.seconds = time.perf_counter() - started
    return result


class PartTagger:
    """A worker: tags parts with a model that it loads once. network: files of the model."""

    def __init__(self, job: Job, network: Mapping[str, bytes]) -> None:
        self._job = job
        with scratch_folder() as scratch:
            for name, content in network.items():
                (scratch / name).write_bytes(content)
            self._predictor = Predictor.load(scratch, threads=job.cpus)
        self._photos = open_photos(job.photos, job.out)
        self._store = PartStore(open_folder(job.out))
        self._locations = PhotoLocations(self._predictor, job.places, job.language)

    def started(self) -> None:
        """Return when the worker can take parts."""

    def tag(self, part: Part) -> Counts:
        """Bring the file of a part up to date, and count what it holds.

        A row stays while its photo has the same size and time of change, or cannot be looked for. A
        photo that could not be read is tried again. Raises OSError when the table cannot be
        written.
        """
        asked, unreadable = self._job.asked, self._job.unreadable
        before = {row["path"]: row for row in self._store.read(part.index, asked)}
        rows, new = {}, []
        for photo in part.photos:
            row = before.get(printable(photo.path))
            same = row and (row["size"], row["mtime_ns"]) == (photo.size, photo.mtime_ns)
            if row and same and not may_change(row["error_code"]):
                rows[row["path"]] = row
            else:
                new.append(photo)
        answers = recognise(
            self._predictor,
            self._photos.read,
            (photo.path for photo in new),
            self._job.threshold,
            threads=max(self._job.reads, self._job.cpus + 1),
        )
        located = self._locations.apply(photo for some in answers for photo in some)
        for photo, answered in zip(new, located, strict=True):
            row = table_row(answered, self._job.version)
            rows[row["path"]] = row | {"size": photo.size, "mtime_ns": photo.mtime_ns}
        for path, row in before.items():
            if not unreadable.isdisjoint({path, *map(str, PurePath(path).parents)}):
                rows.setdefault(path, row)
        if rows and (new or len(rows) < len(before)):
            ordered = sorted(rows.values(), key=lambda row: row["path"].encode())
            self._store.write(part.index, ordered, asked)
        elif not rows and (before or not unreadable):
            # Without `before`, rows that answer another question may be of unreadable folders.
            self._store.remove(part.index)
        counts = Counts(photos=len(rows), recognised=len(new))
        for row in rows.values():
            counts.count(row)
        return counts


@dataclass(frozen=True)
class RayWorkers:
    """Workers on a Ray cluster; the fields are those of `ClusterConfig`."""

    workers: int = 0
    cpus: int = 1
    address: str = ""

    def tag(
        self, job: Job, network: Mapping[str, bytes], parts: Iterable[Part]
    ) -> Iterator[Counts]:
        """Yield the counts of each part when it is finished.

        network: files of the exported network, handed to the workers, which then need no MLflow.
        Raises OSError when a worker cannot read or write (finished parts stay), ValueError when no
        machine has the cores of one worker.
        """
        with self.joined() as ray:
            largest = max((node["Resources"].get("CPU", 0) for node in ray.nodes()), default=0)
            if self.cpus > largest:
                # Ray would silently wait for such a machine forever.
                raise ValueError(
                    f"cpus={self.cpus}: the largest machine of the cluster has {largest:g} core(s);"
                    " ask for at most that many"
                )
            cores = int(ray.cluster_resources().get("CPU", 1))
            remaining = iter(parts)
            first = list(itertools.islice(remaining, self.workers or max(1, cores // self.cpus)))
            worker = ray.remote(num_cpus=self.cpus, max_restarts=-1, max_task_retries=-1)(
                PartTagger
            )
            files = ray.put(dict(network))
            actors = [worker.remote(job, files) for _ in first]
            # Only a worker that has started gets a part; one may wait for its cores for hours.
            doing = {actor.started.remote(): actor for actor in actors}
            waiting, in_work = itertools.chain(first, remaining), 0
            part = next(waiting, None)
            while part or in_work:
                (done,), _ = ray.wait(list(doing))
                actor = doing.pop(done)
                try:
                    counts = ray.get(done)
                except ray.exceptions.RayError as error:
                    cause = getattr(error, "cause", None) or error
                    raise OSError(
                        f"a worker could not go on: {cause}; what is finished stays, start it again"
                    ) from error
                if counts is not None:
                    in_work -= 1
                    yield counts
                if part:
                    doing[actor.tag.remote(part)] = actor
                    in_work += 1
                    part = next(waiting, None)

    @contextlib.contextmanager
    def joined(self) -> Iterator[Any]:
        """Connect to Ray. What is started here ends here; an existing cluster goes on."""
        address = self.address or os.environ.get("RAY_ADDRESS")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if not address:
            # Read by Ray when it is imported; off, it listens on the loopback interface only.
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        try:
            import ray  # noqa: PLC0415 - an extra, and slow to import
        except ModuleNotFoundError as error:
            raise ValueError(
                f"the cluster path needs Ray ({error}); pip install -e '.[ray]'"
            ) from None
        if ray.is_initialized():
            yield ray
            return
        settings: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
        if not address:
            settings |= {
                "num_cpus": self.workers * self.cpus or usable_cpus(),
                "include_dashboard": False,
                "object_store_memory": _LOCAL_OBJECT_STORE,
            }
        try:
            ray.init(address=address or "local", **settings)
        except (ConnectionError, RuntimeError, ValueError) as error:
            if not address:
                raise
            raise ValueError(f"address={address}: no Ray cluster answers ({error})") from None
        try:
            yield ray
        finally:
            ray.shutdown()
