"""A stand-in for an Immich server on this machine, after version 3.1.0 of its OpenAPI document.

What we use of the document is described below in JSON Schema: operations, permissions, bodies and
answers. Every request is checked by it, and so is what the stand-in answers.
"""

from __future__ import annotations

import itertools
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from jsonschema import Draft202012Validator

KEY = "a-key"
ME, PARTNER = str(uuid.UUID(int=1, version=4)), str(uuid.UUID(int=2, version=4))
LEAST = ("asset.read", "asset.view", "user.read", "asset.update", "tag.create", "tag.asset")

_NUMBERS = itertools.count(1)
Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
UUID4: Schema = TEXT | {"pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-.{12}$"}
UUIDS: Schema = {"type": "array", "items": UUID4, "minItems": 1}


def record(required: str = "", **properties: Schema) -> Schema:
    """An object; required: names of properties that have to be there."""
    return {"type": "object", "required": required.split(), "properties": properties}


def body(required: str = "", **properties: Schema) -> Schema:
    """What we may send: names that the document does not know would go unnoticed."""
    return record(required, **properties) | {"additionalProperties": False}


def listed(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def or_null(schema: Schema) -> Schema:
    return schema | {"type": [schema["type"], "null"]}


TAG = record("id name value createdAt updatedAt", id=UUID4, name=TEXT, value=TEXT)
EXIF = record(
    latitude=or_null({"type": "number"}),
    longitude=or_null({"type": "number"}),
    city=or_null(TEXT),
    country=or_null(TEXT),
    description=or_null(TEXT),
)
ASSET = record(
    "id ownerId type checksum thumbhash originalFileName visibility isTrashed",
    id=UUID4,
    ownerId=TEXT,
    checksum=TEXT,
    thumbhash=or_null(TEXT),
    originalFileName=TEXT,
    exifInfo=EXIF,
    tags=listed(TAG),
)
PAGE = record("items nextPage total count facets", items=listed(ASSET), nextPage=or_null(TEXT))


class Operation(NamedTuple):
    """An operation of the document: the permission it needs, what is sent and what is answered."""

    permission: str
    answer: Schema
    sent: Schema | None = None


OPERATIONS = {
    "GET /api-keys/me": Operation("", record("id name permissions", permissions=listed(TEXT))),
    "GET /users/me": Operation("user.read", record("id email name", id=TEXT)),
    "POST /search/metadata": Operation(
        "asset.read",
        record("albums assets", assets=PAGE),
        body(
            type={"enum": ["IMAGE", "VIDEO", "AUDIO", "OTHER"]},
            visibility={"enum": ["archive", "timeline", "hidden", "locked"]},
            withExif={"type": "boolean"},
            order={"enum": ["asc", "desc"]},
            size={"type": "integer", "minimum": 1, "maximum": 1000},
            page={"type": "integer", "minimum": 1},
        ),
    ),
    "GET /assets/{id}": Operation("asset.read", ASSET),
    "GET /assets/{id}/thumbnail": Operation("asset.view", {}),
    "PUT /assets/{id}": Operation(
        "asset.update",
        ASSET,
        body(
            latitude={"type": "number", "minimum": -90, "maximum": 90},
            longitude={"type": "number", "minimum": -180, "maximum": 180},
            description=TEXT,
        ),
    ),
    "PUT /tags": Operation("tag.create", listed(TAG), body("tags", tags=listed(TEXT))),
    "PUT /tags/assets": Operation(
        "tag.asset",
        record("count", count={"type": "integer"}),
        body("assetIds tagIds", assetIds=UUIDS, tagIds=UUIDS),
    ),
    "DELETE /tags/{id}/assets": Operation(
        "tag.asset",
        listed(record("id success", id=UUID4, success={"type": "boolean"})),
        body("ids", ids=UUIDS),
    ),
}


@dataclass
class Photo:
    """A photo of the stand-in. file: what its preview is."""

    file: bytes
    name: str = "photo.jpg"
    position: tuple[float, float] | None = None
    city: str | None = None
    description: str = ""
    tags: list[str] = field(default_factory=list)
    owner: str = ME
    type: str = "IMAGE"
    visibility: str = "timeline"
    checksum: str = "of the original"
    id: str = field(default_factory=lambda: str(uuid.UUID(int=next(_NUMBERS) << 80, version=4)))

    def as_asset(self, tags: list[Any] | None = None) -> dict[str, Any]:
        latitude, longitude = self.position or (None, None)
        return {
            "id": self.id,
            "ownerId": self.owner,
            "type": self.type,
            "checksum": self.checksum,
            "thumbhash": None,
            "originalFileName": self.name,
            "visibility": self.visibility,
            "isTrashed": False,
            "exifInfo": {
                "latitude": latitude,
                "longitude": longitude,
                "city": self.city,
                "country": None,
                "description": self.description,
            },
        } | ({} if tags is None else {"tags": tags})


class Answer(NamedTuple):
    """What goes over the wire, in place of what Immich would say. says_length: of the body."""

    status: int = 200
    content: bytes = b"{}"
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    says_length: int | None = None


class RefusalError(Exception):
    """An error as Immich answers it."""


Fault = Callable[[str], Answer | None]
"""Takes a request such as `GET /users/me`; None: as usual."""


@dataclass
class Immich:
    """What the server holds, and what it was asked."""

    photos: dict[str, Photo] = field(default_factory=dict)
    permissions: tuple[str, ...] = LEAST
    tag_ids: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    fault: Fault = lambda _: None
    page_size: int = 1000
    address: str = ""

    def add(self, *photos: Photo) -> None:
        self.photos |= {photo.id: photo for photo in photos}

    def asked(self, request: str) -> int:
        """How often this was asked, such as `PUT /tags`."""
        return self.requests.count(request)

    def answer(self, method: str, target: str, key: str | None, sent: bytes) -> Answer:
        parts = urlsplit(target)
        path = parts.path.removeprefix("/api")
        ids = [part for part in path.split("/") if part.count("-") == 4]
        request = f"{method} {path.replace(ids[0], '{id}') if ids else path}"
        self.requests.append(request)
        if (wrong := self.fault(request)) is not None:
            return wrong
        operation = OPERATIONS.get(request)
        if operation is None or not parts.path.startswith("/api/"):
            return Answer(404, b'{"message": "Cannot find this"}')
        if key != KEY:
            return Answer(401, b'{"message": "Invalid API key"}')
        if operation.permission and operation.permission not in self.permissions:
            said = f"Missing required permission: {operation.permission}"
            return Answer(403, json.dumps({"message": said}).encode())
        found = json.loads(sent) if sent else None
        problems = (
            []
            if found is None
            else Draft202012Validator(operation.sent or False).iter_errors(found)
        )
        if mistakes := [f"{request}: {problem.message}" for problem in problems]:
            self.mistakes += mistakes
            return Answer(400, b'{"message": "validation failed"}')
        try:
            said = self.do(request, ids[0] if ids else "", found, parse_qs(parts.query))
        except RefusalError as refusal:
            return Answer(400, json.dumps({"message": str(refusal)}).encode())
        if isinstance(said, bytes):
            return Answer(200, said, {"Content-Type": "image/jpeg"})
        Draft202012Validator(operation.answer).validate(said)
        return Answer(200, json.dumps(said).encode())

    def do(self, request: str, of: str, sent: Any, query: dict[str, list[str]]) -> Any:
        match request:
            case "GET /api-keys/me":
                return {"id": ME, "name": "tagger", "permissions": [*self.permissions]}
            case "GET /users/me":
                return {"id": ME, "email": "", "name": ""}
            case "POST /search/metadata":
                return {"albums": {}, "assets": self.search(sent)}
            case "GET /assets/{id}":
                return self.photo(of).as_asset(self.tags_of(self.photo(of)))
            case "GET /assets/{id}/thumbnail":
                assert query == {"size": ["preview"]}
                return self.photo(of).file
            case "PUT /assets/{id}":
                return self.update(self.photo(of), sent)
            case "PUT /tags":
                return [self.tag(path) for path in sent["tags"]]
            case "PUT /tags/assets":
                paths = {id_: path for path, id_ in self.tag_ids.items()}
                for photo in map(self.photo, sent["assetIds"]):
                    photo.tags[:] = dict.fromkeys(
                        [*photo.tags, *(paths[tag] for tag in sent["tagIds"])]
                    )
                return {"count": len(sent["assetIds"])}
            case "DELETE /tags/{id}/assets":
                paths = {id_: path for path, id_ in self.tag_ids.items()}
                for id_ in sent["ids"]:
                    self.photo(id_).tags.remove(paths[of])
                return [{"id": id_, "success": True} for id_ in sent["ids"]]
        raise AssertionError(request)

    def search(self, sent: Any) -> Any:
        """As the server does: without the tags of a photo, and a partner's photos among them."""
        found = [
            photo.as_asset()
            for photo in self.photos.values()
            if photo.type == sent["type"] and photo.visibility == sent["visibility"]
        ]
        size = min(sent["size"], self.page_size)
        first = (sent["page"] - 1) * size
        more = len(found) > first + size
        items = found[first : first + size]
        following = str(sent["page"] + 1) if more else None
        return {
            "items": items,
            "nextPage": following,
            "total": len(items),
            "count": len(items),
            "facets": [],
        }

    def update(self, photo: Photo, sent: Any) -> Any:
        if photo.owner != ME:
            raise RefusalError("Not found or no asset.update access")
        if "latitude" in sent:
            # It stores numbers of half the precision, and finds the city of the position.
            photo.position = round(sent["latitude"], 7) + 1e-8, round(sent["longitude"], 7)
            photo.city = "Paris"
            if sent["latitude"] == sent["longitude"] == 0:
                photo.position, photo.city = (0, 0), None
        photo.description = sent.get("description", photo.description)
        return photo.as_asset(self.tags_of(photo))

    def photo(self, of: str) -> Photo:
        if of not in self.photos:
            raise RefusalError("Not found or no asset.read access")
        return self.photos[of]

    def tag(self, path: str) -> dict[str, str]:
        id_ = self.tag_ids.setdefault(path, str(uuid.uuid4()))
        name = path.rpartition("/")[2]
        return {"id": id_, "name": name, "value": path, "createdAt": "", "updatedAt": ""}

    def tags_of(self, photo: Photo) -> list[dict[str, str]]:
        return [self.tag(path) for path in photo.tags]


@contextmanager
def serving(immich: Immich) -> Iterator[Immich]:
    """Serve on a free port of this machine; ends with an error if a request broke the document."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version, wbufsize = "HTTP/1.1", 1 << 16

        def respond(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            key = self.headers.get("x-api-key")
            said = immich.answer(self.command, self.path, key, sent)
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            length = len(said.content) if said.says_length is None else said.says_length
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(said.content)
            self.close_connection = said.says_length is not None

        do_GET = do_POST = do_PUT = do_DELETE = respond  # noqa: N815 - as the library names them

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    immich.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield immich
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not immich.mistakes
