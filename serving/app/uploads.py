"""Read the photos of a request. Limits hold while they arrive, and nothing is written to a disk."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException

from landmark_ml.inference.photos import DEFAULT_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request

RETRY_SECONDS = 2
_MAX_NAME = 255


class TooBusyError(HTTPException):
    """More work than the queue or the memory holds. The client may try again."""

    def __init__(self, reason: str) -> None:
        super().__init__(503, f"{reason}; try again", {"Retry-After": str(RETRY_SECONDS)})


class Memory:
    """Counts the bytes of photos that all requests together hold."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    @contextlib.contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Give one request a function that holds more bytes, and release them at the end.

        The function raises TooBusyError when the limit is reached.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if self.held + size > self.limit:
                raise TooBusyError("too many photos are being uploaded")
            self.held += size
            held += size

        try:
            yield hold
        finally:
            self.held -= held


@dataclass
class Upload:
    """One photo, under the name the client gave it. Bytes over the photo limit are not kept."""

    name: str | None = None
    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, data: bytes) -> None:
        """Add bytes as they arrive, and drop them all once there are too many."""
        self.size += len(data)
        if self.too_large:
            self.parts = []
        elif data:
            self.parts.append(data)

    @property
    def too_large(self) -> bool:
        """Whether it has more bytes than a photo may have."""
        return self.size > DEFAULT_LIMITS.max_bytes

    def take(self) -> bytes:
        """Give the photo's bytes away; they are not kept here, so memory holds them only once."""
        parts, self.parts = self.parts, []
        return b"".join(parts)


async def read_uploads(
    request: Request, max_body: int, max_photos: int, hold: Callable[[int], None]
) -> list[Upload]:
    """Read the photos of a multipart form, or the body as one photo.

    hold: called with the size of each part as it arrives. Raises HTTPException: 413 for too
    many bytes or photos, 400 for a form that cannot be read, and whatever `hold` raises.
    """
    reason = f"the request has more than {max_body:,} bytes; send fewer or smaller photos"
    # With this header the server closes the connection instead of reading what still arrives.
    too_large = HTTPException(413, reason, {"Connection": "close"})
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > max_body:
        raise too_large
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    form, body = None, Upload()
    if kind == b"multipart/form-data":
        form = _Form(options.get(b"boundary", b""), max_photos)
    feed = form.feed if form else body.add
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_body:
            raise too_large
        hold(len(chunk))
        feed(chunk)
    return form.end() if form else [body]


class _Form:
    """Files of a multipart form, whatever their fields are called.

    A field that is not a file is refused. Parameters belong in the address, and a parameter sent
    here would silently have no effect.
    """

    def __init__(self, boundary: bytes, max_photos: int) -> None:
        if not boundary:
            raise HTTPException(400, "the form has no boundary; send it as multipart/form-data")
        self._uploads: list[Upload] = []
        self._max_photos = max_photos
        self._header, self._value = b"", b""
        self._field: bytes | None = None
        self._complete = False
        with _refuse_unreadable():
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_end,
                    "on_part_data": self._data,
                    "on_end": self._end,
                },
            )

    def feed(self, chunk: bytes) -> None:
        with _refuse_unreadable():
            self._parser.write(chunk)

    def end(self) -> list[Upload]:
        if not self._complete:
            raise HTTPException(400, "the form is cut short; send it again")
        if not self._uploads:
            raise HTTPException(400, "the form has no files; add at least one photo")
        return self._uploads

    def _begin(self) -> None:
        if len(self._uploads) == self._max_photos:
            raise HTTPException(
                413,
                f"the form has more than {self._max_photos} photos; send fewer at a time",
                {"Connection": "close"},
            )
        self._uploads.append(Upload())
        self._field = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            options = parse_options_header(self._value)[1]
            self._uploads[-1].name = _text(options.get(b"filename", b"")) or None
            # Browsers send an empty name where no file was chosen, old clients only `filename*`.
            is_file = b"filename" in options or b"filename*" in self._value
            self._field = None if is_file else options.get(b"name", b"")
        self._header, self._value = b"", b""

    def _headers_end(self) -> None:
        if self._field is not None:
            reason = (
                f"the field {_text(self._field)!r} of the form is not a file; send photos as files"
                " and parameters in the address, such as /api/tag?top_k=3"
            )
            raise HTTPException(400, reason, {"Connection": "close"})

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._uploads[-1].add(data[start:end])

    def _end(self) -> None:
        self._complete = True


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")[:_MAX_NAME]


@contextlib.contextmanager
def _refuse_unreadable() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        reason = f"the form cannot be read ({error}); send it again"
        raise HTTPException(400, reason) from None
