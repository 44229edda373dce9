"""Memory does not grow with the library, whatever is written about it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.tagging_memory import Peak, linked
from tests.colour_artifact import BLUE, GREEN, RED, WHITE, colour_photo, gps_exif

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc"),
]

ROOT = Path(__file__).resolve().parents[3]
FEW, MANY = 2000, 8000
MOST_GROWTH_MB = 8
"""What threads and allocators differ by; a row kept of every photo would be several times that."""

TAG = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from benchmarks.tagging_memory import tag_and_measure
from landmark_ml.inference.predictor import Predictor
from serving.champion import Loaded
artifact, photos, out = map(Path, sys.argv[1:])
loaded = Loaded(Predictor.load(artifact), "m", 1, "abc")
print(json.dumps(asdict(tag_and_measure(loaded, photos, out))))
"""


def peak(artifact: Path, paths: list[Path], count: int, folder: Path) -> Peak:
    library = linked(paths, count, folder / "photos")
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", TAG, str(artifact), str(library), str(folder / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Peak(**json.loads(done.stdout))


def test_a_library_four_times_as_large_takes_no_more_memory(artifact: Path, tmp_path: Path) -> None:
    paths = []
    for index, colour in enumerate((RED, GREEN, BLUE, WHITE)):
        for exif in (b"", gps_exif(12, 34)):
            paths.append(tmp_path / f"{index}{bool(exif)}.jpg")
            paths[-1].write_bytes(colour_photo(colour, (640, 480), exif=exif))
    few, many = (peak(artifact, paths, count, tmp_path / str(count)) for count in (FEW, MANY))
    assert (few.photos, many.photos) == (FEW, MANY)
    assert many.peak_mb - few.peak_mb < MOST_GROWTH_MB
