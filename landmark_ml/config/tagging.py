"""Which photo library is tagged, by which model, and what is written about it."""

from __future__ import annotations

from dataclasses import dataclass

from landmark_ml.config.options import CALIBRATED, UNIT, Configuration, option


@dataclass(frozen=True, kw_only=True)
class TagConfig(Configuration):
    """Everything that decides what the tagger writes."""

    photos: str = option("", "folder of the photo library, walked to any depth")
    out: str = option("tags", "folder of the table, and of the journal a later run goes on from")
    model: str = option(
        "landmarks", "registered model whose champion answers; `name/3` or `name@alias`: another"
    )
    threshold: float = option(
        -1.0,
        "`landmark_score` from which a photo shows a landmark; -1: as the model was calibrated",
        within=CALIBRATED,
    )
    sidecars: str = option(
        "none",
        "XMP sidecars beside the photos, named with or without the photo's suffix",
        choices=("none", "photo.jpg.xmp", "photo.xmp"),
    )
    min_confidence: float = option(
        0.5,
        "confidence from which an answer counts in sidecars, albums and the gallery",
        within=UNIT,
    )
    places: str = option(
        "", "CSV as `places.csv`: its cities and countries win for photos taken within 1 km"
    )
    albums: str = option(
        "none",
        "folders by country, city and landmark, as `albums.csv` or also as links in `albums/`",
        choices=("none", "list", "links"),
    )
    gallery: bool = option(
        False, "pages of the albums with thumbnails, for any browser: `gallery/index.html` in `out`"
    )
    tag_root: str = option("Places", "first level of the hierarchical tags in sidecars")
    dry_run: bool = option(
        False, "touch nothing in the library: list what would be done, in `out` alone"
    )
