"""XMP sidecars: write tags, place and position beside the photos, and take out what we wrote.

A user's edit is never undone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import IptcImagePlugin
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from landmark_ml.config import TagConfig, UntagConfig, user_path
from landmark_ml.console import Bar
from landmark_ml.files import write_whole
from landmark_ml.inference.photos import DEFAULT_LIMITS, PhotoError, read_at_most
from landmark_ml.inference.prediction import Prediction
from serving.tagging.library import OTHER_PICTURES, PHOTO_SUFFIXES, Library, Tagged, printable
from serving.tagging.table import has_place, is_confident, list_of_out
from serving.tagging.xmp import Xmp, XmpError, clean_text

logger = logging.getLogger(__name__)


SIDECARS_CSV, UNTAGGED_CSV = "sidecars.csv", "untagged.csv"
FULL_NAME = "photo.jpg.xmp"
"""The naming that keeps the photo's suffix; the other is `photo.xmp`."""

_FOLDERS_REMEMBERED = 64
_LEFT_OVER = re.compile(r"\..+\.xmp(\.[0-9a-f]{1,8})?\.tmp", re.DOTALL)
# The prefix is the writer's choice, x:xapmeta an old name, and some write the RDF alone.
_OPENING = re.compile(rb"<(\w+:x[am]pmeta|rdf:RDF)\b")
_CLOSING = re.compile(rb"</(\w+:x[am]pmeta|rdf:RDF)\s*>")
_IPTC_KEYWORDS = (2, 25)
_IPTC_FORMATS: dict[bytes, type[JpegImageFile] | type[TiffImageFile]] = {
    b"\xff\xd8": JpegImageFile,
    b"II": TiffImageFile,
    b"MM": TiffImageFile,
}


class SidecarChange(NamedTuple):
    """What was done, or in a dry run would be: `created`, `changed`, `kept`, `removed`, `refused`.

    detail: the tags written or taken out, or why it was refused. before: tags, position and place
    that the sidecar held, as JSON; empty: it was not there.
    """

    sidecar: Path
    action: str
    detail: str = ""
    before: str = ""


def write_sidecars(
    answers: Iterable[Tagged],
    root: Path,
    config: TagConfig,
    say: Callable[[Prediction], SidecarTags],
) -> Iterator[tuple[list[Path], SidecarChange]]:
    """Update the sidecar of every photo; yield both paths in the library, and what was done."""
    swept: set[Path] = set()
    for photo in Bar(answers, desc="sidecars", unit=" photos"):
        folder = (root / photo.path).parent
        if not config.dry_run and folder not in swept:
            swept.add(folder)
            # What killed taggers left. One that runs now loses a sidecar at worst: `refused`.
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if _LEFT_OVER.fullmatch(entry.name):
                        Path(entry).unlink(missing_ok=True)
        if photo.answer["error"] is not None:
            # The disk may have failed only today; that tells nothing of what the photo shows.
            continue
        answer = photo.answer
        if photo.neighbour and _has_position(root / photo.path):
            answer = answer.copy()
            answer.update(city=None, country=None, location_source=None)
        if change := update_sidecar(
            root / photo.path, say(answer), config.sidecars, dry_run=config.dry_run
        ):
            yield [photo.path, change.sidecar.relative_to(root)], change


