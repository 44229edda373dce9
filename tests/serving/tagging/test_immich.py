"""Photos of an Immich server: found, looked at, written to where nothing is set, and set free."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from experiments import tag, untag
from landmark_ml.config import TagConfig, UntagConfig
from serving.champion import Loaded
from serving.tagging import TagResult, immich
from serving.tagging.immich import AssetError, ImmichError, untag_immich
from serving.tagging.tagger import run_tagging, tag_library
from tests.colour_artifact import BLUE, GREEN, RED, TOWER, WHITE, colour_photo
from tests.serving.tagging.conftest import Run
from tests.serving.tagging.immich_server import (
    KEY,
    LEAST,
    PARTNER,
    Answer,
    Immich,
    Photo,
    serving,
)

POSITION = TOWER.latitude, TOWER.longitude
DESCRIPTION = "Eiffel Tower, Paris, France"
PATH = "Places/France/Paris/Eiffel Tower"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Immich]:
    monkeypatch.setenv("IMMICH_API_KEY", KEY)
    monkeypatch.setattr(immich, "_BACKOFF_SECONDS", 0.0)
    with serving(Immich()) as server:
        yield server


@pytest.fixture
def config(server: Immich, tmp_path: Path) -> TagConfig:
    return TagConfig(immich=server.address, out=str(tmp_path / "immich"))


@pytest.fixture
def tower(server: Immich) -> Photo:
    photo = Photo(colour_photo(RED), "tower.HEIC")
    server.add(photo)
    return photo


@pytest.fixture
def run(loaded: Loaded) -> Run:
    """Tag the server of a configuration."""

    def run(config: TagConfig, version: int = 1, **changes: Any) -> TagResult:
        config = replace(config, **changes)
        with immich.Immich(config, Path(config.out)) as library:
            return tag_library(library, replace(loaded, version=version), config)

    return run


def take_back(config: TagConfig, *, dry_run: bool = False) -> list[tuple[str, str]]:
    """Action and detail of each photo that `untag` changes or does not find."""
    out = str(Path(config.out).parent)
    changes = untag_immich(UntagConfig(immich=config.immich, out=out, dry_run=dry_run))
    return [(change.action, change.detail) for change in changes]


def rows(config: TagConfig, name: str) -> dict[str, dict[str, str]]:
    """Rows of a table in `out`, by the name of the photo's file."""
    with Path(config.out, name).open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    return {Path(row.get("photo") or row["path"]).name: row for row in found}


def shown(photo: Photo) -> tuple[Any, ...]:
    """Position, to a metre, description and tags."""
    position = photo.position and tuple(round(degrees, 5) for degrees in photo.position)
    return position, photo.description, photo.tags


def test_a_photo_without_a_place_gets_all_of_it(
    config: TagConfig, server: Immich, run: Run, tower: Photo
) -> None:
    result = run(config)
    assert shown(tower) == (POSITION, DESCRIPTION, [PATH])
    assert (result.written, result.failure()) == ({"changed": 1}, "")
    row = rows(config, "immich.csv")["tower.HEIC"]
    assert row["action"] == "changed"
    assert row["detail"] == f"48.85840, 2.29450; {DESCRIPTION}; {PATH}"
    assert json.loads(row["before"]) == {}
    assert rows(config, "tags.csv")["tower.HEIC"]["landmark"] == "Eiffel Tower"
    assert server.asked("GET /assets/{id}/thumbnail") == 1


