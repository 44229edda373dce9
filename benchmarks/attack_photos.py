"""Search for photos that keep a decoder busy: good ones of every format, mutated again and again.

Every input is decoded, and its position read, in a child process that is killed at a limit. What
takes longest for its size, longest of all, or most memory is mutated further.
"""

from __future__ import annotations

import ctypes
import io
import itertools
import multiprocessing
import os
import random
import re
import resource
import signal
import struct
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from operator import attrgetter
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image
from pillow_heif import register_heif_opener

from benchmarks.tables import resident_peak_mb
from landmark_ml.inference.photos import DEFAULT_LIMITS, PhotoError, decode_photo, read_location

KILLED_AFTER = 30
"""Seconds of CPU after which a decoder is killed."""
_ADDRESS_SPACE = 6 << 30
_MEAN_SECONDS = 0.01
"""CPU of an input on average: large ones are tried when the small ones before left some over."""
_SIZE = (67, 43)
_KEPT = 4
_INTERESTING = (0, 1, 2, 3, 7, 8, 16, 127, 255, 256, 1000, 4096, 8000, 16384, 65535, 1 << 24)
_NUMBERS = ("B", ">H", "<H", ">I", "<I")


@dataclass(frozen=True)
class Specimen:
    """A photo, and the (width, height) that it claims."""

    kind: str
    data: bytes
    size: tuple[int, int]
    seconds: float = 0.0
    megabytes: float = 0.0
    outcome: str = ""

    @property
    def megapixels(self) -> float:
        """What it may be decoded to; a claim over the limit is refused."""
        return min(self.size[0] * self.size[1], DEFAULT_LIMITS.max_pixels) / 1e6

    @property
    def slowness(self) -> float:
        """CPU for its size: a photo at both limits may take 5 s."""
        share = max(len(self.data) / DEFAULT_LIMITS.max_bytes, self.megapixels / 64)
        return self.seconds / (0.02 + 5 * share)


@dataclass
class Found:
    """The inputs of one format: how many, how they ended, and the worst."""

    outcomes: Counter[str] = field(default_factory=Counter)
    worst: dict[str, list[Specimen]] = field(default_factory=dict)

    def add(self, specimen: Specimen) -> None:
        self.outcomes[specimen.outcome] += 1
        for name in ("slowness", "seconds", "megabytes"):
            kept = [*self.worst.get(name, ()), specimen]
            self.worst[name] = sorted(kept, key=attrgetter(name), reverse=True)[:_KEPT]


def search(pools: dict[str, list[Specimen]], inputs: int, seed: int) -> dict[str, Found]:
    """Try good photos and their mutations, the formats in turn; what was found by format."""
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    decoder, spent = Decoder(), 0.0
    found = {kind: Found() for kind in pools}
    tried = 0
    while tried < inputs:
        for kind, seeds in pools.items():
            if tried >= inputs:
                break
            scale = 1.0 if spent <= _MEAN_SECONDS * tried else 0.001
            number = found[kind].outcomes.total()
            if number < len(seeds):
                specimen = seeds[number]
            else:
                specimen = _child(rng, seeds, found[kind], scale)
            measured = decoder.measure(specimen)
            spent += measured.seconds
            found[kind].add(measured)
            tried += 1
    return found


def _child(rng: random.Random, seeds: list[Specimen], found: Found, scale: float) -> Specimen:
    """A mutation of a good photo, or of one of the worst as far as the scale affords it."""
    kept = [one for name in found.worst for one in found.worst[name]] if rng.random() < 0.7 else []
    affordable = [
        one
        for one in [*kept, *seeds]
        if scale == 1 or (one.megapixels <= 64 * scale and one.seconds <= 2 * _MEAN_SECONDS)
    ]
    specimen = rng.choice(affordable)
    data, size = specimen.data, specimen.size
    most = DEFAULT_LIMITS.max_bytes if scale == 1 else 100_000
    for _ in range(rng.choice((1, 1, 2, 4))):
        if rng.random() < 0.25:
            data, size = _claim(rng, data, size, int(DEFAULT_LIMITS.max_pixels * scale))
        else:
            data = rng.choice(_MUTATIONS)(rng, specimen.kind, data, seeds)[:most]
    return Specimen(specimen.kind, _mend(specimen.kind, data), size)


def _claim(
    rng: random.Random, data: bytes, size: tuple[int, int], pixels: int
) -> tuple[bytes, tuple[int, int]]:
    """Claim another size, of up to `pixels` pixels, wherever the old one stands."""
    width = min(int(2 ** rng.uniform(0, 16.6)), 65_535)
    height = max(1, min(int(pixels * rng.choice((1, 1, rng.random())) / width), 65_535))
    for order, number in ((">", "H"), ("<", "H"), (">", "I"), ("<", "I")):
        for before, after in ((size, (width, height)), (size[::-1], (height, width))):
            old, new = (struct.pack(order + 2 * number, *sides) for sides in (before, after))
            data = data.replace(old, new)
    for tag, old_side, side in ((256, size[0], width), (257, size[1], height)):
        for code, number in ((3, "H2x"), (4, "I")):
            old = struct.pack("<HHI" + number, tag, code, 1, old_side)
            data = data.replace(old, struct.pack("<HHI" + number, tag, code, 1, side))
    return data, (width, height)