def list_changes(
    table: Path, columns: list[str], changes: Iterable[tuple[list[Path], SidecarChange]]
) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Write a CSV of `out` with what was changed, created, removed, refused or gone.

    columns: of the paths that stand before each change. Returns the number of changes by action,
    and of those refused by folder and reason.
    """
    done, refusals = Counter[str](), Counter[tuple[str, str]]()
    with list_of_out(table, (*columns, *SidecarChange._fields[1:])) as add:
        for paths, change in changes:
            done[change.action] += 1
            if change.action == "refused":
                refusals[printable(change.sidecar.parent), change.detail] += 1
            if change.action != "kept":
                add([*map(printable, paths), *change[1:]])
    return done, refusals


def update_sidecar(
    photo: Path, tags: SidecarTags, naming: str, *, dry_run: bool
) -> SidecarChange | None:
    """Merge tags into the sidecar of a photo; None where there are neither tags nor a sidecar.

    A sidecar that cannot be understood, read or written is left alone and `refused`.
    """
    # What is read to find the sidecar, until it is found: that may be what fails.
    sidecar = photo.with_suffix(".xmp")
    try:
        sidecar = find_sidecar(photo, naming)
        before = sidecar.read_bytes() if sidecar.is_file() else None
        if before is None and tags.is_empty:
            return None
        xmp = Xmp.new() if before is None else Xmp.parse(before)
        held = "" if before is None else _held(xmp)
        begins = not tags.is_empty and xmp.text(MODEL) is None and not any(map(xmp.items, LISTS))
        gives_place = any(value is not None for value in tags.values.values())
        embedded = embedded_xmp(photo) if begins or gives_place else None
        if begins:
            # Programs that find tags in a sidecar look no further, and would forget those inside
            # the photo: in its XMP, or else in its IPTC.
            if embedded is not None:
                for name, tag_list in LISTS.items():
                    xmp.add_items(name, embedded.items(name), tag_list.kind)
            if not xmp.items(SUBJECT):
                xmp.add_items(SUBJECT, iptc_keywords(photo), LISTS[SUBJECT].kind)
            xmp.set_items(_COPIED, [tag for name in LISTS for tag in xmp.items(name)])
        merge(xmp, tags, _given_elsewhere(photo, embedded, sidecar) if gives_place else ())
        after = xmp.to_bytes() if xmp.changed else before
        if after == before or after is None:
            return SidecarChange(sidecar, "kept")
        if not dry_run:
            _write(sidecar, after)
    except (OSError, XmpError, PhotoError) as error:
        return _refused(sidecar, error)
    action = "created" if before is None else "changed"
    return SidecarChange(sidecar, action, ", ".join(tags.lists[SUBJECT]), held)


def _write(sidecar: Path, content: bytes) -> None:
    # Where the sidecar is a link, the file it leads to is written. A scratch name of its own:
    # another tagger, with another `out`, may write the same sidecar.
    target = sidecar.resolve()
    write_whole(target, content, f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")


def _refused(sidecar: Path, error: Exception) -> SidecarChange:
    # Without the number, and the scratch file that nobody asked for.
    return SidecarChange(sidecar, "refused", getattr(error, "strerror", None) or str(error))


def _held(xmp: Xmp) -> str:
    """Tags, position and place in a document, as JSON."""
    texts = {name: xmp.text(name) for group in (POSITION, PLACE) for name in group}
    found = {name: xmp.items(name) for name in LISTS} | texts
    return json.dumps({name: value for name, value in found.items() if value}, ensure_ascii=False)


def untag(config: UntagConfig) -> list[SidecarChange]:
    """Take what we wrote out of the sidecars of a library or a photo, and list it in `out`.

    Gives the sidecars changed, removed because nothing is left in them, or refused. Raises
    ValueError when the photos are not there.
    """
    photos, out = user_path(config.photos), user_path(config.out)
    if photos.is_file():
        root, sidecars = photos.parent, [*filter(Path.is_file, _names(photos))]
    else:
        library = Library(photos, frozenset([out.resolve()]), suffixes=frozenset([".xmp"]))
        root = photos
        sidecars = [root / found.path for found in library.walk()]
    bar = Bar(sidecars, desc="untagging", unit=" sidecars")
    found = (untag_sidecar(sidecar, dry_run=config.dry_run) for sidecar in bar)
    changes = [change for change in found if change is not None]
    rows = (([change.sidecar.relative_to(root)], change) for change in changes)
    list_changes(out / UNTAGGED_CSV, ["sidecar"], rows)
    return changes


def untag_sidecar(sidecar: Path, *, dry_run: bool) -> SidecarChange | None:
    """Take out what we wrote and nobody changed since; None where there is nothing of ours."""
    try:
        xmp = Xmp.parse(sidecar.read_bytes())
        if xmp.text(MODEL) is None:
            return None
        before, held = xmp.items(SUBJECT), _held(xmp)
        merge(xmp, _NOTHING)
        for name, tag_list in LISTS.items():
            copies = xmp.items(tag_list.carried) if tag_list.carried else []
            xmp.drop_items(name, {*copies, *xmp.items(_COPIED)})
        xmp.drop_all("landmarkml")
        if not dry_run and xmp.is_empty:
            sidecar.unlink()
        elif not dry_run:
            _write(sidecar, xmp.to_bytes())
    except (OSError, XmpError) as error:
        return _refused(sidecar, error)
    left = xmp.items(SUBJECT)
    taken = ", ".join(tag for tag in before if tag not in left)
    return SidecarChange(sidecar, "removed" if xmp.is_empty else "changed", taken, held)


def find_sidecar(photo: Path, naming: str) -> Path:
    """The sidecar that exists under either name, the one asked for first; else the one to create.

    `photo.xmp` belongs to the picture it names; if it names none, to this photo unless another
    picture in the folder has the same stem. Raises OSError when it cannot be read.
    """
    names = _names(photo) if naming == FULL_NAME else _names(photo)[::-1]
    return next(filter(Path.is_file, names), names[0])


def _names(photo: Path) -> list[Path]:
    """The sidecars that a photo may have."""
    full, stem = photo.with_name(f"{photo.name}.xmp"), photo.with_suffix(".xmp")
    return [full, stem] if _owns(stem, photo) else [full]


def _owns(stem: Path, photo: Path) -> bool:
    """Whether `photo.xmp` is this photo's."""
    if photo.with_name(photo.stem).is_file():
        # Beside `a.mp4` and `a.mp4.jpg`, `a.mp4.xmp` is the full name of the video's sidecar.
        return False
    extension = None
    if stem.is_file():
        with contextlib.suppress(XmpError):
            extension = Xmp.parse(stem.read_bytes()).text("photoshop:SidecarForExtension")
    if extension is not None:
        return extension.lower() == photo.suffix[1:].lower()
    return _pictures_by_stem(photo.parent)[photo.stem.lower()] <= 1


