"""Classifiers of two kinds, and how they learn on cached features of a frozen backbone."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from landmark_ml.config import TrainConfig
from landmark_ml.networks.rejection import References, Rows, blocks, class_sums

COSINE_FROM = 1_000
"""Outputs from which `head=auto` is a cosine head."""
_DIMENSIONS = 256
_CENTRES = 2
_SCALE = 30.0
_MARGIN = 0.3
# How far the centres of a landmark begin from its mean, which is 1 long.
_APART = 0.2
_SAMPLED = 2_000
# Only directions count, and a step of the optimiser turns a longer weight less.
_PROJECTION_LENGTH, _CENTRE_LENGTH = 6.0, 2.0
_STEPS = 256


def head_kind(config: TrainConfig, outputs: int) -> str:
    """`linear` or `cosine`: what `head` means for a network of so many outputs."""
    if config.head != "auto":
        return config.head
    return "cosine" if outputs >= COSINE_FROM else "linear"


class CosineClassifier(nn.Module):
    """Features float [N, F] to logits: cosines of an embedding to the centres of each output.

    The embedding is a projection at unit length, so a landmark costs 256 weights and not F, and
    photos that look alike lie near each other. Each output has some centres, of which the nearest
    counts: photos of one landmark may show its front, its back and its inside. In training the
    right answer is made harder by a margin on its angle. Sources: Deng et al., ArcFace, CVPR 2019,
    and Sub-center ArcFace, ECCV 2020.

    generator: for the initial weights, None takes torch's own.
    """

    def __init__(
        self, in_features: int, out_features: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        # Drawn below, from the generator alone.
        empty = nn.Linear(in_features, _DIMENSIONS, device="meta")
        self.projection = empty.to_empty(device="cpu")
        nn.init.normal_(self.projection.weight, std=in_features**-0.5, generator=generator)
        nn.init.zeros_(self.projection.bias)
        centres = torch.empty(out_features, _CENTRES, _DIMENSIONS)
        self.weight = nn.Parameter(nn.init.normal_(centres, generator=generator))

    @torch.no_grad()
    def start_at(self, means: Tensor, generator: torch.Generator) -> None:
        """Project to where the means [outputs, F] of the outputs lie, with the centres at them.

        Many landmarks would need many epochs to find that from random weights. Source: Halko et
        al., Finding structure with randomness, SIAM Review, 2011.
        """
        mixed = means.T @ torch.randn(len(means), _DIMENSIONS, generator=generator)
        basis = torch.linalg.qr(means.T @ (means @ mixed)).Q
        # Fewer features than dimensions leave random ones.
        self.projection.weight[: basis.shape[1]] = basis.T
        starts = functional.normalize(means @ self.projection.weight.T, dim=1)
        apart = functional.normalize(self.weight, dim=2) * _APART
        self.weight.copy_(_CENTRE_LENGTH * (starts[:, None] + apart))
        self.projection.weight.mul_(_PROJECTION_LENGTH)

    def embed(self, features: Tensor) -> Tensor:
        """Embedding [N, 256] at unit length."""
        return functional.normalize(self.projection(features), dim=1)

    def scaled_centres(self, outputs: Tensor | None = None) -> Tensor:
        """What an embedding is multiplied by: [outputs, centres, 256]; those of some outputs."""
        weight = self.weight if outputs is None else self.weight.index_select(0, outputs)
        return functional.normalize(weight, dim=2) * _SCALE

    def forward(self, features: Tensor, outputs: Tensor | None = None) -> Tensor:
        centres = self.scaled_centres(outputs)
        logits = self.embed(features) @ centres.flatten(0, 1).T
        return logits.reshape(len(logits), *centres.shape[:2]).amax(dim=2)

    def with_margin(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits to learn from: that of the target as if its angle were larger by the margin.

        targets: int64 [N], or probabilities [N, outputs], of which the likeliest counts.
        """
        rows = (targets.argmax(dim=1) if targets.ndim > 1 else targets)[:, None]
        cosine = (logits.gather(1, rows) / _SCALE).clamp(-1 + 1e-6, 1 - 1e-6)
        moved = cosine * math.cos(_MARGIN) - (1 - cosine.square()).sqrt() * math.sin(_MARGIN)
        # Beyond half a turn the cosine would rise again.
        moved = moved.where(cosine > -math.cos(_MARGIN), cosine - _MARGIN * math.sin(_MARGIN))
        return logits.scatter_add(1, rows, _SCALE * (moved - cosine))


