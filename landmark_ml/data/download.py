"""Download a zip archive, resumable, and unpack it; in place only when complete."""

from __future__ import annotations

import logging
import lzma
import tempfile
import zipfile
import zlib
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ChunkedEncodingError
from urllib3.exceptions import MaxRetryError
from urllib3.util import Retry

from landmark_ml.console import Bar

logger = logging.getLogger(__name__)

ATTEMPTS = 5
BACKOFF_SECONDS = 1.0
"""Wait before the second attempt at a request; doubles for each further one."""
TIMEOUT_SECONDS = (10, 60)
# A chunk cut short by a broken connection is lost and fetched again: keep it small.
_CHUNK = 1 << 16
# RuntimeError: an entry is encrypted, or packed by a method that zipfile lacks.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
_BY_HAND = "unpack the data by hand and give its folder"


class DownloadError(ValueError):
    """An archive that could not be downloaded or unpacked; the message names it and the fix."""


def download(url: str, target: Path) -> Path:
    """Download url to target and return target; nothing is sent when it is already there.

    An interrupted transfer stays in `<target>.part` and is continued, by this call or the next,
    unless the server's ETag has changed. Raises DownloadError when the address is wrong, the server
    cannot be reached or the disk is full.
    """
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    again = Retry(
        ATTEMPTS - 1,
        status_forcelist=(408, 425, 429, 500, 502, 503, 504),
        backoff_factor=BACKOFF_SECONDS,
        respect_retry_after_header=False,
    )
    try:
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=again))
            # The adapter repeats a request, and cannot continue an answer that is cut short.
            for left in reversed(range(ATTEMPTS)):
                try:
                    _transfer(session, url, part)
                    break
                except (ChunkedEncodingError, requests.ConnectionError) as error:
                    if not left or isinstance(error.args[0], MaxRetryError):
                        raise
                    logger.warning("download of %s: %s; continuing", url, error)
    except OSError as error:
        # All errors of requests are of this kind too.
        raise DownloadError(
            f"could not download {url} to {part}: {error}; check the address, the network and the"
            f" free disk space and run again (it continues where it stopped), or {_BY_HAND}"
        ) from error
    part.replace(target)
    part.with_suffix(".etag").unlink(missing_ok=True)
    return target


def _transfer(session: requests.Session, url: str, part: Path) -> None:
    """Ask for what part lacks and append it."""
    start = part.stat().st_size if part.is_file() else 0
    # A compressed transfer would make Content-Length and byte ranges useless.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    if start and (etag := part.with_suffix(".etag")).is_file():
        headers["If-Range"] = etag.read_text(encoding="utf-8")
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if response.status_code == 416:
            return  # part is whole already
        response.raise_for_status()
        start = start if response.status_code == 206 else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        bar = Bar(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem)
        with bar, part.open("ab" if start else "wb") as file:
            if not start and "ETag" in response.headers:
                part.with_suffix(".etag").write_text(response.headers["ETag"], encoding="utf-8")
            for chunk in response.iter_content(_CHUNK):
                bar.update(file.write(chunk))


def unpack_zip(archive: Path, folder: Path) -> Path:
    """Unpack archive as a new folder, which appears complete or not at all.

    zipfile writes nothing outside the folder. Raises DownloadError for what is not a sound,
    unencrypted zip, and removes that.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        unpacked = Path(scratch, "unpacked")
        unpacked.mkdir()
        try:
            with zipfile.ZipFile(archive) as source:
                for entry in Bar(source.infolist(), desc="unpacking", unit=" files"):
                    source.extract(entry, unpacked)
        except _DAMAGE as error:
            with archive.open("rb") as file:
                head = file.read(24)
            # Kept, it would fail every later run too.
            archive.unlink()
            raise DownloadError(
                f"{archive} could not be unpacked ({error}; it starts with {head!r}) and is"
                " removed: check the address it came from and the free disk space and run again, or"
                f" {_BY_HAND}"
            ) from error
        unpacked.replace(folder)
    return folder
