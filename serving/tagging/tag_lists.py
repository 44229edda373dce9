"""The lists of an XMP document that hold tags, and how a user's tags come along between them.

Immich and digiKam read the first list that holds anything: TagsList, then hierarchicalSubject, then
subject. A path of ours that stood alone in the first would hide what a user has in the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from serving.tagging.xmp import Xmp

SUBJECT, HIERARCHY, TAGS_LIST = "dc:subject", "lr:hierarchicalSubject", "digiKam:TagsList"
LISTS = {
    SUBJECT: ("Bag", "landmarkml:WroteSubject"),
    HIERARCHY: ("Bag", "landmarkml:WroteHierarchicalSubject"),
    TAGS_LIST: ("Seq", "landmarkml:WroteTagsList"),
}
"""Kind of each list, and where it is written down what in it is ours."""

SEPARATORS = {HIERARCHY: "|", TAGS_LIST: "/"}
_CARRIED = {
    HIERARCHY: "landmarkml:CarriedHierarchicalSubject",
    TAGS_LIST: "landmarkml:CarriedTagsList",
}


def tag_path(parts: Iterable[str], name: str) -> str:
    """A path of tags as a list spells it; separators within a part become dashes."""
    parts = (part.replace("|", "-").replace("/", "-") for part in parts)
    return SEPARATORS[name].join(parts)


def carry(xmp: Xmp, name: str, *, begin: bool) -> list[str]:
    """Lay a user's tags of the other lists into one that has none of their own; return the new.

    They count as the user's. Each is carried once, so that it stays out when it is taken out.
    begin: carry into a list that nothing was carried into, as something of ours gets there.
    """
    if name not in _CARRIED or _own(xmp, name):
        return []
    present, before = xmp.items(name), xmp.items(_CARRIED[name])
    if not begin and not any(tag in before for tag in present):
        return []
    new = [tag for tag in _of_other_lists(xmp, name) if tag not in before]
    xmp.add_items(name, [tag for tag in new if tag not in present], LISTS[name][0])
    xmp.set_items(_CARRIED[name], before + new)
    return new


def _of_other_lists(xmp: Xmp, name: str) -> list[str]:
    """A user's tags as a list of paths spells them; a keyword that is part of a path is in it."""
    other = TAGS_LIST if name == HIERARCHY else HIERARCHY
    paths = [path.split(SEPARATORS[other]) for path in _own(xmp, other)]
    parts = {part.casefold() for path in paths for part in path}
    flat = [tag for tag in _own(xmp, SUBJECT) if tag.casefold() not in parts]
    return list(dict.fromkeys([*(tag_path(path, name) for path in paths), *flat]))


def _own(xmp: Xmp, name: str) -> list[str]:
    """What of a list is neither ours nor was carried there."""
    carried = xmp.items(_CARRIED[name]) if name in _CARRIED else []
    others = {*xmp.items(LISTS[name][1]), *carried}
    return [tag for tag in xmp.items(name) if tag not in others]