def test_only_ones_own_photos_without_position_or_city_are_asked_about(
    config: TagConfig, server: Immich, run: Run
) -> None:
    red = colour_photo(RED)
    server.page_size = 2
    server.add(
        Photo(red, "unplaced.jpg"),
        Photo(red, "placed.jpg", position=(1, 2), city="Accra"),
        Photo(red, "no_city.jpg", position=(48.85, 2.35)),
        Photo(red, "null_island.jpg", position=(0, 0)),
        Photo(red, "partner.jpg", owner=PARTNER),
        Photo(red, "archived.jpg", visibility="archive"),
        Photo(red, "video.mp4", type="VIDEO"),
    )
    run(config)
    assert set(rows(config, "tags.csv")) == {"unplaced.jpg", "no_city.jpg", "null_island.jpg"}
    assert server.asked("POST /search/metadata") == 3
    assert server.asked("GET /assets/{id}/thumbnail") == 3
    no_city = rows(config, "tags.csv")["no_city.jpg"]
    assert (no_city["latitude"], no_city["location_source"]) == ("48.85", "exif")
    assert (no_city["city"], no_city["country"]) == ("Paris", "France")


@pytest.mark.parametrize(
    ("users", "written"),
    [
        ({"position": (48.85, 2.35)}, ((48.85, 2.35), DESCRIPTION, [PATH])),
        ({"description": "Grandma"}, (POSITION, "Grandma", [PATH])),
        ({"tags": ["Family"]}, (POSITION, DESCRIPTION, ["Family", PATH])),
        ({"tags": [PATH]}, (POSITION, DESCRIPTION, [PATH])),
    ],
)
def test_what_is_set_stays_also_when_ours_is_taken_out(
    config: TagConfig, server: Immich, run: Run, users: dict[str, Any], written: tuple[Any, ...]
) -> None:
    photo = Photo(colour_photo(RED), **users)
    server.add(photo)
    before = shown(replace(photo, tags=[*photo.tags]))
    run(config)
    assert shown(photo) == written
    ((action, _),) = take_back(config)
    assert action == "changed"
    assert shown(photo) == ((0, 0) if before[0] is None else before[0], *before[1:])


def test_a_landmark_is_described_by_where_it_is_and_none_is_seen_from_another_continent(
    config: TagConfig, server: Immich, run: Run
) -> None:
    near = Photo(colour_photo(RED), position=(48, 2.2))
    far = Photo(colour_photo(RED), position=(36.1126, -115.1728))
    server.add(near, far)
    result = run(config)
    assert near.description == DESCRIPTION
    assert shown(far) == (far.position, "", ["Places/United States/Paradise"])
    assert result.vetoed == 1


def test_photos_of_nothing_known_are_left_alone(
    config: TagConfig, server: Immich, run: Run
) -> None:
    photos = [Photo(colour_photo(colour)) for colour in (WHITE, BLUE)]
    server.add(*photos)
    before = asdict(photos[0])
    result = run(config)
    assert asdict(photos[0]) == before
    # A landmark that has no place is still a description and a tag.
    assert shown(photos[1]) == (None, "Nowhere", ["Places/Nowhere"])
    assert result.written == {"changed": 1}


def test_a_second_run_neither_looks_nor_writes_again(
    config: TagConfig, server: Immich, run: Run, tower: Photo
) -> None:
    users = Photo(colour_photo(GREEN), description="Mine")
    server.add(users)
    run(config)
    before = shown(tower), shown(users)
    server.requests.clear()
    again = run(config)
    assert (again.recognised, again.written) == (0, {"kept": 2})
    assert server.requests == ["GET /api-keys/me", "GET /users/me", "POST /search/metadata"]
    assert (shown(tower), shown(users)) == before
    assert rows(config, "tags.csv").keys() == {"tower.HEIC", "photo.jpg"}


def test_a_dry_run_lists_the_same_and_writes_nothing(
    config: TagConfig, server: Immich, run: Run, tower: Photo
) -> None:
    server.permissions = LEAST[:3]
    planned = run(config, dry_run=True)
    listed = rows(config, "immich.csv")
    assert shown(tower) == (None, "", [])
    server.permissions = LEAST
    done = run(config)
    assert (planned.written, listed) == (done.written, rows(config, "immich.csv"))
    assert take_back(config, dry_run=True) == take_back(config)