def _parts(kind: str, data: bytes) -> list[bytes]:
    """Cut a photo into the pieces that its format is made of."""
    if kind in ("JPEG", "RAW"):
        return re.split(rb"(?=\xff[\xc0-\xcf\xd8-\xfe])", data)
    if kind == "GIF":
        return re.split(rb"(?=[!,])", data)
    if kind in ("TIFF", "BMP"):
        cuts = [0, *range(10 if kind == "TIFF" else 14, min(len(data), 300), 12), len(data)]
    else:
        cuts = [0, *_starts(kind, data), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(cuts)]


def _starts(kind: str, data: bytes) -> Iterator[int]:
    order, at, around = {"PNG": (">", 8, 12), "WEBP": ("<", 12, 8)}.get(kind, (">", 0, 0))
    for _ in range(1000):
        if at + 8 > len(data):
            return
        yield at
        length = struct.unpack_from(order + "I", data, at + 4 * (kind == "WEBP"))[0]
        at += max(8, length + around + (kind == "WEBP" and length % 2))


def _repeat(rng: random.Random, kind: str, data: bytes, _: list[Specimen]) -> bytes:
    parts = _parts(kind, data)
    index = rng.randrange(len(parts))
    most = rng.choice((100_000, DEFAULT_LIMITS.max_bytes)) // max(1, len(parts[index]))
    times = min(int(2 ** rng.uniform(1, 20)), most)
    return b"".join([*parts[:index], parts[index] * times, *parts[index + 1 :]])


def _move(rng: random.Random, kind: str, data: bytes, seeds: list[Specimen]) -> bytes:
    """Leave a piece out, change its place, or take one of another photo."""
    parts = _parts(kind, data)
    part = parts.pop(rng.randrange(len(parts)))
    if rng.random() < 0.5:
        part = rng.choice(_parts(kind, rng.choice(seeds).data))
    if rng.random() < 0.8:
        parts.insert(rng.randint(0, len(parts)), part)
    return b"".join(parts)


