"""The network as most people serve it: eager PyTorch, float32, one photo a call."""

from __future__ import annotations

import io

import timm
import torch
from PIL import Image
from torch import Tensor

from benchmarks.peers.folders import cut_at_the_centre
from landmark_ml.networks.create import load_weights

BACKBONE = "tf_efficientnet_lite0"
CLASSES = 50


class EagerNetwork:
    """Photo bytes to the index and the probability of a class, as torchvision's guide does it."""

    def __init__(self) -> None:
        self.network = timm.create_model(BACKBONE).eval()
        load_weights(self.network, BACKBONE, "pretrained")
        self.network.reset_classifier(CLASSES)
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
