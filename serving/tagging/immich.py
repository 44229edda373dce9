"""Immich in place: tag photos of a server that have no position or city, and take it back.

Only what is empty is written, and a person's edit is never undone. Requests follow Immich's OpenAPI
document, version 3.1.0.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit
from uuid import UUID

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from landmark_ml.config import TagConfig, UntagConfig, user_path
from landmark_ml.console import Bar
from landmark_ml.inference.prediction import Prediction
from serving.query import open_session
from serving.tagging.journal import Database
from serving.tagging.library import MAX_READ_BYTES, Found, Tagged
from serving.tagging.sidecars import (
    TAGS_LIST,
    UNTAGGED_CSV,
    SidecarChange,
    SidecarTags,
    list_changes,
)
from serving.tagging.table import album_of, hold
from serving.tagging.xmp import clean_text

KEY = "IMMICH_API_KEY"
READS = "asset.read", "asset.view", "user.read"
WRITES = "asset.update", "tag.create", "tag.asset"
"""Permissions that the key needs: to find photos and look at them, and to write."""
FOLDER, IMMICH_CSV, CHANGES = "immich", "immich.csv", "immich.sqlite"

_TIMEOUTS, _LONGEST_SECONDS = (10, 30), 120
_GONE = (400, 404)
"""Status of a photo that is not there, or not for this key."""
_TRIES, _BACKOFF_SECONDS, _LONGEST_WAIT_SECONDS, _ERRORS_IN_A_ROW = 5, 1.0, 60.0, 5

T = TypeVar("T")
Values = dict[str, str]
"""What we may write of a photo: its `position`, its `description`, and its tags, each by its path.

A position is text, to a metre: what the server rounds still equals what we wrote.
"""


class ImmichError(ValueError):
    """The server does not do what the run needs; the message says why and what to do."""


class AssetError(OSError):
    """One request has failed; those for other photos may not. status: what was answered, or 0."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class _BoundedRetry(Retry):
    """Waits as long as the server asks for, but a minute at most."""

    def get_retry_after(self, response: Any) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, _LONGEST_WAIT_SECONDS)


class Server:
    """The API of an Immich server; safe to use from several threads.

    address: as it is opened in a browser. needs: permissions that the key has to have. A request
    that is answered by 429 or 5xx is repeated a few times. Then it raises AssetError, and the
    fifth that fails in a row ImmichError. Raises ValueError for an address or a key that cannot
    be, ImmichError when the server is not there, refuses the key or is no Immich.
    """

    def __init__(self, address: str, needs: tuple[str, ...]) -> None:
        self.address = address.rstrip("/").removesuffix("/api")
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise ValueError(f"immich={address} is no server; give one such as http://nas:2283")
        make = f"in Immich (Account Settings, API Keys) with the permissions {', '.join(needs)}"
        key = os.environ.get(KEY, "").strip()
        if not (key and key.isascii() and key.isprintable()):
            raise ValueError(f"{KEY} holds no API key; make one {make}, and put it into {KEY}")
        self._make, self._errors = make, 0
        again = _BoundedRetry(
            total=_TRIES,
            connect=0,
            read=1,
            backoff_factor=_BACKOFF_SECONDS,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=None,  # all: none of ours does more when it is repeated
            raise_on_status=False,
        )
        self._session = open_session(self.address)
        self._session.headers["x-api-key"] = key
        self._session.mount(self.address, HTTPAdapter(max_retries=again))
        has = self.ask("GET", "/api-keys/me", lambda found: {*found["permissions"]})
        if lacking := [name for name in needs if not {name, "all"} & has]:
            raise ImmichError(f"the key in {KEY} lacks {', '.join(lacking)}; make one {make}")

    def ask(
        self, method: str, path: str, read: Callable[[Any], T], body: object | None = None
    ) -> T:
        """Send a request; read takes what is needed out of the JSON that is answered."""
        content = self.fetch(method, path, body)
        try:
            return read(json.loads(content))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            reason = f"{method} {path} gave {content[:80]!r}: {error!r}"
            raise self._no_immich(reason) from None

    def fetch(self, method: str, path: str, body: object | None = None) -> bytes:
        """Send a request; return what is answered, at most `MAX_READ_BYTES` of it."""
        until, content = time.monotonic() + _LONGEST_SECONDS, bytearray()
        address, later = f"{self.address}/api{path}", "start again later: nothing done is lost"
        try:
            # No redirects: the key would go along.
            options: Any = {"timeout": _TIMEOUTS, "stream": True, "allow_redirects": False}
            with self._session.request(method, address, json=body, **options) as response:
                for part in response.iter_content(1 << 16):
                    content += part
                    if time.monotonic() > until:
                        raise AssetError(f"{method} {address} took over {_LONGEST_SECONDS} s")
                    if len(content) >= MAX_READ_BYTES:
                        break
            self._check(response, f"{method} {path}: {bytes(content[:200])!r}")
        except (AssetError, requests.exceptions.ChunkedEncodingError) as error:
            failed = error if isinstance(error, AssetError) else AssetError(f"{address}: {error}")
            self._errors += failed.status not in _GONE
            if self._errors < _ERRORS_IN_A_ROW:
                raise failed from None
            reason = f"{self._errors} requests in a row failed, the last: {failed}"
            raise ImmichError(f"{reason}; {later}") from None
        except requests.RequestException as error:
            cause = getattr(next(iter(error.args), None), "reason", error)
            raise ImmichError(f"{self.address} does not answer ({cause}); {later}") from None
        self._errors = 0
        return bytes(content[:MAX_READ_BYTES])

    def _check(self, response: requests.Response, said: str) -> None:
        status = response.status_code
        if status in (401, 403):
            raise ImmichError(
                f"{self.address} refused the key in {KEY} (status {status} to {said}); make one"
                f" {self._make}"
            )
        if response.is_redirect:
            raise ImmichError(
                f"{self.address} leads on to {response.headers['location']}, which does not get the"
                " key; if that is your Immich, give its address"
            )
        if status == requests.codes.not_found and "/assets/" not in response.url:
            raise self._no_immich(f"status {status} to {said}")
        if status >= requests.codes.multiple_choices:
            raise AssetError(f"{self.address} answered with status {status} to {said}", status)

    def _no_immich(self, reason: str) -> ImmichError:
        return ImmichError(
            f"{self.address} does not answer as Immich does ({reason}); give the address that you"
            " open in the browser"
        )


