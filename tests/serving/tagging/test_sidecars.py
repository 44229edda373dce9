"""Sidecars: what they say, which file is a photo's, and that nothing of a user's is lost."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.tag import print_tagging
from landmark_ml.config import TagConfig
from landmark_ml.inference.prediction import Prediction, refused
from landmark_ml.inference.predictor import Predictor
from serving.tagging.library import Tagged
from serving.tagging.sidecars import (
    HIERARCHY,
    LISTS,
    MODEL,
    SUBJECT,
    TAGS_LIST,
    SidecarChange,
    SidecarTags,
    build_tags,
    degrees,
    find_sidecar,
    merge,
    update_sidecar,
    write_sidecars,
)
from serving.tagging.xmp import Xmp, XmpError
from tests.colour_artifact import TOWER
from tests.serving.tagging.conftest import Run
from tests.serving.tagging.sidecar_files import written

FLAT = ["Eiffel Tower", "tower", "paris", "France"]
CODES = {"France": "FR"}


@pytest.fixture
def answer(predictor: Predictor, photo: Path) -> Prediction:
    (found,) = predictor.predict([photo.read_bytes()])
    return found


@pytest.fixture
def tags(answer: Prediction) -> SidecarTags:
    return tags_of(answer)


def tags_of(
    answer: Prediction, model: str = "landmarks/1", min_confidence: float = 0.5
) -> SidecarTags:
    return build_tags(
        answer, model, country_codes=CODES, root="Places", min_confidence=min_confidence
    )


def change_of(photo: Path, tags: SidecarTags, naming: str = "photo.jpg.xmp") -> SidecarChange:
    change = update_sidecar(photo, tags, naming, dry_run=False)
    assert change is not None
    return change


def update(photo: Path, tags: SidecarTags, naming: str = "photo.jpg.xmp") -> Xmp:
    """The sidecar after an update."""
    change = change_of(photo, tags, naming)
    assert change.action in ("created", "changed", "kept"), change
    return Xmp.parse(change.sidecar.read_bytes())


def test_a_sidecar_says_what_and_where(photo: Path, tags: SidecarTags) -> None:
    before = photo.read_bytes()
    xmp = update(photo, tags)
    assert photo.read_bytes() == before
    assert xmp.items("dc:subject") == FLAT
    assert xmp.items("lr:hierarchicalSubject") == ["Places|France|Paris|Eiffel Tower"]
    assert xmp.items("digiKam:TagsList") == ["Places/France/Paris/Eiffel Tower"]
    assert xmp.text("exif:GPSLatitude") == "48,51.504000N"
    assert xmp.text("exif:GPSLongitude") == "2,17.670000E"
    assert (xmp.text("photoshop:City"), xmp.text("photoshop:Country")) == ("Paris", "France")
    assert xmp.text("Iptc4xmpCore:CountryCode") == "FR"
    assert xmp.text("landmarkml:Model") == "landmarks/1"
    assert xmp.text("landmarkml:Landmark") == "Eiffel Tower"
    assert 0.9 < float(xmp.text("landmarkml:Confidence") or 0) <= 1


def test_control_characters_in_names_are_left_out(photo: Path, answer: Prediction) -> None:
    answer = answer | {
        "landmark": "Eiffel\x00 Tower\x1b",
        "city": "Pa\u0008ris",
        "tags": ["a\nb\udc80"],
    }
    xmp = update(photo, tags_of(answer, model="landmarks\x07/1"))
    assert xmp.items("dc:subject") == ["Eiffel Tower", "a b", "Paris", "France"]
    assert xmp.text("photoshop:City") == "Paris"
    assert xmp.text("landmarkml:Model") == "landmarks/1"


def test_two_taggers_write_a_sidecar_through_files_of_their_own(
    photo: Path, tags: SidecarTags, monkeypatch: pytest.MonkeyPatch
) -> None:
    through: list[str] = []
    replace_file = Path.replace

    def replaced(scratch: Path, target: Path) -> Path:
        through.append(scratch.name)
        # The other one comes in between.
        if len(through) == 1:
            update(photo, tags)
        return replace_file(scratch, target)

    monkeypatch.setattr(Path, "replace", replaced)
    update(photo, tags)
    assert len(set(through)) == 2
    assert sorted(path.name for path in photo.parent.iterdir()) == ["tower.jpg", "tower.jpg.xmp"]


@pytest.mark.parametrize(
    ("value", "sides", "text"),
    [
        (TOWER.latitude, "NS", "48,51.504000N"),
        (-33.8568, "NS", "33,51.408000S"),
        (-0.5, "EW", "0,30.000000W"),
        (179.99999999999, "EW", "180,0.000000E"),
        (0.0, "NS", "0,0.000000N"),
    ],
)
def test_degrees_are_spelled_as_xmp_does(value: float, sides: str, text: str) -> None:
    assert degrees(value, sides) == text


def test_twice_is_once(photo: Path, tags: SidecarTags) -> None:
    update(photo, tags)
    sidecar = photo.with_name("tower.jpg.xmp")
    before, changed = sidecar.read_bytes(), sidecar.stat().st_mtime_ns
    assert change_of(photo, tags).action == "kept"
    assert (sidecar.read_bytes(), sidecar.stat().st_mtime_ns) == (before, changed)


def test_a_users_words_stay_through_any_number_of_models(photo: Path, tags: SidecarTags) -> None:
    sidecar = written(
        photo.with_name("tower.jpg.xmp"),
        dc__subject=["holiday", "PARIS"],
        photoshop__City="Lutetia",
        exif__GPSLatitude="1,0.0N",
        exif__GPSLongitude="2,0.0E",
        digiKam__TagsList=["People/Someone"],
    )
    for model in ("landmarks/1", "landmarks/2", "landmarks/3"):
        xmp = update(photo, replace(tags, model=model))
    assert xmp.items("dc:subject") == ["holiday", "PARIS", "Eiffel Tower", "tower", "France"]
    assert xmp.items("digiKam:TagsList") == ["People/Someone", "Places/France/Paris/Eiffel Tower"]
    assert (xmp.text("photoshop:City"), xmp.text("photoshop:Country")) == ("Lutetia", None)
    assert xmp.text("exif:GPSLatitude") == "1,0.0N"
    nothing = SidecarTags(
        dict.fromkeys(LISTS, ()), dict.fromkeys(tags.values), "m/4", None, None, None
    )
    xmp = update(photo, nothing)
    assert xmp.items("dc:subject") == ["holiday", "PARIS"]
    assert xmp.items("digiKam:TagsList") == ["People/Someone"]
    assert xmp.text("photoshop:City") == "Lutetia"
    assert sidecar.exists()


def test_a_new_model_replaces_what_the_old_one_said(photo: Path, tags: SidecarTags) -> None:
    update(photo, tags)
    other = replace(
        tags,
        lists=dict.fromkeys(LISTS, ("Castle", "France")),
        values={**tags.values, "photoshop:City": None, "exif:GPSLatitude": "43,0.000000N"},
        model="landmarks/2",
        landmark="Castle",
    )
    xmp = update(photo, other)
    assert xmp.items("dc:subject") == ["France", "Castle"]
    assert xmp.text("photoshop:City") is None
    assert xmp.text("exif:GPSLatitude") == "43,0.000000N"
    assert xmp.text("landmarkml:Landmark") == "Castle"


def test_what_a_user_took_out_or_changed_stays_so(photo: Path, tags: SidecarTags) -> None:
    xmp = update(photo, tags)
    xmp.drop_items("dc:subject", ["tower"])
    xmp.set_text("photoshop:City", "Paris 7e")
    xmp.set_text("exif:GPSLatitude", None)
    xmp.set_text("exif:GPSLongitude", None)
    photo.with_name("tower.jpg.xmp").write_bytes(xmp.to_bytes())
    for model in ("landmarks/1", "landmarks/2"):
        xmp = update(photo, replace(tags, model=model))
        assert xmp.items("dc:subject") == ["Eiffel Tower", "paris", "France"]
        assert xmp.text("photoshop:City") == "Paris 7e"
        assert xmp.text("exif:GPSLatitude") is None


def test_where_the_photo_itself_knows_we_say_nothing(photo: Path, answer: Prediction) -> None:
    own: Prediction = {**answer, "location_source": "exif", "latitude": 12.0, "longitude": 34.0}
    xmp = update(photo, tags_of(own))
    assert xmp.text("exif:GPSLatitude") is None
    assert xmp.items("dc:subject") == FLAT


CITY = 'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:City="Lyon"'
PACKET = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="1,0.0N" exif:GPSLongitude="2,0.0E">
<dc:subject><rdf:Bag><rdf:li>grandma</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize("root", ["x:xmpmeta", "xmp:xmpmeta", "x:xapmeta", ""])
def test_the_words_inside_the_photo_are_heeded(photo: Path, tags: SidecarTags, root: str) -> None:
    packet = PACKET.replace("x:xmpmeta", root).replace("xmlns:x=", f"xmlns:{root[:-8] or 'x'}=")
    if not root:
        packet = packet[packet.index("<rdf:RDF") : packet.index("</>")]
    photo.write_bytes(photo.read_bytes() + packet.encode())
    xmp = update(photo, tags)
    assert xmp.items("dc:subject") == ["grandma", *FLAT]
    assert xmp.items("landmarkml:WroteSubject") == FLAT
    assert xmp.text("exif:GPSLatitude") is None


@pytest.mark.parametrize("noise", ["<x:xmpmeta>", "<rdf:RDF>", "</x:xmpmeta>", "<{}:xmpmeta>"])
def test_tags_that_nobody_closes_are_searched_once(
    photo: Path, tags: SidecarTags, noise: str
) -> None:
    # Searched again from each of them, a photo of this size would take a quarter of an hour.
    many = "".join(noise.format(f"n{number}") for number in range(100_000))
    photo.write_bytes(photo.read_bytes() + many.encode())
    assert "grandma" not in update(photo, tags).items("dc:subject")


@pytest.mark.parametrize("inside", [True, False])
def test_a_place_given_elsewhere_is_not_contradicted(
    photo: Path, tags: SidecarTags, inside: bool
) -> None:
    if inside:
        packet = PACKET.replace('exif:GPSLatitude="1,0.0N" exif:GPSLongitude="2,0.0E"', CITY)
        photo.write_bytes(photo.read_bytes() + packet.encode())
    else:
        written(photo.with_name("tower.xmp"), photoshop__City="Lyon")
        written(photo.with_name("tower.jpg.xmp"), dc__title="a tower")
    xmp = update(photo, tags)
    assert [xmp.text(f"photoshop:{name}") for name in ("City", "Country")] == [None, None]
    assert xmp.text("exif:GPSLatitude") is not None


def test_they_come_into_a_sidecar_without_tags_as_well(photo: Path, tags: SidecarTags) -> None:
    """Immich writes one for a rating or a date, and goes on reading tags from the photo."""
    photo.write_bytes(photo.read_bytes() + PACKET.encode())
    sidecar = written(photo.with_name("tower.jpg.xmp"), photoshop__City="Lutetia")
    assert update(photo, tags).items("dc:subject") == ["grandma", *FLAT]
    xmp = Xmp.parse(sidecar.read_bytes())
    for name in LISTS:
        xmp.drop_items(name, xmp.items(name))
    sidecar.write_bytes(xmp.to_bytes())
    assert update(photo, tags).items("dc:subject") == []
    written(sidecar, dc__subject=["holiday"])
    assert update(photo, tags).items("dc:subject") == ["holiday", *FLAT]


def test_an_unsure_answer_says_nothing(photo: Path, answer: Prediction) -> None:
    unsure = tags_of(answer, min_confidence=1.0)
    assert unsure.is_empty
    assert update_sidecar(photo, unsure, "photo.jpg.xmp", dry_run=False) is None
    assert list(photo.parent.iterdir()) == [photo]


def test_foreign_sidecars_are_untouched_where_nothing_is_said(
    photo: Path, answer: Prediction
) -> None:
    sidecar = written(photo.with_name("tower.jpg.xmp"), dc__subject=["holiday"])
    before = sidecar.read_bytes()
    update(photo, tags_of(answer, min_confidence=1.0))
    assert sidecar.read_bytes() == before


@pytest.mark.parametrize("naming", ["photo.jpg.xmp", "photo.xmp"])
def test_a_sidecar_that_names_another_picture_is_not_of_a_lone_photo(
    photo: Path, tags: SidecarTags, naming: str
) -> None:
    """The raw file was moved elsewhere, and its sidecar was left behind."""
    raw = written(
        photo.with_name("tower.xmp"),
        photoshop__SidecarForExtension="CR2",
        exif__GPSLatitude="1,0.0N",
        exif__GPSLongitude="2,0.0E",
    )
    before = raw.read_bytes()
    assert find_sidecar(photo, naming).name == "tower.jpg.xmp"
    assert update(photo, tags, naming).text("exif:GPSLatitude") == "48,51.504000N"
    assert raw.read_bytes() == before


def test_the_other_sidecar_may_know_the_place(photo: Path, tags: SidecarTags) -> None:
    written(photo.with_name("tower.xmp"), exif__GPSLatitude="1,0.0N", exif__GPSLongitude="2,0.0E")
    written(photo.with_name("tower.jpg.xmp"))
    assert update(photo, tags).text("exif:GPSLatitude") is None


@pytest.mark.parametrize("content", [b"", b"<broken", b'<!DOCTYPE a [<!ENTITY x "y">]><a/>'])
def test_a_sidecar_that_is_not_understood_is_left_alone(
    content: bytes, photo: Path, tags: SidecarTags
) -> None:
    sidecar = photo.with_name("tower.jpg.xmp")
    sidecar.write_bytes(content)
    change = change_of(photo, tags)
    assert change.action == "refused"
    assert change.detail
    assert sidecar.read_bytes() == content


def test_a_library_gets_its_sidecars_and_a_dry_run_none(
    photos: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TagConfig(
        photos=str(photos), out=str(tmp_path / "out"), sidecars="photo.jpg.xmp", dry_run=True
    )
    files = sorted(photos.rglob("*"))
    planned = run(config)
    assert sorted(photos.rglob("*")) == files
    assert planned.written == {"created": 4}
    assert "tag/sidecars_created" not in planned.metrics()
    print_tagging(planned)
    assert "4 created if this were no dry run: see" in capsys.readouterr().out
    done = run(replace(config, dry_run=False))
    assert done.written == planned.written
    assert done.metrics()["tag/sidecars_created"] == 4
    assert len(list(photos.rglob("*.xmp"))) == 4
    assert (tmp_path / "out/sidecars.csv").read_text(encoding="utf-8").count("created") == 4
    again = run(replace(config, dry_run=False))
    assert (again.written, again.recognised) == ({"kept": 4}, 0)


def test_a_photo_that_cannot_be_read_today_keeps_what_was_said_of_it(
    photo: Path, answer: Prediction, tmp_path: Path
) -> None:
    config = TagConfig(out=str(tmp_path), sidecars="photo.jpg.xmp")

    def write(found: Prediction) -> dict[str, int]:
        tagged = [Tagged(Path(photo.name), found)]
        changes = write_sidecars(tagged, photo.parent, config, tags_of)
        return Counter(change.action for _, change in changes)

    assert write(answer) == {"created": 1}
    before = photo.with_name("tower.jpg.xmp").read_bytes()
    assert write(refused("cannot_be_read", "Input/output error")) == {}
    assert photo.with_name("tower.jpg.xmp").read_bytes() == before


def test_names_cannot_break_the_hierarchy() -> None:
    answer: Any = dict.fromkeys(Prediction.__annotations__)
    answer |= {"is_landmark": True, "confidence": 1.0, "landmark": "A/B|C", "tags": []}
    assert tags_of(answer).lists["digiKam:TagsList"] == ("Places/A-B-C",)
    xmp = Xmp.new()
    merge(xmp, tags_of(answer))
    assert xmp.items("dc:subject") == ["A/B|C"]


def test_a_sidecar_that_the_system_does_not_give_is_refused(
    photo: Path, tags: SidecarTags, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both pictures are called so: whose the sidecar is stands in it alone."""
    photo.with_name("tower.CR2").write_bytes(b"raw")
    sidecar = written(photo.with_name("tower.xmp"))
    read_bytes = type(sidecar).read_bytes

    def read_or_refuse(path: Path) -> bytes:
        if path == sidecar:
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(type(sidecar), "read_bytes", read_or_refuse)
    change = change_of(photo, tags)
    assert (change.action, change.sidecar) == ("refused", sidecar)
    assert "Permission denied" in change.detail


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_photo_that_has_become_a_pipe_is_not_waited_for(photo: Path, tags: SidecarTags) -> None:
    photo.unlink()
    os.mkfifo(photo)
    change = change_of(photo, tags)
    assert (change.action, "is a pipe" in change.detail) == ("refused", True)
    assert not photo.with_name("tower.jpg.xmp").exists()


