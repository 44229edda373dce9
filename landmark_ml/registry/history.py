"""The append-only history of a registered model, kept in the registry as a model of its own.

Entry n of the history of `landmarks` is version n of `landmarks.history`: its tags are the entry,
its description is the entry as a sentence, its source is the version it is about. MLflow numbers
versions by a primary key, on every database and behind its server, so that of writers that append
at the same time each gets a number of its own and all read the same order. That order decides:
an entry that moves the champion names the entry it is based on, and counts only if no other move
came between (`entry.counted`). Appending is therefore a compare-and-set, without a lock, a lease or
a clock. An entry that did not count stays where it is and changes nothing.

A registered model that was deleted and made again under its name numbers its versions from 1 anew:
entries carry when the model they are about was made, and those about a former one are passed over.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

from landmark_ml.config import HISTORY_SUFFIX
from landmark_ml.registry.entry import APPLIED, Entry, counted, entry_tags, is_entry, read_entry
from landmark_ml.tracking.retrying import patiently

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.entities import PagedList
    from mlflow.tracking import MlflowClient

_FEW, _MANY = 20, 1000


def history_name(name: str) -> str:
    """Registered model that holds the history of another."""
    return name + HISTORY_SUFFIX


class History:
    """Reads and extends the history of one registered model."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self._client = client
        self._about = name
        self.name = history_name(name)

    def open(self) -> None:
        """Lay the history where there is none."""
        try:
            self._client.create_registered_model(
                self.name,
                description=f"Append-only history of `{self._about}`: version n is entry n. Written"
                " by promote, rollback and training; do not edit it.",
            )
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise

    def is_empty(self) -> bool:
        """Whether there is no entry, or no history yet."""
        return not self._page(None, 1)

    def entries(self) -> list[Entry]:
        """All entries, the oldest first; those deleted from the registry are missing."""
        return self._back_to(lambda _: False, _MANY)

    def moves(self, since: int | None = None) -> list[Entry]:
        """Entries that changed who is champion, in order, from one that was applied on.

        since: number of a move that is among them, or before them all. None: only the last moves.
        """

        def is_base(entry: Entry) -> bool:
            # What was applied did count, so that nothing before it decides about what comes after.
            return entry.moves and entry.applied and (since is None or entry.number <= since)

        return counted(self._back_to(is_base, _FEW))

    def append(self, entry: Entry) -> Entry:
        """Write an entry and return it with its number; tells nothing of whether it counts."""
        entry = replace(entry, model_made=self._model_made)
        source = f"models:/{self._about}/{entry.version}"
        created = patiently(
            # Written twice it would not count twice: the second is based on what is past.
            lambda: self._client.create_model_version(
                self.name,
                source,
                tags=entry_tags(entry),
                description=entry.sentence,
                await_creation_for=0,
            )
        )
        return replace(entry, number=int(created.version))

    def mark_applied(self, entry: Entry) -> None:
        """Note that the aliases follow an entry."""
        patiently(
            lambda: self._client.set_model_version_tag(
                self.name, str(entry.number), APPLIED, "true"
            )
        )

    @cached_property
    def _model_made(self) -> str:
        """When the registered model that the entries are about was made."""
        model = patiently(lambda: self._client.get_registered_model(self._about))
        return str(model.creation_timestamp)

    def _is_about_it(self, entry: Entry) -> bool:
        # Entries of the time before they carried it count.
        return entry.model_made in ("", self._model_made)

    def _back_to(self, is_last: Callable[[Entry], bool], at_once: int) -> list[Entry]:
        """Entries from the newest back to the first that is the last to read, in order."""
        found: dict[int, Entry] = {}
        token: str | None = None
        while True:
            page = self._page(token, at_once)
            for entry in filter(self._is_about_it, map(read_entry, filter(is_entry, page))):
                # What is appended meanwhile shifts an entry into the next page too.
                found[entry.number] = entry
                if is_last(entry):
                    token = None
                    break
            else:
                token = page.token
            if not token:
                return [found[number] for number in sorted(found)]

    def _page(self, token: str | None, most: int) -> PagedList[ModelVersion]:
        search = f"name = '{self.name}'"
        return patiently(
            lambda: self._client.search_model_versions(
                search, order_by=["version_number DESC"], max_results=most, page_token=token
            )
        )