def test_a_newer_model_replaces_what_is_still_ours(
    config: TagConfig, run: Run, tower: Photo
) -> None:
    run(config)
    tower.description = "Our honeymoon"
    tower.file = colour_photo(GREEN)
    run(config, 2)
    assert shown(tower) == ((43.2799, 5.3257), "Our honeymoon", ["Places/France/Château d'If"])
    assert take_back(config) == [("changed", "43.27990, 5.32570; Places/France/Château d'If")]
    assert shown(tower) == ((0, 0), "Our honeymoon", [])


def test_what_a_person_took_out_stays_out(config: TagConfig, run: Run, tower: Photo) -> None:
    run(config)
    tower.tags.clear()
    tower.description, tower.position, tower.city = "", (0, 0), None
    for version in (2, 3):
        run(config, version, min_confidence=0.4 + version / 100)
        assert shown(tower) == ((0, 0), "", [])


def test_what_a_person_took_out_stays_out_when_the_next_run_breaks_off(
    config: TagConfig, server: Immich, run: Run, tower: Photo
) -> None:
    run(config)
    tower.description, tower.file = "", colour_photo(GREEN)
    server.fault = lambda request: Answer(401) if request in WRITES else None
    with pytest.raises(ImmichError, match="status 401"):
        run(config, 2)
    server.fault = lambda _: None
    run(config, 2)
    assert shown(tower) == ((43.2799, 5.3257), "", ["Places/France/Château d'If"])


def test_a_tag_that_the_server_does_not_take_out_is_still_ours(
    config: TagConfig, server: Immich, run: Run, tower: Photo
) -> None:
    run(config)
    refusal = [{"id": tower.id, "success": False, "error": "no_permission"}]
    server.fault = only("DELETE /tags/{id}/assets", Answer(200, json.dumps(refusal).encode()))
    ((action, detail),) = take_back(config)
    assert (action, shown(tower)) == ("refused", ((0, 0), "", [PATH]))
    assert "refused to take out the tag" in detail
    assert take_back(config) == [("changed", PATH)]
    assert shown(tower) == ((0, 0), "", [])


def test_a_tag_needs_no_first_level(config: TagConfig, run: Run, tower: Photo) -> None:
    run(config, tag_root="")
    assert tower.tags == [PATH.removeprefix("Places/")]


def test_untag_gives_back_what_was_there_and_leaves_what_was_changed(
    config: TagConfig, server: Immich, run: Run, tower: Photo
) -> None:
    moved = Photo(colour_photo(GREEN), "moved.jpg")
    deleted = Photo(colour_photo(GREEN), "deleted.jpg")
    server.add(moved, deleted)
    run(config)
    moved.position = (10, 20)
    del server.photos[deleted.id]
    assert take_back(config) == [
        ("changed", f"48.85840, 2.29450; {DESCRIPTION}; {PATH}"),
        ("changed", "Château d'If, France; Places/France/Château d'If"),
        (
            "gone",
            f"{server.address} answered with status 400 to GET /assets/{deleted.id}: "
            """b'{"message": "Not found or no asset.read access"}'""",
        ),
    ]
    assert (shown(tower), shown(moved)) == (((0, 0), "", []), ((10, 20), "", []))
    untagged = rows(config, "untagged.csv")
    assert json.loads(untagged["moved.jpg"]["before"])["position"] == "10.00000, 20.00000"
    assert take_back(config)[:-1] == []
    run(config)
    assert shown(tower) == (POSITION, DESCRIPTION, [PATH])


