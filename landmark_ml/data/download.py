"""Download a large file: resumable, checked, and in place only when complete."""

from __future__ import annotations

import logging
import shutil
import time
from typing import TYPE_CHECKING

import requests
from tqdm import tqdm

from landmark_ml.data.content_hash import file_sha256

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

ATTEMPTS = 5
BACKOFF_SECONDS = 1.0
"""Wait before the second attempt; doubles for each further one."""
TIMEOUT_SECONDS = (10, 60)
# A chunk cut short by a broken connection is lost and fetched again: keep it small.
_CHUNK = 1 << 16
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class DownloadError(ValueError):
    """A file that could not be downloaded; the message names the address and the fix."""


class _InterruptedError(Exception):
    """A transfer that may succeed when tried again."""


def download(url: str, target: Path, *, sha256: str | None = None) -> Path:
    """Download url to target and return target; nothing is sent when it is already there.

    An interrupted transfer stays in `<target>.part` and is taken up again, by this call or the
    next, if the server still has the same file. Raises DownloadError when the address is wrong,
    the server cannot be reached, the disk is full or the content is not that of sha256.
    """
    if target.is_file() and (sha256 is None or file_sha256(target) == sha256):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    _transfer_with_retries(url, part)
    if sha256 is not None and (found := file_sha256(part)) != sha256:
        _discard(part)
        raise DownloadError(
            f"{url} has sha256 {found} and {sha256} was expected: the file has changed or was"
            " tampered with; check the address or the expected hash"
        )
    part.replace(target)
    _validator_file(part).unlink(missing_ok=True)
    return target


def _transfer_with_retries(url: str, part: Path) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _transfer(url, part)
        except _InterruptedError as error:
            if attempt == ATTEMPTS:
                raise DownloadError(
                    f"could not download {url} in {ATTEMPTS} attempts: {error}; check the network"
                    " or proxy and run again (it continues where it stopped), or unpack the data"
                    " by hand and give its folder"
                ) from error
            wait = BACKOFF_SECONDS * 2 ** (attempt - 1)
            logger.warning("download of %s: %s; trying again in %.0f s", url, error, wait)
            time.sleep(wait)
        except OSError as error:
            raise DownloadError(
                f"could not write {part} while downloading {url}: {error.strerror or error};"
                " free some space or choose another cache folder"
            ) from error
    return None


def _transfer(url: str, part: Path) -> None:
    try:
        with requests.get(
            url, headers=_headers(part), stream=True, timeout=TIMEOUT_SECONDS
        ) as response:
            _save(response, part)
    except (
        requests.exceptions.InvalidSchema,
        requests.exceptions.InvalidURL,
        requests.exceptions.MissingSchema,
    ) as error:
        raise DownloadError(f"{url!r} is not an http or https address") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise _InterruptedError("the connection broke before the end of the file") from error
    except requests.RequestException as error:
        raise _InterruptedError(f"{type(error).__name__}: {error}") from error


def _headers(part: Path) -> dict[str, str]:
    # A compressed transfer would make Content-Length and byte ranges useless.
    headers = {"Accept-Encoding": "identity"}
    validator = _validator_file(part)
    if part.is_file() and part.stat().st_size and validator.is_file():
        headers["Range"] = f"bytes={part.stat().st_size}-"
        headers["If-Range"] = validator.read_text(encoding="utf-8")
    return headers


def _save(response: requests.Response, part: Path) -> None:
    if response.status_code == 416 and _is_whole(response, part):
        return
    start = part.stat().st_size if response.status_code == 206 else 0
    _check_status(response, part, start)
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    _check_space(part, total, start)
    if not start:
        _remember_validator(response, part)
    _write_body(response, part, start, total)
    size = part.stat().st_size
    # urllib3 before 2.0 ends a body cut short like a whole one.
    if total is not None and size < total:
        raise _InterruptedError(f"the connection closed after {size:,} of {total:,} bytes")


def _write_body(response: requests.Response, part: Path, start: int, total: int | None) -> None:
    bar = tqdm(
        total=total, initial=start, unit="B", unit_scale=True, unit_divisor=1024, desc=part.stem
    )
    with bar, part.open("ab" if start else "wb") as file:
        for chunk in response.iter_content(_CHUNK):
            file.write(chunk)
            bar.update(len(chunk))


def _check_status(response: requests.Response, part: Path, start: int) -> None:
    status = response.status_code
    if status == 416 or (status == 206 and not _continues(response, start)):
        _discard(part)
        raise _InterruptedError("the server refused to continue; starting over")
    if status in _RETRIED_STATUS:
        raise _InterruptedError(f"the server answered {status} {response.reason}")
    if status not in {200, 206}:
        raise DownloadError(
            f"{response.url} answered {status} {response.reason}: check the address, or unpack the"
            " data by hand and give its folder"
        )


def _is_whole(response: requests.Response, part: Path) -> bool:
    size = part.stat().st_size if part.is_file() else 0
    return response.headers.get("Content-Range") == f"bytes */{size}"


def _continues(response: requests.Response, start: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _check_space(part: Path, total: int | None, start: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - start > free:
        raise DownloadError(
            f"{part.parent} has {free:,} bytes free and {total - start:,} are needed: free some"
            " space or choose another cache folder"
        )


def _remember_validator(response: requests.Response, part: Path) -> None:
    """Keep the strong ETag that lets a later request continue only an unchanged file."""
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        _validator_file(part).write_text(etag, encoding="utf-8")
    else:
        _validator_file(part).unlink(missing_ok=True)


def _validator_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)
