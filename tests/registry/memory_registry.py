"""An MLflow registry in memory, as far as the alias history uses it; each call is one transaction.

The tests that use it run against SQLite and PostgreSQL too, marked as slow.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from mlflow.entities.model_registry import (
    ModelVersion,
    ModelVersionTag,
    RegisteredModel,
    RegisteredModelAlias,
    RegisteredModelTag,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST
from mlflow.store.entities.paged_list import PagedList


@dataclass
class _Model:
    description: str | None
    created: int
    tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    versions: dict[int, dict[str, Any]] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)


class MemoryRegistry:
    """The part of `MlflowClient` that registers models."""

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}
        self._created = 0
        self._lock = threading.Lock()

    def create_registered_model(self, name: str, description: str | None = None) -> None:
        with self._lock:
            if name in self._models:
                raise MlflowException(f"{name} exists", RESOURCE_ALREADY_EXISTS)
            self._created += 1
            self._models[name] = _Model(description, self._created)

    def delete_registered_model(self, name: str) -> None:
        with self._lock:
            self._model(name)
            del self._models[name]

    def get_registered_model(self, name: str) -> RegisteredModel:
        with self._lock:
            model = self._model(name)
            tags = [_tag(RegisteredModelTag, *item) for item in model.tags.items()]
            aliases = [_tag(RegisteredModelAlias, *item) for item in model.aliases.items()]
            return RegisteredModel(name, model.created, tags=tags, aliases=aliases)

    def create_model_version(
        self,
        name: str,
        source: str,
        tags: dict[str, str] | None = None,
        description: str | None = None,
        await_creation_for: int | None = None,  # noqa: ARG002 - the interface's
    ) -> ModelVersion:
        with self._lock:
            versions = self._model(name).versions
            number = max(versions, default=0) + 1
            about = {"source": source, "description": description, "tags": dict(tags or {})}
            versions[number] = about
            return self._version(name, number)

    def get_model_version(self, name: str, version: str) -> ModelVersion:
        with self._lock:
            return self._version(name, int(version))

    def delete_model_version(self, name: str, version: str) -> None:
        with self._lock:
            model, number = self._model(name), int(version)
            model.deleted.add(number)
            model.aliases = {key: at for key, at in model.aliases.items() if at != number}

    def search_model_versions(
        self,
        search: str,
        max_results: int = 10_000,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[ModelVersion]:
        name, first = search.removeprefix("name = '").removesuffix("'"), int(page_token or 0)
        with self._lock:
            model = self._models.get(name, _Model(None, 0))
            there = [number for number in model.versions if number not in model.deleted]
            there.sort(reverse=order_by == ["version_number DESC"])
            page = there[first : first + max_results]
            last = first + len(page)
            token = str(last) if last < len(there) else None
            return PagedList([self._version(name, number) for number in page], token)

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        with self._lock:
            self._version(name, int(version))
            self._model(name).versions[int(version)]["tags"][key] = value

    def set_registered_model_tag(self, name: str, key: str, value: str) -> None:
        with self._lock:
            self._model(name).tags[key] = value

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        with self._lock:
            self._model(name).tags.pop(key, None)

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        with self._lock:
            self._version(name, int(version))
            self._model(name).aliases[alias] = int(version)

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        with self._lock:
            self._model(name).aliases.pop(alias, None)

    def _model(self, name: str) -> _Model:
        if name not in self._models:
            raise MlflowException(f"{name} is not there", RESOURCE_DOES_NOT_EXIST)
        return self._models[name]

    def _version(self, name: str, number: int) -> ModelVersion:
        model = self._model(name)
        if number not in model.versions or number in model.deleted:
            raise MlflowException(f"{name} {number} is not there", RESOURCE_DOES_NOT_EXIST)
        about = model.versions[number]
        tags = [_tag(ModelVersionTag, *item) for item in about["tags"].items()]
        return ModelVersion(
            name,
            str(number),
            creation_timestamp=0,
            description=about["description"],
            source=about["source"],
            tags=tags,
        )


def _tag(kind: Any, key: str, value: str | int) -> Any:
    """MLflow's entities are not typed."""
    return kind(key, value)