def test_a_server_where_all_is_placed_is_no_failure(
    config: TagConfig, server: Immich, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    server.add(Photo(colour_photo(RED), position=(1, 2), city="Accra"))
    result = run(config)
    tag.print_tagging(result)
    assert (result.photos, result.written, result.failure()) == (0, {}, "")
    assert "nothing to do: each of your photos there has a position and a city" in (
        capsys.readouterr().out
    )


def test_a_photo_that_is_deleted_meanwhile_is_no_failure(
    config: TagConfig, server: Immich, run: Run, tower: Photo
) -> None:
    other = Photo(colour_photo(GREEN), "other.jpg")
    server.add(other)

    def delete(request: str) -> None:
        if request == "GET /assets/{id}":
            server.photos.pop(tower.id, None)

    server.fault = delete
    result = run(config)
    assert (result.written, result.failure()) == ({"gone": 1, "changed": 1}, "")


@pytest.mark.parametrize("content", [b"", b"no photo", colour_photo(RED)[:300], b"\xff\xd8" * 9])
def test_a_preview_that_is_no_photo_is_told_in_the_table(
    config: TagConfig, server: Immich, run: Run, tower: Photo, content: bytes
) -> None:
    server.add(Photo(content, "broken.jpg"))
    result = run(config)
    assert rows(config, "tags.csv")["broken.jpg"]["error_code"]
    assert (result.written, result.refused.total()) == ({"changed": 1}, 1)
    for photo in server.photos.values():
        photo.file = tower.file
    assert run(config).written == {"kept": 1, "changed": 1}


def test_a_picture_that_changed_is_looked_at_again(
    config: TagConfig, run: Run, tower: Photo
) -> None:
    run(config)
    tower.file, tower.checksum = colour_photo(GREEN), "of another"
    assert run(config).recognised == 1
    assert tower.description == "Château d'If, France"


def only(request: str, *answers: Answer) -> Any:
    """A fault: these answers to the first of such requests."""
    waiting = list(answers)
    return lambda asked: waiting.pop(0) if asked == request and waiting else None


def test_a_busy_server_is_asked_again_when_it_says(
    config: TagConfig, server: Immich, run: Run, tower: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", pauses.append)
    jumped = format_datetime(datetime(2099, 1, 1, tzinfo=UTC), usegmt=True)
    server.fault = only(
        "PUT /assets/{id}",
        Answer(429, headers={"Retry-After": "7"}),
        Answer(503, headers={"Retry-After": "86400"}),
        Answer(503, headers={"Retry-After": jumped}),
        Answer(502),
    )
    assert run(config).written == {"changed": 1}
    assert [pause for pause in pauses if pause] == [7, 60, 60]
    assert shown(tower) == (POSITION, DESCRIPTION, [PATH])


WRITES = ("PUT /assets/{id}", "PUT /tags", "PUT /tags/assets")


@pytest.mark.parametrize("request_", WRITES)
@pytest.mark.parametrize("answer", [Answer(500), Answer(200, b'{"id"', says_length=900)])
def test_a_write_that_fails_is_refused_and_made_up_for_later(
    config: TagConfig, server: Immich, run: Run, tower: Photo, request_: str, answer: Answer
) -> None:
    server.fault = only(request_, *[answer] * 6)
    result = run(config)
    assert result.written == {"refused": 1}
    assert "1 photo could not be written" in result.failure()
    tag.print_tagging(result)
    server.fault = lambda _: None
    assert run(config).written == {"changed": 1}
    assert shown(tower) == (POSITION, DESCRIPTION, [PATH])
    take_back(config)
    assert shown(tower) == ((0, 0), "", [])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(401), "refused the key in IMMICH_API_KEY (status 401"),
        (Answer(403), "with the permissions asset.read, asset.view, user.read, asset.update, tag"),
        (Answer(500), "5 requests in a row failed"),
        (Answer(302, headers={"Location": "https://elsewhere.example/api"}), "elsewhere.example"),
    ],
)
def test_a_server_that_fails_half_way_ends_the_run_and_loses_nothing(
    config: TagConfig,
    server: Immich,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    said: str,
) -> None:
    monkeypatch.setattr(immich, "_TRIES", 0)
    server.add(*[Photo(colour_photo(RED), f"{number:02}.jpg") for number in range(20)])
    seen = 0

    def fail(request: str) -> Answer | None:
        nonlocal seen
        seen += request == "PUT /assets/{id}"
        return answer if seen > 8 else None

    server.fault = fail
    with pytest.raises(ImmichError) as raised:
        run(config)
    assert said in str(raised.value)
    assert KEY not in str(raised.value)
    server.fault = lambda _: None
    result = run(config)
    assert (result.recognised, result.written) == (0, {"kept": 8, "changed": 12})
    assert {shown(photo)[1] for photo in server.photos.values()} == {DESCRIPTION}


