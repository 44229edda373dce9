"""A registered model as MLflow shows it: its versions and aliases, and marks of who sets them."""

from __future__ import annotations

import contextlib
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from landmark_ml.registry.history import history_name
from landmark_ml.tracking.retrying import patiently

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow.entities.model_registry import RegisteredModel
    from mlflow.tracking import MlflowClient

    from landmark_ml.registry.entry import Entry

CHAMPION = "champion"
PREVIOUS = "previous"
CHALLENGER = "challenger"
_MARK = "moving."
_FORGOTTEN_SECONDS = 600.0


@dataclass(frozen=True)
class Standing:
    """The aliases as they are, and as an entry of the history wants them.

    newest: number of the newest version, 0 for none. A version that was deleted has no alias.
    """

    newest: int
    aliases: dict[str, int]
    expected: dict[str, int]

    @property
    def actual(self) -> dict[str, int]:
        """Champion and previous as they are."""
        return {alias: at for alias, at in self.aliases.items() if alias in (CHAMPION, PREVIOUS)}


class RegisteredAliases:
    """Reads and sets the aliases of one registered model; sees to no order."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self._client = client
        self.name = name
        self._history = history_name(name)

    def standing(self, head: Entry) -> Standing:
        """Aliases now, and those that should follow an entry.

        Raises ValueError when there is no such registered model.
        """
        aliases = {alias: int(version) for alias, version in self._model().aliases.items()}
        expected = {
            CHAMPION: head.champion if self.holds(head.champion) else 0,
            PREVIOUS: self.last_held(head.former),
        }
        return Standing(
            self._newest(),
            aliases,
            {alias: version for alias, version in expected.items() if version},
        )

    def holds(self, version: int) -> bool:
        """Whether there is a version of this number, 0 being none."""
        if not version:
            return False
        try:
            patiently(lambda: self._client.get_model_version(self.name, str(version)))
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            return False
        return True

    def last_held(self, versions: Sequence[int]) -> int:
        """The last of some versions that was not deleted, 0 for none."""
        return next((version for version in reversed(versions) if self.holds(version)), 0)

    def _model(self) -> RegisteredModel:
        try:
            return patiently(lambda: self._client.get_registered_model(self.name))
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            raise ValueError(
                f"there is no registered model {self.name!r}; train one of this name:"
                f" mlflow run . --env-manager local -e transfer -P register={self.name}"
            ) from None

    def _newest(self) -> int:
        found = patiently(
            lambda: self._client.search_model_versions(
                f"name = '{self.name}'", order_by=["version_number DESC"], max_results=1
            )
        )
        return int(found[0].version) if found else 0

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
