"""A user's tags stay visible in programs that read the first list which holds anything."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from serving.tagging.sidecars import HIERARCHY, LISTS, MODEL, SUBJECT, TAGS_LIST, SidecarTags, merge
from serving.tagging.xmp import Xmp, XmpError

PATH = "Places/France/Paris"
TAGS = SidecarTags(
    lists={SUBJECT: ("Paris", "France"), HIERARCHY: ("Places|France|Paris",), TAGS_LIST: (PATH,)},
    values=dict.fromkeys(
        [
            "exif:GPSLatitude",
            "exif:GPSLongitude",
            "photoshop:City",
            "photoshop:Country",
            "Iptc4xmpCore:CountryCode",
        ]
    ),
    model="m/1",
    landmark=None,
    confidence=0.9,
    level="city",
)
NOTHING = replace(TAGS, lists=dict.fromkeys(LISTS, ()), confidence=None, level=None)


def document(**lists: list[str]) -> Xmp:
    """A user's document; subject, hierarchy, tags_list."""
    xmp = Xmp.new()
    for name, tags in lists.items():
        full = {"subject": SUBJECT, "hierarchy": HIERARCHY, "tags_list": TAGS_LIST}[name]
        xmp.add_items(full, tags, "Bag")
    return xmp


def shown(xmp: Xmp) -> set[str]:
    """Tags as Immich and digiKam show them: those of the first list that holds any."""
    if tags := xmp.items(TAGS_LIST):
        return set(tags)
    if paths := xmp.items(HIERARCHY):
        return {path.replace("/", "-").replace("|", "/") for path in paths}
    return set(xmp.items(SUBJECT))


def merged(xmp: Xmp, tags: SidecarTags = TAGS) -> Xmp:
    """The document after a merge and another one that changes nothing."""
    merge(xmp, tags)
    once = xmp.to_bytes()
    merge(xmp, tags)
    assert xmp.to_bytes() == once
    return Xmp.parse(once)


USERS = {
    "keywords": {"subject": ["holiday", "AC/DC"]},
    "paths": {"hierarchy": ["People|Ann", "Mood|b/w"]},
    "both": {"subject": ["Ann", "people", "holiday"], "hierarchy": ["People|Ann"]},
    "tags list": {"tags_list": ["People/Ann", "Odd|one"]},
    "tags list and more": {"subject": ["holiday"], "tags_list": ["People/Ann"]},
    "the same as we say": {"subject": ["PARIS"], "hierarchy": ["Places|France|Paris"]},
}


@pytest.mark.parametrize("lists", USERS.values(), ids=USERS)
def test_what_a_program_showed_it_shows_beside_ours(lists: dict[str, list[str]]) -> None:
    before = shown(document(**lists))
    xmp = merged(document(**lists))
    assert shown(xmp) >= before | {PATH}
    assert before <= shown(merged(xmp, replace(NOTHING, model="m/2")))


def test_a_keyword_is_carried_into_both_lists_and_stays_the_users() -> None:
    xmp = merged(document(subject=["holiday"]))
    assert xmp.items(TAGS_LIST) == ["holiday", PATH]
    assert xmp.items(HIERARCHY) == ["holiday", "Places|France|Paris"]
    assert xmp.items("landmarkml:WroteTagsList") == [PATH]
    xmp = merged(xmp, replace(NOTHING, model="m/2"))
    assert [xmp.items(name) for name in LISTS] == [["holiday"]] * 3


def test_a_keyword_that_is_part_of_a_path_is_carried_with_it() -> None:
    xmp = merged(document(subject=["Ann", "people", "holiday"], hierarchy=["People|Ann"]))
    assert xmp.items(TAGS_LIST) == ["People/Ann", "holiday", PATH]
    assert xmp.items(HIERARCHY) == ["People|Ann", "Places|France|Paris"]


def test_separators_within_a_part_become_dashes() -> None:
    assert "Mood/b-w" in merged(document(hierarchy=["Mood|b/w"])).items(TAGS_LIST)
    assert "Odd-one|x" in merged(document(tags_list=["Odd|one/x"])).items(HIERARCHY)


def test_a_list_with_tags_of_the_users_gets_none_from_elsewhere() -> None:
    xmp = merged(document(subject=["holiday"], tags_list=["People/Ann"]))
    assert xmp.items(TAGS_LIST) == ["People/Ann", PATH]


def test_what_we_said_in_another_list_is_not_carried() -> None:
    xmp = merged(Xmp.new())
    assert [xmp.items(name) for name in LISTS] == [list(TAGS.lists[name]) for name in LISTS]
    assert "Carried" not in xmp.to_bytes().decode()


def test_a_document_that_hides_them_already_is_mended() -> None:
    xmp = document(subject=["holiday", "Paris", "France"], tags_list=[PATH])
    xmp.set_items("landmarkml:WroteSubject", ["Paris", "France"])
    xmp.set_items("landmarkml:WroteTagsList", [PATH])
    xmp.set_text(MODEL, "m/1")
    assert set(merged(xmp).items(TAGS_LIST)) == {"holiday", PATH}


def test_one_that_a_user_takes_out_of_one_list_stays_out_and_a_later_one_comes() -> None:
    """Immich writes TagsList alone; others write keywords alone."""
    xmp = merged(document(subject=["holiday"]))
    xmp.drop_items(TAGS_LIST, ["holiday"])
    assert merged(xmp).items(TAGS_LIST) == [PATH]
    xmp.add_items(SUBJECT, ["beach"], "Bag")
    assert set(merged(xmp).items(TAGS_LIST)) == {"beach", PATH}
    xmp = merged(xmp, NOTHING)
    xmp.add_items(SUBJECT, ["sand"], "Bag")
    assert merged(xmp, NOTHING).items(TAGS_LIST) == ["beach", "sand"]


def test_a_path_of_the_users_that_we_said_too_becomes_theirs() -> None:
    xmp = merged(Xmp.new())
    xmp.set_items("landmarkml:WroteHierarchicalSubject", [])
    other = replace(TAGS, lists={**TAGS.lists, TAGS_LIST: ("Places/Italy",)})
    assert merged(xmp, other).items(TAGS_LIST) == [PATH, "Places/Italy"]


@pytest.mark.slow
def test_thousands_of_tags_are_merged_in_linear_time() -> None:
    many = [f"tag {number}" for number in range(9_000)]
    started = time.process_time()
    xmp = merged(document(subject=many))
    assert time.process_time() - started < 15
    assert xmp.items(SUBJECT) == [*many, "Paris", "France"]


def test_more_tags_than_anybody_has_are_refused() -> None:
    with pytest.raises(XmpError, match="dc:subject has more than 10,000 items"):
        merge(document(subject=[f"tag {number}" for number in range(10_001)]), TAGS)
