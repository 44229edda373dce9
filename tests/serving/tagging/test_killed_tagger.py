"""A tagger that is killed for real, and the one that goes on where it was."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from landmark_ml.config import TagConfig
from landmark_ml.inference.predictor import Predictor
from serving.champion import Loaded
from serving.tagging.library import Library
from serving.tagging.tagger import JOURNAL, tag_library
from tests.colour_artifact import GREEN, RED, colour_photo

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
PHOTOS = 3000
TAG = """
import sys
from pathlib import Path
from landmark_ml.config import TagConfig
from landmark_ml.inference.predictor import Predictor
from serving.champion import Loaded
from serving.tagging.tagger import tag_library
from serving.tagging.library import Library
artifact, photos, out = sys.argv[1:]
loaded = Loaded(Predictor.load(Path(artifact)), "landmarks", 1, "abc")
tag_library(Library(Path(photos)), loaded, TagConfig(photos=photos, out=out))
"""


def recorded(out: Path) -> int:
    if not (out / JOURNAL).exists():
        return 0
    with sqlite3.connect(f"file:{out / JOURNAL}?mode=ro", uri=True) as journal:
        try:
            found: int = journal.execute("SELECT count(asked) FROM photos").fetchone()[0]
        except sqlite3.OperationalError:
            return 0
        return found


@pytest.mark.skipif(os.name != "posix", reason="no SIGKILL here")
def test_after_sigkill_only_what_is_missing_is_done(
    artifact: Path, predictor: Predictor, tmp_path: Path
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "tags"
    photos.mkdir()
    for index in range(PHOTOS):
        photo = colour_photo((RED, GREEN)[index % 2], (800, 600))
        (photos / f"{index:04}.jpg").write_bytes(photo)
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-c", TAG, str(artifact), str(photos), str(out)], cwd=ROOT
    )
    deadline = time.monotonic() + 120
    while recorded(out) < 100:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    done = recorded(out)
    assert 100 <= done < PHOTOS
    assert sorted(path.name for path in out.iterdir() if path.suffix in (".csv", ".parquet")) == []

    config = TagConfig(photos=str(photos), out=str(out))
    result = tag_library(Library(photos), Loaded(predictor, "landmarks", 1, "abc"), config)
    assert result.recognised == PHOTOS - done
    rows = pq.read_table(out / "tags.parquet").to_pylist()
    assert [row["path"] for row in rows] == [f"{index:04}.jpg" for index in range(PHOTOS)]
    assert [row["landmark"] for row in rows] == ["Eiffel Tower", "Château d'If"] * (PHOTOS // 2)
