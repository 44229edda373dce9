"""Download a zip archive and unpack it; the folder appears only when complete."""

from __future__ import annotations

import lzma
import tempfile
import zipfile
import zlib
from pathlib import Path

import requests

from landmark_ml.console import Bar

TIMEOUT_SECONDS = (10, 60)
_CHUNK = 1 << 16
# All errors of requests are OSErrors. RuntimeError: an entry is encrypted, or packed by a method
# that zipfile lacks.
_FAILURES = (OSError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)


def fetch_archive(url: str, folder: Path) -> None:
    """Make a folder of what a zip archive holds; zipfile writes nothing outside of it.

    Raises ValueError when the address is wrong, the server cannot be reached, what it sends is
    not a sound, unencrypted zip, or the disk is full.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        archive, unpacked = Path(scratch, "archive.zip"), Path(scratch, "unpacked")
        unpacked.mkdir()
        try:
            with requests.get(url, stream=True, timeout=TIMEOUT_SECONDS) as response:
                response.raise_for_status()
                size = int(response.headers.get("Content-Length", 0)) or None
                bar = Bar(total=size, unit="B", unit_scale=True, desc="downloading")
                with bar, archive.open("wb") as file:
                    for chunk in response.iter_content(_CHUNK):
                        bar.update(file.write(chunk))
            with zipfile.ZipFile(archive) as source:
                for entry in Bar(source.infolist(), desc="unpacking", unit=" files"):
                    source.extract(entry, unpacked)
        except _FAILURES as error:
            raise ValueError(
                f"{url} could not be downloaded and unpacked into {folder}: {error}; check the"
                " address, the network and the free disk space and run again, or unpack the data by"
                " hand and give its folder"
            ) from error
        unpacked.replace(folder)
