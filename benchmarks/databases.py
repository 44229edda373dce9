"""Empty databases for MLflow and Optuna: SQLite files, or those of a PostgreSQL server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.servers.postgres import find_installation, run_postgres

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

KINDS = ("sqlite", "postgresql")


def open_databases(kind: str, ends: ExitStack) -> Callable[[str, Path], str]:
    """What makes a database of a kind: name and folder to its address; a server ends with `ends`.

    PostgreSQL runs with its own settings, durable writes among them. Raises PostgresMissingError
    where it is not installed.
    """
    if kind == "sqlite":
        return lambda name, folder: f"sqlite:///{folder}/{name}.db"
    server = ends.enter_context(run_postgres(find_installation(), durable=True))
    return lambda name, _folder: server.create_database(name)
