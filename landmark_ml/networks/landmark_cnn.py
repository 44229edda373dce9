"""Our own network: a small residual CNN to train from scratch on a few thousand photos.

To add another network, write a file like this one and import it in `networks.create`. timm then
knows it by the name of the function under `@register_model`, so `backbone` takes that name.
"""

from __future__ import annotations

from typing import Any

from timm.models import generate_default_cfgs, register_model
from torch import Tensor, nn

CHANNELS = (64, 128, 256)
RESIDUAL_BLOCKS = (0, 2, 2)
PATCH = 4
_CONFIG: dict[str, Any] = {
    "input_size": (3, 128, 128),
    "crop_pct": 1.0,
    "interpolation": "bicubic",
    "mean": (0.47, 0.47, 0.46),
    "std": (0.27, 0.27, 0.27),
}
default_cfgs = generate_default_cfgs({"landmark_cnn": _CONFIG})
"""Where timm's `register_model` looks up a network that is not built."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside an identity path: x + f(x), [N, C, h, w] to the same shape.

    The sum is not rectified, so the identity path stays clean from end to end (He et al.,
    Identity mappings in deep residual networks, ECCV 2016).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_norm_act(channels, channels), conv_norm_act(channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        corrected: Tensor = x + self.body(x)
        return corrected


class LandmarkCNN(nn.Module):
    """Residual CNN built from the operations that are fast on a CPU.

    - Space-to-depth stem: 4x4 pixels become 48 channels before the first convolution (Ridnik et
      al., TResNet, WACV 2021). No convolution runs at full resolution, where three input channels
      leave most of a vector register empty.
    - Dense 3x3 convolutions only. Depthwise ones (Howard et al., MobileNets, 2017) need fewer
      multiplications, but their backward pass reaches a tenth of the arithmetic rate of dense ones.
    - Stages of 64, 128 and 256 channels at 1/4, 1/8 and 1/16 of the input: channels double where
      the area quarters (Simonyan and Zisserman, Very deep convolutional networks, ICLR 2015), and
      max pooling between the stages keeps the strongest response.
    - Residual blocks (He et al., Deep residual learning, CVPR 2016) where the maps are small, two
      in each stage: worth as much as half the width again, for less arithmetic.
    - Batch norm (Ioffe and Szegedy, ICML 2015) folds into the convolution when the network is
      exported, so it costs nothing when served.
    - Global average pooling (Lin et al., Network in network, ICLR 2014) makes the network
      independent of the input size: it learns on small crops first, then on larger ones.

    Input: float [N, 3, H, W], normalised, H and W multiples of 16. The methods are those timm
    expects of a network, so it goes wherever a timm backbone goes.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.num_features = CHANNELS[-1]
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(PATCH), conv_norm_act(3 * PATCH * PATCH, CHANNELS[0])
        )
        stages: list[nn.Module] = []
        for index, (channels, blocks) in enumerate(zip(CHANNELS, RESIDUAL_BLOCKS, strict=True)):
            if index > 0:
                stages += [conv_norm_act(CHANNELS[index - 1], channels), nn.MaxPool2d(2)]
            stages += [ResidualBlock(channels) for _ in range(blocks)]
        self.stages = nn.Sequential(*stages)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier: nn.Module = nn.Linear(self.num_features, num_classes)

    def get_classifier(self) -> nn.Module:
        return self.classifier

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new classifier of `num_classes` in place of the last layer; 0: none."""
        new = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.classifier = new

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:  # noqa: ARG002 - timm's
        """Groups of layers from the input to the output, for learning rates that differ."""
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)"}

    def forward_features(self, x: Tensor) -> Tensor:
        """Feature map [N, num_features, H / 16, W / 16]."""
        features: Tensor = self.stages(self.stem(x))
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of a feature map of any size, or with pre_logits what the classifier sees."""
        pooled: Tensor = self.pool(features)
        return pooled if pre_logits else self.classifier(pooled)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def conv_norm_act(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution (no bias: the norm has one), batch norm, ReLU; keeps height and width."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


@register_model  # type: ignore[untyped-decorator]
def landmark_cnn(pretrained: bool = False, **settings: Any) -> LandmarkCNN:
    """LandmarkCNN as timm creates it by name; it has no pretrained weights."""
    if pretrained:
        raise ValueError("landmark_cnn has no pretrained weights; give weights=random")
    network = LandmarkCNN(settings.get("num_classes", 1000))
    network.pretrained_cfg = network.default_cfg = dict(_CONFIG)  # type: ignore[assignment]
    return network