BEGINNING = [
    (Answer(404), "open in the browser"),
    (Answer(200, b"<!doctype html><title>Hello"), "<!doctype html>"),
    (Answer(200, b'{"permissions": 7}'), "does not answer as Immich does"),
    (Answer(200, b"[" * 100_000), "does not answer as Immich does"),
    (Answer(200, b'{"permissions": ["as', says_length=99), "IncompleteRead"),
    (Answer(401), "status 401"),
    (Answer(308, headers={"Location": "https://nas/api/api-keys/me"}), "leads on to https://nas"),
    (Answer(503), "status 503"),
]


@pytest.mark.parametrize(("answer", "said"), BEGINNING)
def test_what_is_no_immich_or_lets_nobody_in_is_told_at_once(
    config: TagConfig, server: Immich, answer: Answer, said: str
) -> None:
    server.fault = lambda _: answer
    with pytest.raises((ImmichError, AssetError)) as raised:
        run_tagging(config)
    assert said in str(raised.value)
    assert KEY not in str(raised.value)


def test_what_the_key_lacks_is_named_before_any_work(config: TagConfig, server: Immich) -> None:
    server.permissions = ("asset.read", "asset.view", "user.read", "tag.asset")
    with pytest.raises(ImmichError, match=r"lacks asset\.update, tag\.create; make one in Immich"):
        run_tagging(config)
    server.permissions = ("all",)
    with immich.Immich(config, Path(config.out)):
        assert server.requests == ["GET /api-keys/me"] * 2