def _fill(rng: random.Random, kind: str, data: bytes, _: list[Specimen]) -> bytes:
    """Replace the content of a piece by much of one byte, by noise, or by itself many times."""
    parts = _parts(kind, data)
    index = rng.randrange(len(parts))
    part = parts[index]
    length = int(2 ** rng.uniform(0, 16 if kind == "JPEG" else 20))
    filling = rng.choice((bytes(1), b"\xff", b"\x80", rng.randbytes(997), part[8:] or b"\1"))
    body = (filling * (length // len(filling) + 1))[:length]
    head = {
        "JPEG": part[:2] + struct.pack(">H", min(length + 2, 65_535)),
        "PNG": struct.pack(">I", length) + part[4:8],
        "WEBP": part[:4] + struct.pack("<I", length),
    }.get(kind, part[:8])
    if kind == "PNG" and part[4:8] == b"IDAT":
        body = zlib.compress(body, 1)
        head = struct.pack(">I", len(body)) + b"IDAT"
    parts[index] = head + body + (bytes(4) if kind == "PNG" else b"")
    return b"".join(parts)


def _number(rng: random.Random, _kind: str, data: bytes, _: list[Specimen]) -> bytes:
    """Overwrite numbers of a header."""
    mutable = bytearray(data)
    for _time in range(rng.choice((1, 1, 3, 8))):
        number = rng.choice(_NUMBERS)
        width = struct.calcsize(number)
        at = rng.randrange(max(1, min(len(data) - width, rng.choice((60, 300, 2000, len(data))))))
        value = rng.choice((*_INTERESTING, rng.getrandbits(32), len(data))) % (1 << 8 * width)
        if at + width <= len(mutable):
            struct.pack_into(number, mutable, at, value)
    return bytes(mutable)


def _cut(rng: random.Random, _kind: str, data: bytes, _: list[Specimen]) -> bytes:
    return data[: rng.randrange(len(data) + 1)] or data[:12]


_MUTATIONS: tuple[Callable[[random.Random, str, bytes, list[Specimen]], bytes], ...] = (
    *(_repeat, _repeat, _move, _fill, _fill, _number, _number, _number, _cut),
)


def _mend(kind: str, data: bytes) -> bytes:
    """Make sums and lengths agree again, so that decoders read on."""
    if kind == "PNG":
        parts = _parts(kind, data)
        whole = [part[:-4] + struct.pack(">I", zlib.crc32(part[4:-4])) for part in parts[1:]]
        return parts[0] + b"".join(whole) if len(parts) < 1000 else data
    if kind == "WEBP":
        return data[:4] + struct.pack("<I", max(len(data), 8) - 8) + data[8:]
    media = data.find(b"mdat")
    if kind in ("AVIF", "HEIC") and media > 4:
        # The content of the first item then reaches to the end of the file.
        place, rest = data.find(struct.pack(">I", media + 4)), len(data) - media
        data = data[: media - 4] + struct.pack(">I", rest + 4) + data[media:]
        if 0 < place < media - 8:
            data = data[: place + 4] + struct.pack(">I", rest - 4) + data[place + 8 :]
    return data


def good_photos() -> dict[str, list[Specimen]]:
    """Good photos of each format, small ones and flat ones at the limit of pixels."""
    noise = Image.effect_noise(_SIZE, 90)
    small = Image.merge("RGB", [noise, noise.rotate(180), noise]).convert("RGBA")
    small.putalpha(noise)
    found: dict[str, list[Specimen]] = {}

    def add(kind: str, mode: str, image: Image.Image = small, **options: Any) -> None:
        buffer = io.BytesIO()
        try:
            image.convert(mode).save(buffer, "HEIF" if kind == "HEIC" else kind, **options)
        except (KeyError, OSError, ValueError, RuntimeError):
            return  # A coding that this build of PIL does not write.
        found.setdefault(kind, []).append(Specimen(kind, buffer.getvalue(), image.size))

    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2, 1, 4)})
    for mode in ("L", "RGB", "CMYK"):
        add("JPEG", mode, exif=exif, progressive=True, subsampling=0)
        add("JPEG", mode, exif=exif, restart_marker_blocks=1)
    for mode in ("RGB", "RGBA", "P", "1", "I;16"):
        add("PNG", mode, exif=exif, icc_profile=bytes(9))
    for mode in ("RGB", "RGBA"):
        add("WEBP", mode, exif=exif, lossless=True)
        add("WEBP", mode, exif=exif)
        add("AVIF", mode, exif=exif, subsampling="4:4:4")
    add("GIF", "P", interlace=1)
    for coding in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "lzma", "zstd"):
        add("TIFF", "RGB", exif=exif, compression=coding)
    for coding in ("group3", "group4", "tiff_ccitt"):
        add("TIFF", "1", compression=coding)
    for mode in ("1", "P", "RGB"):
        add("BMP", mode)
    for kind in ("PNG", "WEBP", "AVIF", "GIF"):
        add(kind, "RGB", save_all=True, append_images=[small.rotate(180).convert("RGB")] * 3)
    large = Image.new("RGB", (8000, 8000))
    add("JPEG", "RGB", large, progressive=True, subsampling=0)
    add("PNG", "RGBA", large)
    add("GIF", "RGB", large)
    for coding in ("tiff_lzw", "tiff_adobe_deflate", "zstd"):
        add("TIFF", "RGB", large, compression=coding)
    add("AVIF", "RGB", large, speed=10, subsampling="4:4:4")
    add("BMP", "1", large)
    add("WEBP", "RGBA", Image.new("RGB", (5650, 5650)), method=0)
    register_heif_opener()
    add("HEIC", "RGB", exif=exif)
    add("HEIC", "RGBA")
    add("HEIC", "RGB", Image.new("RGB", (2000, 2000)))
    # Raw files: a directory that calls its picture a preview or a Fuji's start, then the preview.
    exif[254] = 1
    starts = (exif.tobytes().removeprefix(b"Exif\0\0"), b"FUJIFILMCCD-RAW ".ljust(148, b"\0"))
    for jpeg in found["JPEG"]:
        raw = (Specimen("RAW", start + jpeg.data, jpeg.size) for start in starts)
        found.setdefault("RAW", []).extend(raw)
    return found


class Decoder:
    """A child process that decodes, and is replaced when it was killed."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_decode_for, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def measure(self, specimen: Specimen) -> Specimen:
        """Decode a photo, and say what it took."""
        self._pipe.send_bytes(specimen.data)
        try:
            seconds, megabytes, outcome = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            code = -(self._process.exitcode or 0)
            outcome = "over time" if code == signal.SIGPROF else f"crash by signal {code}"
            seconds, megabytes = float(KILLED_AFTER), 0.0
            self._start()
        return replace(specimen, seconds=seconds, megabytes=megabytes, outcome=outcome)


def _decode_for(pipe: Connection) -> None:
    warnings.simplefilter("ignore")
    # libtiff writes a line for every bad strip.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    give_back = ctypes.CDLL(None).malloc_trim
    while True:
        try:
            data = pipe.recv_bytes()
        except EOFError:
            return
        # What the allocator keeps of the photo before would not count as new.
        give_back(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = resident_peak_mb()
        signal.setitimer(signal.ITIMER_PROF, KILLED_AFTER)
        start = time.process_time()
        try:
            decode_photo(data)
            outcome = "read"
        except PhotoError as error:
            outcome = error.code
        except Exception as error:
            outcome = f"raised {type(error).__name__}"
        read_location(data)
        pipe.send((time.process_time() - start, resident_peak_mb() - before, outcome))
