"""`python -m benchmarks.servers.fastapi_server PORT`: eager PyTorch behind plain FastAPI."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from benchmarks.servers.eager_network import EagerNetwork, best


def create_app() -> FastAPI:
    """An app with `POST /predict` for raw photo bytes."""
    app, network = FastAPI(), EagerNetwork()

    def answer(photo: bytes) -> dict[str, float]:
        return best(network.probabilities(network.pixels(photo)[None])[0])

    async def predict(request: Request) -> dict[str, float]:
        return await run_in_threadpool(answer, await request.body())

    async def ping() -> Response:
        return Response()

    app.add_api_route("/predict", predict, methods=["POST"])
    app.add_api_route("/health", ping)
    return app


if __name__ == "__main__":
    uvicorn.run(create_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
