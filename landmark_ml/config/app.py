"""Where the web app listens, which model answers in it, and how much it takes on."""

from __future__ import annotations

from dataclasses import dataclass

from landmark_ml.config.options import NOT_NEGATIVE, PORT, POSITIVE, Configuration, option

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class AppConfig(Configuration):
    """Address, model and limits of the web app."""

    model: str = option("landmarks", "registered model whose champion answers")
    host: str = option("127.0.0.1", "address to listen on")
    port: int = option(8000, "port to listen on; 0: any free one", within=PORT)
    hosts: str = option(
        "localhost,127.0.0.1,[::1]",
        "names, with commas, under which it may be asked; a request for another is refused",
    )
    mlflow_ui: str = option(
        "", "address of the MLflow UI that the page links to; empty: the server, or `make ui`"
    )
    max_body: int = option(64 * MIB, "most bytes of one request", unit="bytes", within=POSITIVE)
    max_photos: int = option(64, "most photos of one request", within=POSITIVE)
    max_waiting: int = option(
        256, "photos that may wait for an answer; more get status 503", within=POSITIVE
    )
    max_memory: int = option(
        512 * MIB,
        "bytes of photos held at once; more get status 503",
        unit="bytes",
        within=POSITIVE,
    )
    timeout: float = option(
        60.0, "longest a request may take to arrive, and to be answered", unit="s", within=POSITIVE
    )
    threads: int = option(
        0, "photos that are worked on at once; 0: one a core", within=NOT_NEGATIVE
    )
    poll: float = option(
        2.0, "pause between two looks for a new champion", unit="s", within=POSITIVE
    )
    cache_dir: str = option(".cache", "folder of the world map, drawn at the first start")
