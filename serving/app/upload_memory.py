"""How many bytes of photos all requests together may hold."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving.app.refusals import TooBusyError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Memory:
    """Bytes of photos held at once, of all requests together."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    @contextlib.contextmanager
    def share(self) -> Iterator[Share]:
        """What one request holds; given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held -= share.held


@dataclass
class Share:
    """Part of the memory that one request holds."""

    memory: Memory
    held: int = 0

    def hold(self, size: int) -> None:
        """Take more. Raises TooBusyError when it is not there."""
        if self.memory.held + size > self.memory.most:
            raise TooBusyError("too many photos are being uploaded")
        self.memory.held += size
        self.held += size
