"""Photos of a request body: limits hold while it is read, and nothing is written to a disk."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from landmark_ml.inference.photos import DEFAULT_LIMITS
from serving.app.refusals import RequestRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from python_multipart.multipart import MultipartCallbacks
    from starlette.requests import Request

    from serving.app.upload_memory import Share

_MAX_NAME = 255


@dataclass
class Upload:
    """One photo; name as the client gave it. Bytes beyond the limit of a photo are not kept."""

    name: str | None = None
    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, data: bytes) -> None:
        """Bytes as they arrive; one over the limit is enough for the decoder to refuse."""
        self.size += len(data)
        if self.size <= DEFAULT_LIMITS.max_bytes:
            self.parts.append(data)
        else:
            self.parts = []

    @property
    def too_large(self) -> bool:
        """Whether it has more bytes than a photo may have."""
        return self.size > DEFAULT_LIMITS.max_bytes

    def take(self) -> bytes:
        """The photo's bytes, once: they are not kept, so that memory holds them no second time."""
        parts, self.parts = self.parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)


async def read_uploads(
    request: Request, max_body: int, max_photos: int, memory: Share
) -> list[Upload]:
    """Photos of a multipart form, or the body as one photo.

    Raises RequestRefusedError: 413 for too much, 400 for a form that cannot be read, 503 when
    other requests fill the memory.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    # What could not be held even alone would be asked to come again for ever.
    max_body = min(max_body, memory.memory.most)
    _check_length(request, max_body)
    reader: _Form | _Body
    if kind == b"multipart/form-data":
        reader = _Form(options.get(b"boundary", b""), max_photos)
    else:
        reader = _Body()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_body:
            raise _too_large(max_body)
        memory.hold(len(chunk))
        reader.feed(chunk)
    return reader.end()


def _check_length(request: Request, max_body: int) -> None:
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > max_body:
        raise _too_large(max_body)


def _too_large(max_body: int) -> RequestRefusedError:
    reason = f"the request has more than {max_body:,} bytes; send fewer or smaller photos"
    # What still arrives is not read.
    return RequestRefusedError(413, reason, {"Connection": "close"})


class _Body:
    def __init__(self) -> None:
        self._upload = Upload()

    def feed(self, chunk: bytes) -> None:
        if chunk:
            self._upload.add(chunk)

    def end(self) -> list[Upload]:
        return [self._upload]


class _Form:
    """Files of a multipart form, whatever their field is called.

    Other fields are refused: parameters stand in the address, and one that is sent here and left
    aside would do nothing and tell nobody.
    """

    def __init__(self, boundary: bytes, max_photos: int) -> None:
        if not boundary:
            raise RequestRefusedError(
                400, "the form has no boundary; send it as multipart/form-data"
            )
        self._uploads: list[Upload] = []
        self._max_photos = max_photos
        self._header, self._value = b"", b""
        self._field: bytes | None = None
        self._complete = False
        with _refused_as_unreadable():
            self._parser = MultipartParser(boundary, self._callbacks())

    def feed(self, chunk: bytes) -> None:
        with _refused_as_unreadable():
            self._parser.write(chunk)

    def end(self) -> list[Upload]:
        if not self._complete:
            raise RequestRefusedError(400, "the form is cut short; send it again")
        if not self._uploads:
            raise RequestRefusedError(400, "the form has no files; add at least one photo")
        return self._uploads

    def _begin(self) -> None:
        if len(self._uploads) == self._max_photos:
            raise RequestRefusedError(
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
                f"the field {_text(self._field)!r} of the form is no file; send photos as files"
                " and parameters in the address, such as /api/tag?top_k=3"
            )
            raise RequestRefusedError(400, reason, {"Connection": "close"})

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._uploads[-1].add(data[start:end])

    def _end(self) -> None:
        self._complete = True

    def _callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_end": self._end,
        }


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")[:_MAX_NAME]


@contextlib.contextmanager
def _refused_as_unreadable() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise RequestRefusedError(
            400, f"the form cannot be read ({error}); send it again"
        ) from None
