"""What we write about a photo, and how it is merged into XMP beside what others wrote.

Each value of ours is recorded a second time in a namespace of ours. So when the photo is tagged
again we know what we may replace: values that still equal the record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from serving.tagging.albums import has_place, is_confident
from serving.tagging.sidecars.xmp import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from landmark_ml.inference.prediction import Prediction
    from serving.tagging.sidecars.xmp import Xmp


class TagList(NamedTuple):
    """A list of tags: its kind in XMP, and where we record what in it we wrote or carried over."""

    kind: str
    wrote: str
    carried: str = ""
    separator: str = ""


SUBJECT, HIERARCHY, TAGS_LIST = "dc:subject", "lr:hierarchicalSubject", "digiKam:TagsList"
LISTS = {
    SUBJECT: TagList("Bag", "landmarkml:WroteSubject"),
    HIERARCHY: TagList(
        "Bag", "landmarkml:WroteHierarchicalSubject", "landmarkml:CarriedHierarchicalSubject", "|"
    ),
    TAGS_LIST: TagList("Seq", "landmarkml:WroteTagsList", "landmarkml:CarriedTagsList", "/"),
}
POSITION = {
    "exif:GPSLatitude": "landmarkml:WroteLatitude",
    "exif:GPSLongitude": "landmarkml:WroteLongitude",
}
PLACE = {
    "photoshop:City": "landmarkml:WroteCity",
    "photoshop:Country": "landmarkml:WroteCountry",
    "Iptc4xmpCore:CountryCode": "landmarkml:WroteCountryCode",
}
"""Values that belong together, and where we record that we wrote them."""

MODEL = "landmarkml:Model"
_REMOVED = "landmarkml:RemovedTags"


@dataclass(frozen=True)
class SidecarTags:
    """What a sidecar is to say. A value of None means nothing.

    level: what the confidence is of: the `landmark`, or only its `city` or `country`.
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


def build_tags(
    answer: Prediction,
    model: str,
    *,
    country_codes: Mapping[str, str],
    root: str,
    min_confidence: float,
) -> SidecarTags:
    """Turn an answer into tags; below `min_confidence` they say nothing of the landmark.

    root: first level of the hierarchical tags. A position is written only if it is a landmark's: a
    photo with its own needs none, and nobody took a photo at the middle of a city.
    """
    confident = is_confident(answer, min_confidence)
    placed = has_place(answer, min_confidence)
    landmark = _clean(answer["landmark"]) if confident else None
    city, country = (_clean(answer["city"]), _clean(answer["country"])) if placed else (None, None)
    # Of names that differ in case alone, the first counts.
    keywords: dict[str, str] = {}
    general = map(clean_text, (answer["tags"] or []) if confident else [])
    for tag in [landmark, *general, city, country]:
        if tag:
            keywords.setdefault(tag.casefold(), tag)
    code = country_codes.get(answer["country"] or "") if country else None
    path = [part for part in (country, city, landmark) if part]
    latitude, longitude = answer["latitude"], answer["longitude"]
    if not confident or answer["location_source"] != "landmark":
        latitude = longitude = None
    return SidecarTags(
        lists={
            SUBJECT: tuple(keywords.values()),
            HIERARCHY: (tag_path([clean_text(root), *path], HIERARCHY),) if path else (),
            TAGS_LIST: (tag_path([clean_text(root), *path], TAGS_LIST),) if path else (),
        },
        values={
            "exif:GPSLatitude": None if latitude is None else degrees(latitude, "NS"),
            "exif:GPSLongitude": None if longitude is None else degrees(longitude, "EW"),
            "photoshop:City": city,
            "photoshop:Country": country,
            "Iptc4xmpCore:CountryCode": code,
        },
        model=clean_text(model),
        landmark=landmark,
        confidence=answer["confidence"] if confident else None,
        level=answer["level"] if confident else None,
    )


def _clean(name: str | None) -> str | None:
    return clean_text(name) if name else None


def degrees(value: float, directions: str) -> str:
    """Decimal degrees in XMP's form: `48,51.504000N`."""
    millionths = round(abs(value) * 60 * 1_000_000)
    whole, minutes = divmod(millionths, 60 * 1_000_000)
    return f"{whole},{minutes / 1_000_000:.6f}{directions[value < 0]}"