Classifier = nn.Linear | CosineClassifier


class Head(nn.Module):
    """Features float [N, F] to logits: standardised, dropped out, then a classifier.

    generator: for dropout and sampled outputs, None takes torch's own. targets: int64 [N], where
    the classifier is a cosine one, which starts at the mean of each output; None: it is linear.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        features: Rows,
        num_outputs: int,
        drop_rate: float,
        generator: torch.Generator | None = None,
        targets: Tensor | None = None,
    ) -> None:
        super().__init__()
        mean, deviation = moments(features)
        self.register_buffer("mean", mean)
        # A constant feature has no scale; 1 leaves it at 0.
        self.register_buffer("scale", torch.where(deviation > 1e-6, deviation, 1.0))
        self.dropout = ByteDropout(drop_rate, generator)
        self.classifier: Classifier
        if targets is None:
            self.classifier = nn.Linear(len(mean), num_outputs)
            nn.init.zeros_(self.classifier.weight)
            nn.init.zeros_(self.classifier.bias)
            return
        drawn = torch.Generator().manual_seed(0 if generator is None else generator.initial_seed())
        self.classifier = CosineClassifier(len(mean), num_outputs, drawn)
        means = class_sums(features, targets, num_outputs, (self.mean, self.scale))
        self.classifier.start_at(functional.normalize(means, dim=1), drawn)

    def sample(self, targets: Tensor) -> tuple[Tensor, ...]:
        """Outputs int64 [K] to learn a batch from, for `forward`; none where all are learned.

        Those of its targets and 2,000 others, so that a step costs the same for any number of
        landmarks. Source: An et al., Killing two birds with one stone: efficient and robust
        training of face recognition CNNs by Partial FC, CVPR 2022.
        """
        outputs = self.classifier.out_features
        if isinstance(self.classifier, nn.Linear) or targets.ndim > 1 or outputs <= _SAMPLED:
            return ()
        # Their number is always the same: to count them would wait for a GPU.
        order = torch.rand(outputs, generator=self.dropout.generator, device=targets.device)
        order.scatter_(0, targets, 2.0)
        return (order.topk(min(outputs, len(targets) + _SAMPLED)).indices.sort().values,)

    def forward(self, features: Tensor, *sampled: Tensor) -> Tensor:
        # One pass over the features; subtracting and dividing took a quarter of a step.
        standard = torch.addcmul(-self.mean / self.scale, features, 1 / self.scale)
        logits: Tensor = self.classifier(self.dropout(standard), *sampled)
        return logits

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        """Logits of features [N, F], without dropout."""
        self.eval()
        found: Tensor = self(features)
        return found

    def references(self, features: Rows, targets: Tensor, num_classes: int) -> References:
        """What photos are compared with, from the photos this head was trained on."""
        standardised = self.mean, self.scale
        return References.of(features, targets, num_classes, standardised, self.logits)

    @torch.no_grad()
    def fold_into(self, classifier: Classifier) -> None:
        """Write the weights into a classifier of the same kind that takes features as they are."""
        classifier.load_state_dict(self.classifier.state_dict())
        first = classifier.projection if isinstance(classifier, CosineClassifier) else classifier
        first.weight.div_(self.scale)
        first.bias.sub_(first.weight @ self.mean)


def moments(rows: Rows) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [F] of rows [N, F], a block at a time.

    Source: Chan, Golub and LeVeque, Updating formulae for computing sample variances, 1979.
    """
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for chosen, block in blocks(rows):
        added, fresh = len(chosen), block.mean(dim=0)
        moved = fresh - mean
        inside = block.var(dim=0, correction=0) * added
        squares = squares + inside + moved.square() * (count * added / (count + added))
        mean = mean + moved * (added / (count + added))
        count += added
    return mean, (squares / max(count - 1, 1)).sqrt()


class ByteDropout(nn.Module):
    """Dropout (Srivastava et al., JMLR 2014) at a rate rounded to a 256th, at most 255/256.

    torch draws 32 bits for each element, one at a time on a CPU: half of a training step of a head
    on cached features. A byte for each element, drawn eight at a time, takes a tenth of that.
    """

    def __init__(self, rate: float, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.generator = generator
        self.threshold = min(round(rate * _STEPS), _STEPS - 1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.threshold:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device)
        # Without a lower end the sign bit would never be drawn.
        words.random_(-(2**63), None, generator=self.generator)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.threshold
        return x * kept * (_STEPS / (_STEPS - self.threshold))
