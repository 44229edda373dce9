"""Download a zip archive, resumable, and unpack it; in place only when complete."""

from __future__ import annotations

import logging
import lzma
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PureWindowsPath

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ChunkedEncodingError, InvalidSchema, InvalidURL, MissingSchema
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

MAX_FILES = 200_000
MAX_UNPACKED_BYTES = 16 << 30
MAX_RATIO = 50
"""Most bytes an archive may unpack to per byte of its own; photos hardly compress at all."""
_RATIO_FREE_BYTES = 1 << 20
# RuntimeError: an entry is encrypted, or packed by a method that zipfile lacks.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)


_BY_HAND = "unpack the data by hand and give its folder"


class DownloadError(ValueError):
    """An archive that could not be downloaded or unpacked; the message names it and the fix."""


def download(url: str, target: Path) -> Path:
    """Download url to target and return target; nothing is sent when it is already there.

    An interrupted transfer stays in `<target>.part` and is continued, by this call or the next, if
    the server still has the same file. Raises DownloadError when the address is wrong, the server
    cannot be reached or the disk is full.
    """
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part, etag = (target.with_name(target.name + suffix) for suffix in (".part", ".part.etag"))
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
                    _transfer(session, url, part, etag)
                    break
                except (ChunkedEncodingError, requests.ConnectionError) as error:
                    if not left or isinstance(error.args[0], MaxRetryError):
                        raise
                    logger.warning("download of %s: %s; continuing", url, error)
    except (InvalidSchema, InvalidURL, MissingSchema) as error:
        raise DownloadError(f"{url!r} is not an http or https address") from error
    except requests.HTTPError as error:
        raise DownloadError(f"{error}: check the address, or {_BY_HAND}") from error
    except requests.RequestException as error:
        raise DownloadError(
            f"could not download {url} in {ATTEMPTS} attempts: {error}; check the network or proxy"
            f" and run again (it continues where it stopped), or {_BY_HAND}"
        ) from error
    except OSError as error:
        raise DownloadError(
            f"could not write {part} while downloading {url}: {error.strerror or error};"
            " free some space or choose another cache folder"
        ) from error
    part.replace(target)
    etag.unlink(missing_ok=True)
    return target


def _transfer(session: requests.Session, url: str, part: Path, etag: Path) -> None:
    """Send one request and append its answer to part; etag keeps which file part is a piece of."""
    start = part.stat().st_size if part.is_file() and etag.is_file() else 0
    # A compressed transfer would make Content-Length and byte ranges useless.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": etag.read_text(encoding="utf-8")}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        status, sent = response.status_code, response.headers.get("Content-Range", "")
        if status == 416 and sent == f"bytes */{start}":
            return  # part is whole already
        if status == 416 or (status == 206 and not sent.startswith(f"bytes {start}-")):
            part.unlink(missing_ok=True)
            raise ChunkedEncodingError("the server refused to continue; starting over")
        response.raise_for_status()
        _save(response, start if status == 206 else 0, part, etag)


def _save(response: requests.Response, start: int, part: Path, etag: Path) -> None:
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - start > free:
        raise DownloadError(
            f"{part.parent} has {free:,} bytes free and {total - start:,} are needed: free some"
            " space or choose another cache folder"
        )
    if not start:
        part.unlink(missing_ok=True)
        etag.unlink(missing_ok=True)
        # Only a strong ETag tells whether a later request would continue the same file.
        if not (validator := response.headers.get("ETag", "W/")).startswith("W/"):
            etag.write_text(validator, encoding="utf-8")
    bar = Bar(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem)
    with bar, part.open("ab") as file:
        for chunk in response.iter_content(_CHUNK):
            bar.update(file.write(chunk))


def unpack_zip(archive: Path, folder: Path) -> Path:
    """Unpack archive as a new folder, which appears complete or not at all.

    Raises DownloadError for anything that is not a sound, unencrypted zip of plain files and
    folders within the limits of this module.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        unpacked = Path(scratch, "unpacked")
        unpacked.mkdir()
        try:
            with zipfile.ZipFile(archive) as source:
                _check_entries(source.infolist(), archive)
                for entry in Bar(source.infolist(), desc="unpacking", unit=" files"):
                    source.extract(entry, unpacked)
        except _DAMAGE as error:
            with archive.open("rb") as file:
                head = file.read(24)
            raise DownloadError(
                f"{archive} could not be unpacked ({error}; it starts with {head!r}): check the"
                " address it came from and the free disk space, remove it and run again, or"
                f" {_BY_HAND}"
            ) from error
        unpacked.replace(folder)
    return folder


def _check_entries(entries: list[zipfile.ZipInfo], archive: Path) -> None:
    total = sum(entry.file_size for entry in entries)
    limit = min(MAX_UNPACKED_BYTES, max(_RATIO_FREE_BYTES, MAX_RATIO * archive.stat().st_size))
    if len(entries) > MAX_FILES or total > limit:
        raise DownloadError(
            f"{archive} holds {len(entries):,} entries of {total:,} bytes, over the limit of"
            f" {MAX_FILES:,} entries or {limit:,} bytes: refused as a zip bomb"
        )
    for entry in entries:
        # A Windows path knows drives and both kinds of slashes.
        path, name = PureWindowsPath(entry.filename), f"entry {entry.filename!r} of {archive}"
        if not entry.filename:
            raise DownloadError(f"{name} has no name: refused")
        if path.anchor or ".." in path.parts:
            raise DownloadError(f"{name} points outside its folder: refused")
        if stat.S_IFMT(entry.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
            raise DownloadError(f"{name} is a link or device: refused")
