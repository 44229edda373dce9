"""`python -m benchmarks.gpu --data <folder>`: what a device gives, beside a plain loop with timm.

Photos a second through a frozen network, steps a second of a head on their features, photos a
second of fine-tuning the whole network. Ours by the functions of a training run, with an empty
cache; the plain loop is that of timm's documentation: a loader with a worker for each core, float32
and AdamW. Both see the same photos with the same network on the same device, after one round that
is not timed. Without a GPU it measures the CPU.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from benchmarks.tables import arguments, table, tell
from landmark_ml.config import TrainConfig
from landmark_ml.data import Dataset, Photo
from landmark_ml.data.opening import open_dataset
from landmark_ml.inference.runtime import usable_cpus
from landmark_ml.networks.create import create_model
from landmark_ml.training.batches import num_outputs, photos_of, targets_of
from landmark_ml.training.cache import StoredRows, compute_features
from landmark_ml.training.devices import Compute, choose_compute
from landmark_ml.training.phases import finetune, fit_head

PARTS = ("features, photos/s", "head, steps/s", "fine-tuning, photos/s")
NOT_EQUAL = (
    "Not timed alike: ours fine-tunes in its second epoch on photos decoded in the first, the plain"
    " loop decodes them in every epoch; the time of our head includes standardising its features."
)
HEAD_PHOTOS, HEAD_LANDMARKS, HEAD_BATCH = 20_000, 1_000, 256


def seconds(work: Callable[[], object], compute: Compute) -> float:
    """Seconds of some work, with what the device still has to do at its end."""
    started = time.perf_counter()
    work()
    if compute.device.type == "cuda":
        torch.cuda.synchronize(compute.device)
    return time.perf_counter() - started


def ours(dataset: Dataset, config: TrainConfig, compute: Compute) -> list[float]:
    """The three rates of this project."""
    photos, outputs = photos_of("train", dataset), num_outputs(dataset)
    model = create_model(config, outputs)
    # The first photos trace or compile the network.
    compute_features(model, photos[:2], config, compute)
    spent = seconds(lambda: compute_features(model, photos[2:], config, compute), compute)
    rows, targets = made_up_features(model.classifier.in_features)
    features = StoredRows(rows, torch.arange(len(rows)))
    once = replace(config, epochs=1, batch_size=HEAD_BATCH, drop_rate=0.0)

    def train_head() -> None:
        fit_head(features, targets, HEAD_LANDMARKS, HEAD_LANDMARKS, once, compute)

    train_head()
    steps = len(rows) // HEAD_BATCH / seconds(train_head, compute)
    epochs: list[dict[str, float]] = []
    finetune(create_model(config, outputs), dataset, config, compute, epochs.append)
    return [(len(photos) - 2) / spent, steps, epochs[-1]["train/photos_per_second"]]


def plain(dataset: Dataset, config: TrainConfig, compute: Compute) -> list[float]:
    """The three rates of a loop as timm's documentation shows it."""
    photos, device = photos_of("train", dataset), compute.device
    outputs, batch = num_outputs(dataset), config.finetune_batch_size
    network = timm.create_model(config.backbone, num_classes=outputs).to(device)
    settings = resolve_data_config({}, model=network)
    targets = targets_of(photos, dataset)

    def loader(*, training: bool) -> DataLoader[tuple[Tensor, int]]:
        transform = create_transform(**settings, is_training=training)
        return DataLoader(
            Files(photos, targets, transform),  # type: ignore[arg-type]
            batch,
            shuffle=training,
            drop_last=training,
            num_workers=usable_cpus(),
            pin_memory=device.type == "cuda",
            persistent_workers=True,
        )

    @torch.no_grad()
    def embed() -> None:
        network.eval()
        for inputs, _ in served:
            network.forward_head(network.forward_features(inputs.to(device)), pre_logits=True)

    def learn(
        network: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, told: Tensor
    ) -> None:
        loss = functional.cross_entropy(network(inputs.to(device)), told.to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def epoch() -> None:
        network.train()
        for inputs, told in augmented:
            learn(network, optimizer, inputs, told)

    def train_head() -> None:
        for chosen in torch.split(torch.randperm(len(rows)), HEAD_BATCH):
            learn(head, of_head, rows[chosen], classes[chosen])

    served, augmented = loader(training=False), loader(training=True)
    embed()
    features = len(photos) / seconds(embed, compute)
    rows, classes = made_up_features(network.num_features)
    head = nn.Linear(network.num_features, HEAD_LANDMARKS).to(device)
    of_head = torch.optim.AdamW(head.parameters())
    train_head()
    steps = -(-len(rows) // HEAD_BATCH) / seconds(train_head, compute)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    epoch()
    tuned = len(photos) // batch * batch / seconds(epoch, compute)
    return [features, steps, tuned]


class Files:
    """A dataset of files, as torch's loader takes it."""

    def __init__(
        self, photos: Sequence[Photo], targets: Tensor, transform: Callable[[Image.Image], Tensor]
    ) -> None:
        self.photos, self.targets, self.transform = photos, targets.tolist(), transform

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        with Image.open(self.photos[place].path) as photo:
            return self.transform(photo.convert("RGB")), self.targets[place]


def made_up_features(width: int) -> tuple[Tensor, Tensor]:
    """Noise [N, width] and as many labels: what a step costs does not depend on them."""
    chance = torch.Generator().manual_seed(0)
    rows = torch.randn(HEAD_PHOTOS, width, generator=chance)
    return rows, torch.arange(HEAD_PHOTOS) % HEAD_LANDMARKS


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = arguments("gpu", __doc__)
    parser.add_argument("--data", default="postcards", help="folder of class folders")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0", help="timm model name")
    parser.add_argument("--batch", type=int, default=64, help="photos a step of fine-tuning")
    parser.add_argument("--precision", default="auto", choices=("auto", "f32", "bf16", "fp16"))
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            data=given.data,
            cache_dir=folder,
            backbone=given.backbone,
            weights="random",
            feature_stages=0,
            pooling="average",
            # The first epoch also searches for the fastest algorithms, so the second is reported.
            finetune_epochs=2,
            finetune_batch_size=given.batch,
        )
        compute = choose_compute("auto", precision=given.precision)
        dataset = open_dataset(config)
        rates = ours(dataset, config, compute), plain(dataset, config, compute)
    on_gpu = compute.device.type == "cuda"
    device = torch.cuda.get_device_name(compute.device) if on_gpu else str(compute.device)
    rows = [
        (part, f"{mine:,.0f}", f"{theirs:,.0f}", f"{mine / theirs:.2f}")
        for part, mine, theirs in zip(PARTS, *rates, strict=True)
    ]
    heading = f"{given.backbone} on {device}, {compute.precision}"
    shown = table([heading, "ours", "plain timm loop", "ours / plain"], rows)
    tell(given.out, f"{shown}\n{NOT_EQUAL}", ("torch", "timm"), device=device, rows=rows)


if __name__ == "__main__":
    main()
