"""Real workers of Ray: the same table, an object store, a driver that is killed."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from landmark_ml.config import ClusterConfig
from landmark_ml.data.stores import open_folder
from serving.cluster.tagger import RayWorkers, tag_photos
from tests.colour_artifact import GREEN, RED, colour_photo
from tests.serving.cluster.one_process import OneProcess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None,
        reason="ray is not installed here: pip install -e '.[ray]'",
    ),
]

ROOT = Path(__file__).resolve().parents[3]
PHOTOS = 4000
TAG = """
import sys
from pathlib import Path
from landmark_ml.config import ClusterConfig
from serving.cluster.tagger import RayWorkers
from serving.cluster.tagger import tag_photos
artifact, photos, out = sys.argv[1:]
files = {path.name: path.read_bytes() for path in Path(artifact).iterdir()}
config = ClusterConfig(photos=photos, out=out, part_photos=50)
tag_photos(config, "landmarks/1", files, RayWorkers(workers=1).tag)
"""


@pytest.fixture(scope="module", autouse=True)
def _patient_ray() -> Iterator[None]:
    """Wait longer than a minute for a process to start: other tests keep the cores busy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_register_timeout_seconds", "300")
        yield


@pytest.fixture(scope="module")
def store() -> Iterator[str | None]:
    """Address of a bucket in an S3 server of this process; None where moto is not installed."""
    if importlib.util.find_spec("moto") is None:
        yield None
        return
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - not always installed

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        open_folder("s3://photos?allow_bucket_creation=true", create=True)
        yield "s3://photos"
    server.stop()


@pytest.fixture(scope="module")
def workers(store: str | None) -> Iterator[RayWorkers]:
    """One worker, whose Ray is there for all tests; it starts with the environment of the store."""
    found = RayWorkers(workers=1)
    with found.joined():
        yield found


def test_ray_writes_the_files_that_one_process_writes(
    config: ClusterConfig,
    network: Mapping[str, bytes],
    workers: RayWorkers,
    tmp_path: Path,
) -> None:
    result = tag_photos(config, "landmarks/1", network, workers.tag)
    whole = replace(config, out=str(tmp_path / "whole"))
    expected = tag_photos(whole, "landmarks/1", network, OneProcess())
    assert replace(result, out="", seconds=0) == replace(expected, out="", seconds=0)
    assert result.refused == {"truncated": 1, "empty": 1}
    written, wanted = Path(config.out), Path(whole.out)
    assert {path.name: path.read_bytes() for path in written.iterdir()} == {
        path.name: path.read_bytes() for path in wanted.iterdir()
    }
    assert tag_photos(config, "landmarks/1", network, workers.tag).recognised == 0


@pytest.mark.usefixtures("workers")
def test_a_worker_larger_than_every_machine_is_refused_instead_of_waited_for(
    config: ClusterConfig, network: Mapping[str, bytes]
) -> None:
    with pytest.raises(ValueError, match=r"cpus=1000: the largest machine .* has 1 core"):
        tag_photos(config, "landmarks/1", network, RayWorkers(cpus=1000).tag)


def test_photos_and_table_may_lie_in_an_object_store(
    config: ClusterConfig,
    network: Mapping[str, bytes],
    workers: RayWorkers,
    photos: Path,
    store: str | None,
) -> None:
    if store is None:
        pytest.skip("moto is not installed here: pip install -e '.[cluster]'")
    bucket = open_folder(store)
    for path in photos.rglob("*"):
        if path.is_file():
            with bucket.open_output_stream(path.relative_to(photos).as_posix()) as stream:
                stream.write(path.read_bytes())
    remote = replace(config, photos=store, out=f"{store}/made/tags")
    assert tag_photos(remote, "landmarks/1", network, workers.tag).recognised == 7
    assert tag_photos(remote, "landmarks/1", network, workers.tag).recognised == 0
    tag_photos(config, "landmarks/1", network, workers.tag)
    columns = ["path", "landmark", "confidence", "error_code", "size"]
    there = pq.read_table("photos/made/tags", filesystem=bucket.base_fs, columns=columns)
    here = pq.read_table(config.out, columns=columns)
    assert there.sort_by("path").equals(here.sort_by("path"))
    bucket.delete_file("2024/paris/tower.jpg")
    assert tag_photos(remote, "landmarks/1", network, workers.tag).photos == 6


def test_a_worker_that_cannot_write_says_so(
    config: ClusterConfig, network: Mapping[str, bytes], workers: RayWorkers
) -> None:
    whole = replace(config, part_photos=1000)
    (Path(config.out) / "part-000000.parquet" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match=r"could not go on: .*; what is finished stays, start it"):
        tag_photos(whole, "landmarks/1", network, workers.tag)


def wait_for(parts: int, out: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while len(list(out.glob("part-*"))) < parts:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(os.name != "posix", reason="no SIGKILL here")
def test_after_sigkill_only_what_is_missing_is_done(
    artifact: Path, network: Mapping[str, bytes], tmp_path: Path
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for index in range(PHOTOS):
        photo = colour_photo((RED, GREEN)[index % 2], (800, 600))
        (photos / f"{index:04}.jpg").write_bytes(photo)
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-c", TAG, str(artifact), str(photos), str(out)], cwd=ROOT
    )
    wait_for(3, out, process)
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    _, alive = psutil.wait_procs(started, timeout=180)
    assert alive == [], "Ray goes with its driver"
    done = pq.read_table(out).num_rows
    assert 3 * 20 < done < PHOTOS

    config = ClusterConfig(photos=str(photos), out=str(out), part_photos=50)
    result = tag_photos(config, "landmarks/1", network, OneProcess())
    assert (result.photos, result.recognised) == (PHOTOS, PHOTOS - done)
    rows = pq.read_table(out).sort_by("path").to_pylist()
    assert [row["path"] for row in rows] == [f"{index:04}.jpg" for index in range(PHOTOS)]
    assert [row["landmark"] for row in rows] == ["Eiffel Tower", "Château d'If"] * (PHOTOS // 2)
