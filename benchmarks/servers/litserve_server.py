"""`python -m benchmarks.servers.litserve_server PORT`: eager PyTorch behind LitServe, batched."""

from __future__ import annotations

import base64
import sys
from typing import Any

import litserve
import torch

from benchmarks.servers.eager_network import EagerNetwork, best


class PhotoAPI(litserve.LitAPI):  # type: ignore[misc]
    """LitServe's steps from a request to an answer."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's protocol
        self.network = EagerNetwork()

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["image"])

    def batch(self, inputs: list[bytes]) -> torch.Tensor:
        return torch.stack([self.network.pixels(photo) for photo in inputs])

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        return self.network.probabilities(x)

    def encode_response(self, output: torch.Tensor) -> dict[str, Any]:
        return best(output)


if __name__ == "__main__":
    api = PhotoAPI(max_batch_size=8, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu", track_requests=False)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