@lru_cache(maxsize=_FOLDERS_REMEMBERED)
def _pictures_by_stem(folder: Path) -> Counter[str]:
    with os.scandir(folder) as entries:
        names = [Path(entry.name) for entry in entries]
    pictures = PHOTO_SUFFIXES | OTHER_PICTURES
    return Counter(name.stem.lower() for name in names if name.suffix.lower() in pictures)


def _given_elsewhere(photo: Path, embedded: Xmp | None, sidecar: Path) -> list[Mapping[str, str]]:
    """Positions and places that others wrote into the photo itself or its other sidecar."""
    names = {*filter(Path.is_file, _names(photo))} - {sidecar}
    others = [Xmp.parse(name.read_bytes()) for name in names]
    documents = others if embedded is None else [embedded, *others]
    groups: tuple[Mapping[str, str], ...] = (POSITION, PLACE)
    return [group for group in groups if any(is_others(found, group) for found in documents)]


def _has_position(photo: Path) -> bool:
    """Whether others wrote a position, so that a guessed place has no business there."""
    with contextlib.suppress(OSError, XmpError, PhotoError):
        return POSITION in _given_elsewhere(photo, embedded_xmp(photo), photo)
    # Writing the sidecar meets the same error and reports it.
    return False


def embedded_xmp(photo: Path) -> Xmp | None:
    """The XMP inside a photo of any format; None when there is none that can be read.

    The packet is found by its tags, as the XMP specification (part 3) provides for.
    """
    content = read_at_most(photo, DEFAULT_LIMITS.max_bytes)
    # From the first tag that is closed; tags that nobody closes must not be searched for each time.
    last = {closing[1]: closing.start() for closing in _CLOSING.finditer(content)}
    for opening in _OPENING.finditer(content):
        if last.get(opening[1], 0) > opening.start():
            closings = _CLOSING.finditer(content, opening.end())
            closing = next(found for found in closings if found[1] == opening[1])
            with contextlib.suppress(XmpError):
                return Xmp.parse(content[opening.start() : closing.end()])
            return None
    return None


def iptc_keywords(photo: Path) -> list[str]:
    """Keywords as older programs write them into a JPEG or TIFF: dataset 2:25 of IPTC's IIM.

    None where they cannot be read. Raises OSError for a file that cannot be opened.
    """
    with photo.open("rb") as file:
        opened = _IPTC_FORMATS.get(file.read(2))
        if opened is None:
            return []
        file.seek(0)
        try:
            found = (IptcImagePlugin.getiptcinfo(opened(file)) or {}).get(_IPTC_KEYWORDS, [])
        except Exception as error:
            # Foreign bytes parsed in Python: a damaged block can raise anything.
            logger.debug("unreadable IPTC block ignored: %r", error)
            return []
    # Pillow gives an empty keyword as None, and one keyword without a list.
    texts = [_text(word) for word in (found if isinstance(found, list) else [found]) if word]
    return list(dict.fromkeys(text for text in texts if text))


def _text(keyword: bytes) -> str:
    """A keyword in whatever encoding it has."""
    for encoding in ("utf-8", "cp1252", "latin-1"):
        with contextlib.suppress(UnicodeDecodeError):
            return clean_text(keyword.decode(encoding))
    raise AssertionError("latin-1 reads every byte")


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
_COPIED = "landmarkml:CopiedTags"
"""Tags that we copied from the photo into the first sidecar that we wrote for it."""


@dataclass(frozen=True)
class SidecarTags:
    """Tags to write into a sidecar; None stands for no value.

    level: what the confidence is of: the `landmark`, or only its `city` or `country`. source:
    `neighbour` where the place is a guess.
    """

    lists: Mapping[str, tuple[str, ...]]
    values: Mapping[str, str | None]
    model: str
    landmark: str | None
    confidence: float | None
    level: str | None
    source: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to say."""
        return not any(self.lists.values()) and not any(self.values.values())


_NOTHING = SidecarTags(
    dict.fromkeys(LISTS, ()), dict.fromkeys({**POSITION, **PLACE}), "", None, None, None
)


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
    place = [*filter(None, (country, city, landmark))]
    path = [*filter(None, [clean_text(root)]), *place] if place else []
    latitude, longitude = answer["latitude"], answer["longitude"]
    if not confident or answer["location_source"] != "landmark":
        latitude = longitude = None
    return SidecarTags(
        lists={
            SUBJECT: tuple(keywords.values()),
            HIERARCHY: (tag_path(path, HIERARCHY),) if path else (),
            TAGS_LIST: (tag_path(path, TAGS_LIST),) if path else (),
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
        source="neighbour" if answer["location_source"] == "neighbour" else None,
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
    xmp.set_text("landmarkml:LocationSource", tags.source)
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
