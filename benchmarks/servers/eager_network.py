"""The network as most people serve it: eager PyTorch, float32, one photo a call."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from benchmarks.peers.contract import plain_network
from benchmarks.peers.folders import cut_at_the_centre

BACKBONE = "tf_efficientnet_lite0"
CLASSES = 50


class EagerNetwork:
    """Photo bytes to the index and the probability of a class, as torchvision's guide does it."""

    def __init__(self) -> None:
        self.network = plain_network(BACKBONE, CLASSES).eval()
        self.transform = cut_at_the_centre(224)

    def pixels(self, photo: bytes) -> Tensor:
        """Photo as float32 [3, 224, 224]."""
        with Image.open(io.BytesIO(photo)) as picture:
            tensor: Tensor = self.transform(picture.convert("RGB"))
        return tensor

    @torch.inference_mode()
    def probabilities(self, pixels: Tensor) -> Tensor:
        """float32 [N, 3, 224, 224] to [N, classes]."""
        found: Tensor = self.network(pixels).softmax(dim=1)
        return found


def best(probabilities: Tensor) -> dict[str, float]:
    """Answer of a server for one photo."""
    value, index = probabilities.max(dim=0)
    return {"class": float(index), "confidence": float(value)}
