"""What we have to say about a photo, laid into its XMP beside what others said.

Every value of ours is written down a second time in a namespace of ours. That tells, when the
photo is tagged again, which values may be replaced: those that still are what we wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving.tagging.albums import has_place, is_confident
from serving.tagging.tag_lists import HIERARCHY, LISTS, SUBJECT, TAGS_LIST, carry, tag_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from landmark_ml.inference.prediction import Prediction
    from serving.tagging.xmp import Xmp

POSITION = {
    "exif:GPSLatitude": "landmarkml:WroteLatitude",
    "exif:GPSLongitude": "landmarkml:WroteLongitude",
}
PLACE = {
    "photoshop:City": "landmarkml:WroteCity",
    "photoshop:Country": "landmarkml:WroteCountry",
    "Iptc4xmpCore:CountryCode": "landmarkml:WroteCountryCode",
}
"""Values that belong together, and where it is written down that they are ours."""

REMOVED = "landmarkml:RemovedTags"
MODEL, LEVEL, LANDMARK, CONFIDENCE = (
    "landmarkml:Model",
    "landmarkml:Level",
    "landmarkml:Landmark",
    "landmarkml:Confidence",
)


@dataclass(frozen=True)
class Saying:
    """What we say of a photo: lists, values (None: nothing), and who says so how surely.

    level: what the confidence is that of, the `landmark`, or its `city` or `country` alone.
    """

    lists: Mapping[str, tuple[str, ...]]
    values: Mapping[str, str | None]
    model: str
    landmark: str | None
    confidence: float | None
    level: str | None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to say."""
        return not any(self.lists.values()) and not any(self.values.values())


def say(
    answer: Prediction,
    model: str,
    *,
    country_codes: Mapping[str, str],
    root: str,
    min_confidence: float,
) -> Saying:
    """Turn an answer into XMP; an answer below `min_confidence` says nothing of the landmark.

    root: of the hierarchical tags. A position is said only where it is a landmark's: a photo that
    carries its own needs none, and the middle of a city is nowhere that a photo was taken.
    """
    sure, known = is_confident(answer, min_confidence), has_place(answer, min_confidence)
    landmark = answer["landmark"] if sure else None
    city, country = (answer["city"], answer["country"]) if known else (None, None)
    path = [part for part in (country, city, landmark) if part]
    return Saying(
        lists={
            SUBJECT: _once([landmark, *((answer["tags"] or []) if sure else []), city, country]),
            HIERARCHY: (tag_path([root, *path], HIERARCHY),) if path else (),
            TAGS_LIST: (tag_path([root, *path], TAGS_LIST),) if path else (),
        },
        values={
            **_position(answer if sure else None),
            "photoshop:City": city,
            "photoshop:Country": country,
            "Iptc4xmpCore:CountryCode": country_codes.get(country) if country else None,
        },
        model=model,
        landmark=landmark,
        confidence=answer["confidence"] if sure else None,
        level=answer["level"] if sure else None,
    )


def _position(answer: Prediction | None) -> dict[str, str | None]:
    """Where a landmark stands; nothing for a photo's own place or the middle of a city."""
    if (
        answer is None
        or answer["location_source"] != "landmark"
        or answer["latitude"] is None
        or answer["longitude"] is None
    ):
        return dict.fromkeys(POSITION)
    return {
        "exif:GPSLatitude": degrees(answer["latitude"], "NS"),
        "exif:GPSLongitude": degrees(answer["longitude"], "EW"),
    }


def degrees(value: float, sides: str) -> str:
    """Decimal degrees as XMP spells them: `48,51.504000N`."""
    millionths = round(abs(value) * 60 * 1_000_000)
    whole, minutes = divmod(millionths, 60 * 1_000_000)
    return f"{whole},{minutes / 1_000_000:.6f}{sides[value < 0]}"


def merge(xmp: Xmp, saying: Saying, told: Sequence[Mapping[str, str]] = ()) -> None:
    """Lay what we say into a document; nothing of anybody else's is changed or taken away.

    Tags that somebody took out after we had written them stay out. told: of POSITION and PLACE
    those that somebody tells elsewhere, so ours is not written.
    """
    if saying.is_empty and xmp.text(MODEL) is None:
        return
    for name in LISTS:
        _merge_list(xmp, name, saying.lists[name])
    for group in (POSITION, PLACE):
        values = {name: saying.values[name] for name in group}
        if any(group is other for other in told):
            values = dict.fromkeys(values)
        _merge_group(xmp, group, values)
    xmp.set_text(MODEL, saying.model)
    xmp.set_text(LEVEL, saying.level)
    xmp.set_text(LANDMARK, saying.landmark)
    xmp.set_text(CONFIDENCE, None if saying.confidence is None else f"{saying.confidence:.4f}")


def tells(xmp: Xmp, group: Mapping[str, str]) -> bool:
    """Whether a document tells a position or a place that is not ours."""
    return any(xmp.text(name) not in (None, xmp.text(wrote)) for name, wrote in group.items())


def _merge_list(xmp: Xmp, name: str, wanted: tuple[str, ...]) -> None:
    kind, wrote = LISTS[name]
    present, ours = xmp.items(name), xmp.items(wrote)
    removed = xmp.items(REMOVED)
    removed += [tag for tag in ours if tag not in present and tag not in removed]
    carried = carry(xmp, name, begin=any(tag not in removed for tag in wanted))
    present, ours = xmp.items(name), [tag for tag in ours if tag not in carried]
    theirs = {tag.casefold() for tag in present if tag not in ours}
    new = [tag for tag in wanted if tag.casefold() not in theirs and tag not in removed]
    xmp.drop_items(name, [tag for tag in ours if tag not in new])
    xmp.add_items(name, [tag for tag in new if tag not in present], kind)
    xmp.set_items(wrote, new)
    xmp.set_items(REMOVED, removed)


def _merge_group(xmp: Xmp, group: Mapping[str, str], values: Mapping[str, str | None]) -> None:
    """Replace values that are ours; as soon as one of a group is not, the whole group is theirs."""
    present = {name: xmp.text(name) for name in group}
    ours = {name: xmp.text(wrote) for name, wrote in group.items()}
    if present != ours:
        return
    for name, wrote in group.items():
        xmp.set_text(name, values[name])
        xmp.set_text(wrote, values[name])


def _once(names: list[str | None]) -> tuple[str, ...]:
    """Names without those that differ from an earlier one in case alone."""
    first: dict[str, str] = {}
    for name in names:
        if name:
            first.setdefault(name.casefold(), name)
    return tuple(first.values())
