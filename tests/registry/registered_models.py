"""Registered models without a trained network, and a client that dies while it writes."""

from __future__ import annotations

from typing import Any

from mlflow.tracking import MlflowClient

from landmark_ml.registry.history import CHAMPION, PREVIOUS, AliasHistory, Entry

WRITES = (
    "create_registered_model",
    "create_model_version",
    "set_model_version_tag",
    "set_registered_model_tag",
    "delete_registered_model_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
)


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


class Dying:
    """A client that dies before its n-th write, counted from 0."""

    def __init__(self, client: MlflowClient, writes: int) -> None:
        self._client = client
        self._left = writes

    def __getattr__(self, name: str) -> Any:
        if name in WRITES:
            if self._left == 0:
                self.die()
            self._left -= 1
        return getattr(self._client, name)

    def die(self) -> None:
        raise Killed


def make_versions(client: MlflowClient, name: str, count: int) -> None:
    """Registered model with this many versions and no champion."""
    client.create_registered_model(name)
    for _ in range(count):
        client.create_model_version(name, "somewhere/model")


def aliases(client: MlflowClient, name: str) -> tuple[int, int]:
    """Champion and previous, 0 for none."""
    found = client.get_registered_model(name).aliases
    return int(found.get(CHAMPION, 0)), int(found.get(PREVIOUS, 0))


def crown(history: AliasHistory, *versions: int) -> Entry:
    """Make one after the other champion, and return the last entry."""
    for version in versions:
        head, _ = history.reconcile()
        kind = "promote" if head.champion else "register"
        history.move(kind, version, head, "better")  # type: ignore[arg-type]
    return history.reconcile()[0]


def kinds(history: AliasHistory) -> list[tuple[str, int]]:
    """Kind and champion of each entry of the history."""
    return [(entry.kind, entry.champion) for entry in history.entries()]
