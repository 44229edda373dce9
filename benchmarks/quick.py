"""`python -m benchmarks.quick`: in under a minute, whether something has become slow.

Ratios to peers measured in the same breath, on postcards and with the champion: JPEG files to
batches beside torchvision's `ImageFolder` and `DataLoader`, whose workers run already, and the
tagger beside decoding and network alone. Ratios, because machines differ; printed and not judged,
because they are noisy.

A postcard has 240 by 160 pixels and 10 KB, a photo from a phone three hundred times as many.
Decoding at a reduced scale, where most of our lead over torchvision comes from, has nothing to
reduce here, and what each file costs whatever its size weighs more. So compare these ratios with
those of another day, not with those of full-size photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import input_pipeline
from benchmarks.tables import arguments, table, tell
from benchmarks.tagging import photos_of, speeds
from experiments.cli import run
from landmark_ml.config import TrainConfig
from landmark_ml.data.opening import find_root
from landmark_ml.tracking import run as tracking
from serving.champion import find_version, load_version

_TORCHVISION, _DECODE = "torchvision", "scaled decode alone"
_TIMES = 4
"""How often the input pipeline reads each postcard a round: read once, they are over too soon."""


def input_ratios(paths: Sequence[Path], rounds: int) -> dict[str, float]:
    """Median photos a second of our input pipeline over those of its peers."""
    found = {name: median(rates) for name, rates in input_pipeline.measure(paths, rounds).items()}
    return {
        f"files to batches: ours over {peer}": found["ours"] / found[peer]
        for peer in (_TORCHVISION, _DECODE)
    }


def tagging_ratio(photos: Path, model: str, rounds: int) -> dict[str, float]:
    """Photos a second of the tagger over those of cores that only decode and recognise."""
    loaded, paths = load_version(find_version(model)), photos_of(photos)
    rates = [speed.rate for speed in speeds(loaded, paths, copies=1, rounds=rounds).values()]
    decode, network, tagger = rates
    return {"tagging: ours over decode and network alone": tagger * (1 / decode + 1 / network)}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print. Raises ValueError when there is no champion to tag with."""
    parser = arguments("quick", __doc__)
    parser.add_argument("--model", default="landmarks", help="registered model (%(default)s)")
    parser.add_argument("--cache_dir", type=Path, default=Path(TrainConfig().cache_dir))
    parser.add_argument("--rounds", type=int, default=3, help="counted (%(default)s)")
    options = parser.parse_args(argv)
    tracking.connect()
    _, root = find_root(TrainConfig(cache_dir=str(options.cache_dir)))
    paths = sorted((root / "test").rglob("*.jpg"))
    ratios = input_ratios(paths * _TIMES, options.rounds)
    ratios |= tagging_ratio(root / "test", options.model, options.rounds)
    rows = [[name, f"{ratio:.2f}"] for name, ratio in ratios.items()]
    shown, packages = table([f"{len(paths)} postcards", "ratio"], rows), ("openvino", "torchvision")
    tell(options.out, shown, packages, ratios=ratios)


if __name__ == "__main__":
    run(main)
