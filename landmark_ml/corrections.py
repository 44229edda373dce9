"""Corrections: what people say of the answers, one row a decision in CSV files that only grow.

A photo is known by the sha256 of its file, wherever it lies. Its newest decision counts, so one
photo may have many rows, and the files of two people are read together.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from filelock import FileLock

from landmark_ml.config import user_path
from landmark_ml.files import spelled

logger = logging.getLogger(__name__)

CORRECTIONS = "corrections.csv"
"""Name of the file beside the tagger's table."""
Choice = Literal["landmark", "no_landmark", "rejected", "undone"]
DECISIONS: tuple[str, ...] = get_args(Choice)
LANDMARK, NO_LANDMARK, REJECTED, UNDONE = DECISIONS
MAX_NAME = 200
"""Letters in a landmark's name that pages send."""


class Correction(NamedTuple):
    """A decision on a photo.

    sha256: of the photo's file, in hexadecimal; of a larger raw one, of its first 33,554,433 bytes.
    path: where the photo lies, absolute or relative to the folder of the corrections; where it is
    not there, the hash alone counts. said: the landmark that was answered, empty for none.
    decision: `landmark`: it shows `right`, which is `said` where the answer was accepted;
    `no_landmark`: it shows none; `rejected`: what was said is wrong, and nobody says what is right;
    `undone`: earlier decisions on the photo are withdrawn. by: who decided. when: ISO 8601; empty:
    now.
    """

    sha256: str
    path: str
    said: str
    decision: str
    right: str = ""
    by: str = ""
    when: str = ""


_HEADER = ",".join(Correction._fields)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def append_corrections(path: Path, corrections: Iterable[Correction]) -> None:
    """Add decisions to a file, all in one write that is on the disk afterwards.

    Processes take turns. Raises ValueError for a decision that cannot be, or a file of another
    kind, and OSError where the disk refuses.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    for correction in corrections:
        # One line a row, so that a row cut off by a kill is recognised.
        texts = [_CONTROL.sub(" ", spelled(text)) for text in correction]
        writer.writerow(_checked([*texts[:-1], texts[-1] or now]))
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")), path.open("ab+") as file:
        file.seek(0)
        content = file.read()
        _, size = _parse(content, path)
        file.truncate(size)
        start = "" if content[:size].endswith(b"\n") else "\n" if size else f"{_HEADER}\n"
        file.write((start + lines.getvalue()).encode())
        file.flush()
        os.fsync(file.fileno())


def read_corrections(*paths: Path, named: str = "") -> dict[str, Correction]:
    """The newest decision on each photo, by sha256 and in order of time, without withdrawn ones.

    named: more files, as a user names them, with commas. Paths of photos are absolute; where a
    decision of another machine names a path that is not here, that of an earlier decision on the
    photo stands. Raises ValueError for a file that is not there, has other columns or another
    encoding, and for a row that no decision can be read from.
    """
    found = []
    for path in [*paths, *map(user_path, filter(None, map(str.strip, named.split(","))))]:
        try:
            corrections, _ = _parse(path.read_bytes(), path)
        except OSError as error:
            raise ValueError(
                f"corrections {path} cannot be read ({error.strerror}); name a file that"
                " `landmarks review` wrote"
            ) from error
        folder = path.absolute().parent
        found += [row._replace(path=row.path and str(folder / row.path)) for row in corrections]
    newest: dict[str, Correction] = {}
    for row in sorted(found, key=_time):
        before = newest.pop(row.sha256, None)
        elsewhere = before and before.path and not Path(row.path).is_file()
        newest[row.sha256] = row._replace(path=before.path) if before and elsewhere else row
    return {sha256: row for sha256, row in newest.items() if row.decision != UNDONE}


def _time(correction: Correction) -> datetime:
    when = datetime.fromisoformat(correction.when)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _checked(texts: list[str]) -> Correction:
    """A row as a decision. Raises ValueError, saying what is wrong."""
    if len(texts) != len(Correction._fields):
        raise ValueError(f"has {len(texts)} values, not {len(Correction._fields)}")
    correction = Correction(*texts)
    if not _SHA256.fullmatch(correction.sha256):
        raise ValueError(f"has sha256 {correction.sha256!r}; give 64 hexadecimal digits")
    if correction.decision not in DECISIONS:
        choices = ", ".join(DECISIONS)
        raise ValueError(f"has decision {correction.decision!r}; choose one of {choices}")
    if bool(correction.right.strip()) != (correction.decision == LANDMARK):
        raise ValueError(
            f"has decision {correction.decision} and right {correction.right!r}; {LANDMARK} needs"
            " the landmark's name, the others need none"
        )
    _time(correction)
    return correction


def _parse(content: bytes, path: Path) -> tuple[list[Correction], int]:
    """The decisions of a file, and its size in bytes without a row that was cut off."""
    if _HEADER.encode().startswith(content):
        return [], 0
    # What a killed process leaves has no end of line; nor has the last line of some editors.
    whole = content.rfind(b"\n") + 1
    problem: Exception | None = None
    for size in [len(content), whole] if whole else [len(content)]:
        try:
            found = _rows(content[:size].decode("utf-8-sig"))
        except (ValueError, csv.Error) as error:
            problem = problem or error
            continue
        if size < len(content):
            logger.warning("%s: the last row was cut off and does not count", path)
        return found, size
    kind = "is not in UTF-8" if isinstance(problem, UnicodeDecodeError) else "is no corrections"
    raise ValueError(
        f"{path} {kind} ({problem}); it must be a CSV in UTF-8 with the columns {_HEADER}"
    ) from problem


def _rows(text: str) -> list[Correction]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    if (header := ",".join(next(reader))) != _HEADER:
        raise ValueError(f"its columns are {header}")
    found = []
    for row in reader:
        if row == list(Correction._fields):
            # Files that were joined end to end have a header each.
            continue
        try:
            found.append(_checked(row))
        except ValueError as error:
            raise ValueError(f"line {reader.line_num} {error}") from error
    return found