def test_a_server_that_hangs_or_is_not_there_is_told(
    config: TagConfig, server: Immich, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(immich, "_TIMEOUTS", (0.2, 0.2))
    server.fault = lambda _: time.sleep(0.6)
    with pytest.raises(ImmichError, match="does not answer"):
        run_tagging(config)
    with pytest.raises(ImmichError, match="does not answer"):
        run_tagging(replace(config, immich="http://127.0.0.1:9"))


def test_a_server_that_answers_drop_by_drop_is_not_waited_for(
    config: TagConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(immich, "_LONGEST_SECONDS", -1)
    with pytest.raises(AssetError, match="took over"):
        run_tagging(config)


@pytest.mark.parametrize("key", ["", "  ", "schlüssel", "two\nlines"])
def test_a_key_that_cannot_be_is_refused(
    config: TagConfig, server: Immich, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("IMMICH_API_KEY", key)
    with pytest.raises(ValueError, match=r"IMMICH_API_KEY holds no API key; make one in Immich"):
        run_tagging(config)
    assert server.requests == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"photos": "/photos"}, "photos and immich do not go together"),
        ({"gallery": True, "neighbours": 5.0}, "gallery, neighbours and immich"),
        ({"sidecars": "photo.jpg.xmp"}, "sidecars and immich"),
        ({"albums": "links"}, "albums and immich"),
        ({"immich": "nas:2283"}, "immich=nas:2283 is no server; give one such as http://nas:2283"),
        ({"immich": "file:///photos"}, "is no server"),
    ],
)
def test_what_cannot_be_with_a_server_is_refused_by_name(
    config: TagConfig, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        run_tagging(replace(config, **changes))


def test_a_damaged_journal_is_told_and_kept(config: TagConfig, run: Run) -> None:
    damaged = Path(config.out, "immich.sqlite")
    damaged.parent.mkdir()
    damaged.write_bytes(b"no database" * 100)
    with pytest.raises(ValueError, match=r"immich\.sqlite .* take it from a backup, because untag"):
        run(config)
    assert damaged.read_bytes() == b"no database" * 100


def test_a_password_in_the_address_is_refused() -> None:
    with pytest.raises(ValueError, match="put the API key into IMMICH_API_KEY"):
        TagConfig(immich="http://ada:secret@nas:2283")


def test_the_address_may_end_in_api(config: TagConfig, run: Run, tower: Photo) -> None:
    assert run(config, immich=f"{config.immich}/api/").written == {"changed": 1}


def test_hostile_names_and_ids_stay_names(config: TagConfig, server: Immich, run: Run) -> None:
    server.add(Photo(colour_photo(RED), "../../etc/pass\x1b[2Jwd\ud800", description="\ud800"))
    run(config)
    assert set(rows(config, "immich.csv")) == {"pass[2Jwd"}
    assert take_back(config) == [("changed", f"48.85840, 2.29450; {PATH}")]
    hostile = {"id": "../../users", "ownerId": "", "checksum": "", "thumbhash": ""}
    page = {"assets": {"items": [hostile | {"originalFileName": "a"}], "nextPage": None}}
    server.fault = only("POST /search/metadata", Answer(200, json.dumps(page).encode()))
    with pytest.raises(ImmichError, match="does not answer as Immich does"):
        run(config)
    renamed = {"id": next(iter(server.photos)), "name": "a", "value": "not what was asked for"}
    server.fault = only("PUT /tags", Answer(200, json.dumps([renamed]).encode()))
    with pytest.raises(ImmichError, match="does not answer as Immich does"):
        run(config, 2, tag_root="Reisen")


def test_the_command_says_what_was_done(
    config: TagConfig, run: Run, tower: Photo, capsys: pytest.CaptureFixture[str]
) -> None:
    tag.print_tagging(run(config))
    assert f"immich      1 changed: see {config.out}/immich.csv" in capsys.readouterr().out
    taken_back = UntagConfig(immich=config.immich, out=str(Path(config.out).parent), dry_run=True)
    untag.main(taken_back)
    assert capsys.readouterr().out.splitlines() == [
        f"changed   {tower.id}/tower.HEIC: 48.85840, 2.29450; {DESCRIPTION}; {PATH}",
        f"photos    1 changed, if this were no dry run: see {config.out}/untagged.csv",
    ]
    with pytest.raises(ValueError, match=r"holds no immich\.sqlite"):
        untag_immich(replace(taken_back, out="elsewhere"))


KILLED = """
import sys
from pathlib import Path
from landmark_ml.config import TagConfig
from landmark_ml.inference.predictor import Predictor
from serving.champion import Loaded
from serving.tagging.immich import Immich
from serving.tagging.tagger import tag_library
artifact, address, out = sys.argv[1:]
config = TagConfig(immich=address, out=out)
with Immich(config, Path(out)) as library:
    tag_library(library, Loaded(Predictor.load(Path(artifact)), "landmarks", 1, "abc"), config)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="no SIGKILL here")
@pytest.mark.parametrize(("last", "times"), [*zip(WRITES, (3, 1, 3), strict=True)])
def test_after_sigkill_the_rest_is_written_and_all_of_it_can_go(
    config: TagConfig, server: Immich, run: Run, artifact: Path, last: str, times: int
) -> None:
    server.add(*[Photo(colour_photo(RED), f"{number}.jpg") for number in range(6)])
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-c", KILLED, str(artifact), config.immich, config.out]
    )

    def kill(request: str) -> None:
        if request == last and server.asked(last) == times:
            process.send_signal(signal.SIGKILL)
            process.wait()

    server.fault = kill
    process.wait(120)
    assert process.returncode == -signal.SIGKILL
    server.fault = lambda _: None
    assert run(config).recognised == 0
    everywhere = {str(shown(photo)) for photo in server.photos.values()}
    assert everywhere == {str((POSITION, DESCRIPTION, [PATH]))}
    with sqlite3.connect(Path(config.out, "immich.sqlite")) as journal:
        assert journal.execute("SELECT count(*) FROM changes").fetchone() == (13,)
    take_back(config)
    assert {str(shown(photo)) for photo in server.photos.values()} == {"((0, 0), '', [])"}