def _asset(found: Any) -> tuple[Found, str, bool, Values]:
    """A photo, its owner, whether its city is known, and its values."""
    exif = found.get("exifInfo") or {}
    name = PurePosixPath(clean_text(found["originalFileName"]).replace("\\", "/")).name
    # In place of the time of its last change: our own writing changes that, and clocks jump.
    looks = hashlib.sha256(f"{found['checksum']} {found['thumbhash']}".encode()).digest()
    photo = Found(Path(str(UUID(found["id"])), name or "photo"), 0, int.from_bytes(looks[:7]))
    tags = [str(tag["value"]) for tag in found["tags"]]
    position = _position(exif.get("latitude"), exif.get("longitude"))
    values = _values(position, str(exif.get("description") or ""), tags)
    return photo, str(found["ownerId"]), bool(exif.get("city")), values


def _page(found: Any) -> tuple[list[tuple[Found, str, bool, Values]], int]:
    # A search does not give tags.
    items = [_asset({**item, "tags": []}) for item in found["assets"]["items"]]
    return items, int((items and found["assets"]["nextPage"]) or 0)


def _is_out(found: Any) -> bool:
    return bool(found[0]["success"]) or found[0]["error"] == "not_found"


def _position(latitude: float | None, longitude: float | None) -> str:
    # Immich takes 0, 0 for no position too, and knows no other way to take one out.
    north, east = latitude or 0.0, longitude or 0.0
    known = (north or east) and abs(north) <= 90 and abs(east) <= 180
    return f"{north:.5f}, {east:.5f}" if known else ""


def _values(position: str, description: str, tags: Iterable[str]) -> Values:
    found = {"position": position, "description": description}
    return {name: value for name, value in found.items() if value} | {f"tag {t}": t for t in tags}


# asset: first part of the path; held: values before; wanted: null until all of it got there; ours:
# of each value that we wrote, what it may be now if nobody else changed it. All three as JSON.
_COLUMNS = "path TEXT, asset TEXT, held TEXT, wanted TEXT, ours TEXT"
_TABLE = f"CREATE TABLE IF NOT EXISTS changes (number INTEGER PRIMARY KEY, {_COLUMNS})"
_INDEX = "CREATE INDEX IF NOT EXISTS by_asset ON changes (asset)"
_RECORD = "INSERT INTO changes VALUES (NULL, ?, ?, ?, ?, ?)"
_NEWEST = "SELECT ours, wanted FROM changes WHERE asset = ? ORDER BY number DESC LIMIT 1"


