"""Photos of one moment have one answer, that of the surest; all others keep their own."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from landmark_ml.config import TagConfig
from landmark_ml.corrections import CORRECTIONS, Correction, append_corrections
from landmark_ml.inference.prediction import answer, candidate, refused
from serving.tagging.bursts import answer_once
from serving.tagging.library import Tagged
from tests.colour_artifact import GREEN, WHITE
from tests.serving.tagging.conftest import Run
from tests.serving.tagging.tables import parquet

NOON = datetime(2024, 6, 1, 12)


def scene(seed: int, shift: int = 0) -> Image.Image:
    """Soft random shapes; a shift of pixels as of a hand that holds a camera."""
    noise = np.random.default_rng(seed).integers(0, 255, (9, 12), dtype=np.uint8)
    wide = Image.fromarray(noise).resize((660, 500), Image.Resampling.BICUBIC)
    return wide.crop((shift, shift, shift + 640, shift + 480)).convert("RGB")


def encoded(image: Image.Image) -> bytes:
    """JPEG of a picture, taken at noon."""
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "One"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: "2024:06:01 12:00:00"}
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


CONTENTS = {"a.jpg": scene(1), "b.jpg": scene(1, 6), "c.jpg": scene(2), "d.jpg": scene(1, 3)}


def read(path: Path) -> bytes | OSError:
    shown = CONTENTS.get(path.name)
    return FileNotFoundError(2, "gone") if shown is None else encoded(shown)


def photo(
    name: str,
    confidence: float = 0.6,
    seconds: float = 0,
    camera: str = "One",
    position: tuple[float, float] | None = None,
) -> Tagged:
    place = {"latitude": 1, "longitude": 2, "city": "City", "country": "Country"}
    shown = candidate(f"landmark of {name}", confidence, place)
    said = answer([shown], 0.9, 0.5, position)
    taken = NOON + timedelta(seconds=seconds)
    return Tagged(Path(name), said, taken=taken, camera=camera)


def pointers(*photos: Tagged) -> dict[str, str | None]:
    return {str(found.path): found.same_as for found in answer_once(iter(photos), read)}


def test_the_surest_of_those_that_look_alike_answers_for_all() -> None:
    photos = [photo("a.jpg", 0.6), photo("b.jpg", 0.9), photo("c.jpg", 0.7), photo("d.jpg", 0.5)]
    found = list(answer_once(iter(photos), read))
    assert [one.path for one in found] == [one.path for one in photos]
    assert [one.same_as for one in found] == ["b.jpg", None, None, "b.jpg"]
    assert found[0].answer == found[3].answer == photos[1].answer
    assert found[2].answer == photos[2].answer


@pytest.mark.parametrize(
    "other",
    [
        photo("b.jpg", seconds=1),
        photo("b.jpg", camera="Two"),
        photo("b.jpg", camera=""),
        photo("sub/b.jpg"),
        photo("b.jpg", position=(3, 4)),
        photo("gone.jpg"),
        Tagged(Path("b.jpg"), refused("empty", "no bytes"), taken=NOON, camera="One"),
        Tagged(Path("b.jpg"), photo("b.jpg").answer),
    ],
)
def test_another_moment_camera_folder_or_look_is_another_photo(other: Tagged) -> None:
    assert set(pointers(photo("a.jpg"), other).values()) == {None}


def test_a_photo_keeps_the_position_of_its_own_exif() -> None:
    photos = [photo("a.jpg", 0.5, position=(3, 4)), photo("b.jpg", 0.9, position=(5, 6))]
    first, second = answer_once(iter(photos), read)
    assert first.same_as == "b.jpg"
    assert first.answer["landmark"] == second.answer["landmark"] == "landmark of b.jpg"
    assert (first.answer["latitude"], first.answer["longitude"]) == (3, 4)


def test_photos_without_a_time_are_not_held_back() -> None:
    def endless() -> Iterator[Tagged]:
        number = 0
        while True:
            number += 1
            yield Tagged(Path(f"{number}.jpg"), photo("x").answer)

    assert next(answer_once(endless(), read)).path == Path("1.jpg")


def test_a_library_says_which_photos_have_the_answer_of_another(
    config: TagConfig, run: Run, photos: Path
) -> None:
    for name, colour in (("1.jpg", GREEN), ("2.jpg", GREEN), ("3.jpg", WHITE)):
        (photos / name).write_bytes(encoded(Image.new("RGB", (64, 64), colour)))
    run(config)
    found = {name: row["same_as"] for name, row in parquet(config).items() if row["same_as"]}
    again = run(config)
    assert again.recognised == 0
    assert found == {
        name: row["same_as"] for name, row in parquet(config).items() if row["same_as"]
    }
    assert "2.jpg" in found


def test_a_decision_on_one_photo_of_a_burst_reaches_the_others_until_it_is_undone(
    config: TagConfig, run: Run, photos: Path
) -> None:
    for name, side in (("1.jpg", 64), ("2.jpg", 80)):
        picture = Image.new("RGB", (side, side), GREEN)
        (photos / name).write_bytes(encoded(picture))

    run(config)
    rows = parquet(config)
    for decision, landmark in (("no_landmark", None), ("undone", "Château d'If")):
        row = Correction(rows["2.jpg"]["sha256"], "2.jpg", "Château d'If", decision)
        append_corrections(Path(config.out) / CORRECTIONS, [row])
        run(config)
        rows = parquet(config)
        assert [rows[name]["landmark"] for name in ("1.jpg", "2.jpg")] == [landmark] * 2
    assert rows["1.jpg"]["same_as"] or rows["2.jpg"]["same_as"]