@pytest.mark.parametrize(
    ("naming", "there", "chosen"),
    [
        ("photo.jpg.xmp", [], "tower.jpg.xmp"),
        ("photo.xmp", [], "tower.xmp"),
        ("photo.jpg.xmp", ["tower.xmp"], "tower.xmp"),
        ("photo.xmp", ["tower.jpg.xmp"], "tower.jpg.xmp"),
        ("photo.jpg.xmp", ["tower.xmp", "tower.jpg.xmp"], "tower.jpg.xmp"),
        ("photo.jpg.xmp", ["tower.CR2", "tower.xmp"], "tower.jpg.xmp"),
        ("photo.xmp", ["tower.CR2", "tower.xmp"], "tower.jpg.xmp"),
        ("photo.xmp", ["Tower.png"], "tower.jpg.xmp"),
    ],
)
def test_the_sidecar_that_is_there_is_the_one(
    naming: str, there: list[str], chosen: str, photo: Path
) -> None:
    for name in there:
        written(photo.with_name(name))
    assert find_sidecar(photo, naming).name == chosen


@pytest.mark.parametrize("naming", ["photo.jpg.xmp", "photo.xmp"])
@pytest.mark.parametrize("extension", [{}, {"photoshop__SidecarForExtension": "jpg"}])
@pytest.mark.parametrize("other", ["tower.png", "tower.CR2", "tower.mp4"])
def test_the_full_name_of_one_file_is_not_the_stem_of_another(
    photo: Path, naming: str, extension: dict[str, str], other: str
) -> None:
    """`tower.png.xmp` is the sidecar of tower.png, whatever stands beside that."""
    photo.with_name(other).write_bytes(b"another")
    converted = photo.with_name(f"{other}.jpg")
    converted.write_bytes(photo.read_bytes())
    written(photo.with_name(f"{other}.xmp"), **extension)
    assert find_sidecar(converted, naming).name == f"{other}.jpg.xmp"
    photo.with_name(other).unlink()
    assert find_sidecar(converted, naming).name == f"{other}.xmp"


def test_a_stem_that_two_pictures_share_belongs_to_the_one_it_names(photo: Path) -> None:
    photo.with_name("tower.CR2").write_bytes(b"raw")
    written(photo.with_name("tower.xmp"), photoshop__SidecarForExtension="JPG")
    assert find_sidecar(photo, "photo.xmp").name == "tower.xmp"


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