class Immich(Database):
    """The photos of a server that have no position or city, and those that we wrote to.

    Stands in for a `Library`. What each photo held and what we wrote is kept in `immich.sqlite` in
    `out`, to which rows are only ever added.
    """

    _FIX = "take it from a backup, because untag needs it"

    def __init__(self, config: TagConfig | UntagConfig, out: Path) -> None:
        self.server = Server(config.immich, READS if config.dry_run else READS + WRITES)
        self.root = Path(self.server.address)
        self.other_pictures, self.unreadable = Counter[str](), dict[Path, str]()
        self._dry_run = config.dry_run
        self._positions: dict[Path, str] = {}
        self._tag_ids: dict[str, str] = {}
        super().__init__(out / CHANGES, "PRAGMA journal_mode = WAL", _TABLE, _INDEX)

    def walk(self) -> Iterator[Found]:
        """Yield the user's own photos of the timeline: no videos, no archive, no trash."""
        me = self.server.ask("GET", "/users/me", lambda user: str(user["id"]))
        search = {"type": "IMAGE", "visibility": "timeline", "withExif": True, "order": "asc"}
        page, following = 0, 1
        while following > page:
            page = following
            body = search | {"size": 1000, "page": page}
            assets, following = self.server.ask("POST", "/search/metadata", _page, body)
            for photo, owner, has_city, values in assets:
                ours, _ = self._recorded(photo.path)
                position = values.get("position", "")
                if owner == me and (ours or not (position and has_city)):
                    if position and position not in ours.get("position", []):
                        self._positions[photo.path] = position
                    yield photo

    def read(self, path: Path) -> bytes | OSError:
        """Read the preview of a photo; what is wrong with this one alone is returned.

        Immich makes one of every format, upright and 1,440 pixels long if it is not set otherwise:
        more than a network sees. So the key needs no right to download originals.
        """
        try:
            return self.server.fetch("GET", f"/assets/{path.parts[0]}/thumbnail?size=preview")
        except AssetError as error:
            return error

    def place(self, photos: Iterable[Tagged]) -> Iterator[Tagged]:
        """Yield photos, those that have a position on the server with it."""
        for photo in photos:
            known = self._positions.get(photo.path)
            if known is None or photo.answer["error"] is not None:
                yield photo
                continue
            latitude, longitude = map(float, known.split(","))
            own = {"latitude": latitude, "longitude": longitude, "location_source": "exif"}
            yield photo._replace(answer=cast("Prediction", {**photo.answer, **own}))

    def write(
        self, answers: Iterable[Tagged], say: Callable[[Prediction], SidecarTags]
    ) -> Iterator[tuple[list[Path], SidecarChange]]:
        """Write what the photos show, where nothing is set; yield each photo and what was done."""
        for photo in Bar(answers, desc="immich", unit=" photos"):
            if photo.answer["error"] is None:
                wanted = _wanted(photo.answer, say(photo.answer))
                if change := self._change(photo.path, wanted):
                    yield [photo.path], change

    def untag(self) -> Iterator[SidecarChange]:
        """Take out what we wrote and nobody changed since; yield what was done."""
        rows = self._db.execute("SELECT path FROM changes GROUP BY asset").fetchall()
        for (path,) in Bar(rows, desc="untagging", unit=" photos"):
            if change := self._change(Path(path), {}, forget=True):
                yield change

    def _recorded(self, path: Path) -> tuple[dict[str, list[str]], Values | None]:
        """What is ours of a photo, and what was wanted last if all of it got there."""
        found = self._db.execute(_NEWEST, [path.parts[0]]).fetchone()
        ours, wanted = map(json.loads, found or ("{}", "{}"))
        return ours, wanted

    def _change(self, path: Path, wanted: Values, *, forget: bool = False) -> SidecarChange | None:
        """Give a photo the values that are wanted, where it has none or ours.

        forget: nothing is ours afterwards. None where there is nothing to say.
        """
        ours, last = self._recorded(path)
        if not ours and not wanted:
            return None
        if last == wanted and not forget:
            return SidecarChange(path, "kept")
        held = ""
        try:
            *_, now = self.server.ask("GET", f"/assets/{path.parts[0]}", _asset)
            held = json.dumps(now, ensure_ascii=False)
            # A value may change that is still as we left it. One that we never wrote is empty then,
            # and one of ours that a person took out is not.
            free = {
                name: wanted.get(name, "")
                for name in {**now, **wanted, **ours}
                if now.get(name, "") in ours.get(name, [""])
            }
            new = {name: value for name, value in free.items() if value != now.get(name, "")}
            if not self._dry_run:
                # Before and after: when a run is killed in between, either value is ours.
                on_the_way = {name: [now.get(name, ""), value] for name, value in new.items()}
                self._record(path, now, None, ours | on_the_way)
                self._send(path.parts[0], new)
                left = {name: values for name, values in ours.items() if name not in free}
                left |= {name: [value] for name, value in free.items() if value}
                self._record(path, now, wanted, {} if forget else left)
        except AssetError as error:
            gone = error.status in _GONE and not held
            return SidecarChange(path, "gone" if gone else "refused", str(error), held)
        told = [now[name] if forget else value for name, value in new.items()]
        action = "changed" if new else "kept"
        return SidecarChange(path, action, "; ".join(filter(None, told)), held)

    def _record(self, path: Path, *values: object) -> None:
        self._db.execute(_RECORD, [str(path), path.parts[0], *map(json.dumps, values)])

    def _send(self, asset: str, new: Values) -> None:
        """Set values of a photo, and take out those that are empty."""
        body: dict[str, Any] = {}
        if "position" in new:
            body["latitude"], body["longitude"] = map(float, (new["position"] or "0, 0").split(","))
        if "description" in new:
            body["description"] = new["description"]
        if body:
            self.server.ask("PUT", f"/assets/{asset}", dict, body)
        tags = [name.removeprefix("tag ") for name in new if name.startswith("tag ")]
        unknown = [tag for tag in tags if tag not in self._tag_ids]

        def ids(found: Any) -> dict[str, str]:
            known = {tag["value"]: str(UUID(tag["id"])) for tag in found}
            return {tag: known[tag] for tag in unknown}

        if unknown:
            # Immich gives the ids of those that are there already, too.
            self._tag_ids |= self.server.ask("PUT", "/tags", ids, {"tags": unknown})
        for tag in tags:
            if new[f"tag {tag}"]:
                body = {"assetIds": [asset], "tagIds": [self._tag_ids[tag]]}
                self.server.ask("PUT", "/tags/assets", lambda found: int(found["count"]), body)
                continue
            way = f"/tags/{self._tag_ids[tag]}/assets"
            if not self.server.ask("DELETE", way, _is_out, {"ids": [asset]}):
                raise AssetError(f"{self.server.address} refused to take out the tag {tag}")


