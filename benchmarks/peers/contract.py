"""What a training benchmark hands to a peer, and what it gets back."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
import timm
from torch import nn

from landmark_ml.networks.create import load_weights

BACKBONES = {"transfer": "tf_efficientnet_lite0", "scratch": "landmark_cnn"}
RESOLUTIONS = {"transfer": 224, "scratch": 128}


@dataclass(frozen=True)
class Task:
    """Folders `train/<class>` and `test/<class>`, what to learn from them, and how long.

    recipe: `transfer` begins with ImageNet weights, `scratch` with random ones; epochs: length of
    the schedule; minutes: when it is cut off at the latest.
    """

    data: Path
    recipe: str
    epochs: int
    minutes: float
    batch_size: int = 64
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)

    @property
    def num_classes(self) -> int:
        """Folders with photos to learn from."""
        return sum(folder.is_dir() for folder in (self.data / "train").iterdir())

    @property
    def backbone(self) -> str:
        """The timm name of the network that all peers learn with."""
        return BACKBONES[self.recipe]

    @property
    def resolution(self) -> int:
        """Side of the photos as the network sees them, in pixels."""
        return RESOLUTIONS[self.recipe]

    def network(self) -> nn.Module:
        """The network that all peers begin with."""
        weights = "pretrained" if self.recipe == "transfer" else "random"
        return plain_network(self.backbone, self.num_classes, weights)


def plain_network(backbone: str, num_classes: int, weights: str = "pretrained") -> nn.Module:
    """A network of timm with our weights and a new classifier, as tutorials use it."""
    network: nn.Module = timm.create_model(backbone)
    load_weights(network, backbone, weights)
    network.reset_classifier(num_classes)  # type: ignore[operator]
    return network


@dataclass(frozen=True)
class Point:
    """Test top-1 after `seconds` of learning from `photos` photos, repeats counted."""

    peer: str
    photos: int
    seconds: float
    top1: float


@dataclass
class Stopwatch:
    """Seconds since the process began, without those spent on the test photos."""

    peer: str
    minutes: float
    paused: float = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of learning so far, the start of the interpreter and the imports included."""
        return time.time() - psutil.Process().create_time() - self.paused

    @property
    def is_over(self) -> bool:
        """Whether the time is used up."""
        return self.seconds >= 60 * self.minutes

    @contextmanager
    def paused_for_evaluation(self) -> Iterator[None]:
        """Do not count what a user would not do every epoch."""
        started = time.time()
        yield
        self.paused += time.time() - started

    def record(self, top1: float, photos: int) -> None:
        """Write a point to standard output, one JSON object a line.

        A peer that is cut off ends its step first; what it knows then counts as known in time.
        """
        point = Point(self.peer, photos, min(self.seconds, 60 * self.minutes), top1)
        sys.stdout.write(json.dumps(asdict(point)) + "\n")
        sys.stdout.flush()
