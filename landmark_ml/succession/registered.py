"""A registered model as MLflow shows it: its versions and aliases, and marks of who sets them."""

from __future__ import annotations

import contextlib
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from landmark_ml.succession.history import history_name, patiently

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from landmark_ml.succession.history import Entry

CHAMPION = "champion"
PREVIOUS = "previous"
CHALLENGER = "challenger"
_MARK = "moving."
_FORGOTTEN_SECONDS = 600.0


@dataclass(frozen=True)
class Standing:
    """Versions that exist, and the aliases as they are."""

    versions: frozenset[int]
    aliases: dict[str, int]

    def expected(self, head: Entry) -> dict[str, int]:
        """Champion and previous after an entry; a version that was deleted has no alias."""
        former = [version for version in head.former if version in self.versions]
        wanted = {CHAMPION: head.champion, PREVIOUS: former[-1] if former else 0}
        return {alias: version for alias, version in wanted.items() if version in self.versions}

    def actual(self) -> dict[str, int]:
        """Champion and previous as they are."""
        return {alias: at for alias, at in self.aliases.items() if alias in (CHAMPION, PREVIOUS)}


class RegisteredAliases:
    """Reads and sets the aliases of one registered model; sees to no order."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self._client = client
        self.name = name
        self._history = history_name(name)

    def standing(self) -> Standing:
        """Versions and aliases now. Raises ValueError when there is no such registered model."""
        try:
            model = patiently(lambda: self._client.get_registered_model(self.name))
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            raise ValueError(
                f"there is no registered model {self.name!r}; train one of this name:"
                f" mlflow run . -e transfer -P register={self.name}"
            ) from None
        versions = patiently(
            lambda: self._client.search_model_versions(f"name = '{self.name}'", max_results=10_000)
        )
        aliases = {alias: int(version) for alias, version in model.aliases.items()}
        return Standing(frozenset(int(found.version) for found in versions), aliases)

    def point(self, alias: str, version: int | None) -> None:
        """Set an alias, or take it away."""
        if version is None:
            patiently(lambda: self._client.delete_registered_model_alias(self.name, alias))
        else:
            number = str(version)
            patiently(lambda: self._client.set_registered_model_alias(self.name, alias, number))

    def mark(self) -> str:
        """Leave a mark that aliases are being set, and return its key."""
        key, now = _MARK + uuid.uuid4().hex, str(time.time())
        patiently(lambda: self._client.set_registered_model_tag(self._history, key, now))
        return key

    def unmark(self, key: str) -> None:
        """Take a mark away; somebody else may have done so."""
        with contextlib.suppress(MlflowException):
            patiently(lambda: self._client.delete_registered_model_tag(self._history, key))

    def marks(self) -> dict[str, float]:
        """Marks by key, with when they were set: seconds since 1970."""
        model = patiently(lambda: self._client.get_registered_model(self._history))
        return {key: float(at) for key, at in model.tags.items() if key.startswith(_MARK)}

    def forget(self, marks: dict[str, float]) -> None:
        """Clear marks so old that who set them must be gone."""
        for key, at in marks.items():
            if time.time() - at > _FORGOTTEN_SECONDS:
                self.unmark(key)