def tag_path(parts: Iterable[str], name: str) -> str:
    """A path of tags as this list writes it; separators within a part become dashes."""
    parts = (part.replace("|", "-").replace("/", "-") for part in parts)
    return LISTS[name].separator.join(parts)


def merge(xmp: Xmp, tags: SidecarTags, elsewhere: Sequence[Mapping[str, str]] = ()) -> None:
    """Write tags into a document without changing or removing what others wrote.

    Tags of ours that somebody removed stay out. elsewhere: those of POSITION and PLACE that another
    document of this photo gives, so that ours are not written.
    """
    if tags.is_empty and xmp.text(MODEL) is None:
        return
    for name in LISTS:
        _merge_list(xmp, name, tags.lists[name])
    for group in (POSITION, PLACE):
        # As soon as one value of a group is not ours, the whole group is the user's.
        if all(xmp.text(name) == xmp.text(wrote) for name, wrote in group.items()):
            for name, wrote in group.items():
                value = None if any(group is other for other in elsewhere) else tags.values[name]
                xmp.set_text(name, value)
                xmp.set_text(wrote, value)
    xmp.set_text(MODEL, tags.model)
    xmp.set_text("landmarkml:Level", tags.level)
    xmp.set_text("landmarkml:Landmark", tags.landmark)
    confidence = None if tags.confidence is None else f"{tags.confidence:.4f}"
    xmp.set_text("landmarkml:Confidence", confidence)


def is_others(xmp: Xmp, group: Mapping[str, str]) -> bool:
    """Whether a document gives a position or a place that is not ours."""
    return any(xmp.text(name) not in (None, xmp.text(wrote)) for name, wrote in group.items())


def _merge_list(xmp: Xmp, name: str, wanted: tuple[str, ...]) -> None:
    # Sets, because a hostile or careless photo carries thousands of tags.
    kind, wrote, *_ = LISTS[name]
    present, ours = set(xmp.items(name)), xmp.items(wrote)
    removed = xmp.items(_REMOVED)
    known = present.union(removed)
    removed += [tag for tag in ours if tag not in known]
    unwanted = frozenset(removed)
    carried = set(_carry_over(xmp, name, begin=any(tag not in unwanted for tag in wanted)))
    after = xmp.items(name)
    present, mine = set(after), {tag for tag in ours if tag not in carried}
    theirs = {tag.casefold() for tag in after if tag not in mine}
    new = [tag for tag in wanted if tag.casefold() not in theirs and tag not in unwanted]
    xmp.drop_items(name, mine.difference(new))
    xmp.add_items(name, [tag for tag in new if tag not in present], kind)
    xmp.set_items(wrote, new)
    xmp.set_items(_REMOVED, removed)


def _carry_over(xmp: Xmp, name: str, *, begin: bool) -> list[str]:
    """Copy a user's tags of the other lists into one that has none of their own; return the new.

    Immich and digiKam read the first list that holds anything: TagsList, then hierarchicalSubject,
    then subject. A path of ours alone in the first would hide what a user has in the others. The
    copies count as the user's, and each is made once, so that it stays out when it is removed.
    begin: copy into a list that nothing was copied into before, because we are about to add to it.
    """
    carried = LISTS[name].carried
    if not carried or _own(xmp, name):
        return []
    present, before = set(xmp.items(name)), xmp.items(carried)
    copied = frozenset(before)
    if not begin and not present & copied:
        return []
    other = TAGS_LIST if name == HIERARCHY else HIERARCHY
    paths = [path.split(LISTS[other].separator) for path in _own(xmp, other)]
    # A keyword that is part of a path comes with it.
    parts = {part.casefold() for path in paths for part in path}
    flat = [tag for tag in _own(xmp, SUBJECT) if tag.casefold() not in parts]
    found = dict.fromkeys([*(tag_path(path, name) for path in paths), *flat])
    new = [tag for tag in found if tag not in copied]
    xmp.add_items(name, [tag for tag in new if tag not in present], LISTS[name].kind)
    xmp.set_items(carried, before + new)
    return new


def _own(xmp: Xmp, name: str) -> list[str]:
    """Tags of a list that are neither ours nor carried over."""
    _, wrote, carried, _ = LISTS[name]
    others = {*xmp.items(wrote), *(xmp.items(carried) if carried else [])}
    return [tag for tag in xmp.items(name) if tag not in others]