def _wanted(answer: Prediction, tags: SidecarTags) -> Values:
    """What sidecars would say, as Immich reads them; a landmark is described by where it is."""
    placed = tags.values["exif:GPSLatitude"] is not None
    position = _position(answer["latitude"], answer["longitude"]) if placed else ""
    album = album_of(answer, 0.0) if tags.landmark else None
    description = clean_text(", ".join(reversed(album.names))) if album else ""
    return _values(position, description, tags.lists[TAGS_LIST])


def refuse_what_needs_files(config: TagConfig) -> None:
    """Raise ValueError where something is asked for that needs the photos on this machine."""
    names = "photos", "sidecars", "albums", "gallery", "neighbours", "corrections"
    if given := [name for name in names if getattr(config, name) != getattr(TagConfig(), name)]:
        raise ValueError(
            f"{', '.join(given)} and immich do not go together, because that needs the photos on"
            " this machine; leave one of them out"
        )


def untag_immich(config: UntagConfig) -> list[SidecarChange]:
    """Take what we wrote out of the photos of a server, and list it in `untagged.csv`.

    Gives the photos changed, gone or refused. Raises ValueError when `out` does not say what was
    written, ImmichError when the server refuses all.
    """
    out = user_path(config.out) / FOLDER
    if config.photos:
        raise ValueError("photos and immich do not go together; leave one of them out")
    if not (out / CHANGES).is_file():
        raise ValueError(f"{out} holds no {CHANGES}, which says what was written; give its out")
    with hold(out), Immich(config, out) as immich:
        changes = [change for change in immich.untag() if change.action != "kept"]
    list_changes(out / UNTAGGED_CSV, ["photo"], (([change.sidecar], change) for change in changes))
    return changes
