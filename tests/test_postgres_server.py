"""The server that other tests rely on is theirs alone and gone with them."""

from __future__ import annotations

import socket

import pytest
import sqlalchemy

from benchmarks.databases import PostgresServer, run_postgres

pytestmark = pytest.mark.slow


def test_databases_of_one_server_know_nothing_of_each_other(postgres: PostgresServer) -> None:
    first, second = (
        sqlalchemy.create_engine(postgres.create_database(name)) for name in ("one", "two")
    )
    with first.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE photos (id int)"))
    assert sqlalchemy.inspect(first).get_table_names() == ["photos"]
    assert sqlalchemy.inspect(second).get_table_names() == []
    first.dispose()
    second.dispose()


@pytest.mark.usefixtures("postgres")
def test_a_server_ends_with_its_block() -> None:
    with run_postgres(durable=False) as server:
        pass
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0
