"""`python -m benchmarks.teaching --data <folder>`: how much a few photos teach a model.

Trains the head of a recipe without some of the landmarks, several times, each time without others,
teaches it those by 1, 5 and 20 photos each, and asks about all their other photos, about the test
photos of the landmarks it learned, and about everyday photos of the test split.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.left_out import leave_out
from benchmarks.rejection import RECIPES
from benchmarks.tables import machine, table, write_json
from landmark_ml.config import TrainConfig
from landmark_ml.data import NOT_A_LANDMARK, Photo
from landmark_ml.data.folders import list_folder
from landmark_ml.data.opening import find_root, open_dataset
from landmark_ml.networks.create import create_model
from landmark_ml.networks.export import fit_temperature
from landmark_ml.networks.teaching import embed, taught_odds
from landmark_ml.training.batches import num_outputs
from landmark_ml.training.cache import compute_features
from landmark_ml.training.devices import choose_compute
from landmark_ml.training.phases import train_head

COUNTS = (1, 5, 20)
MEASURES = ("their other photos right", "known lose, points", "everyday taken, points")


def run_draw(root: Path, config: TrainConfig, left_out: Sequence[str], seed: int) -> Tensor:
    """The measures for each count of photos: [counts, measures]."""
    with tempfile.TemporaryDirectory(prefix="left-out-") as folder:
        dataset = open_dataset(replace(config, data=str(leave_out(root, left_out, Path(folder)))))
        compute = choose_compute(config.device, config.threads, precision=config.precision)
        model = create_model(config, num_outputs(dataset))
        validation = train_head(model, dataset, config, compute)
        teaching = validation.leave_out().teaching if validation.leave_out else None
        if teaching is None:
            raise ValueError(f"{root} has too few photos to learn from how to be taught")
        temperature = fit_temperature(validation.logits, validation.targets)
        whole = open_dataset(config)
        new = [photo for photo in whole.photos if whole.classes[photo.label] in left_out]
        new = [photo for photo in new if photo.label != NOT_A_LANDMARK]

        def ask(photos: Sequence[Photo]) -> tuple[Tensor, Tensor]:
            features = compute_features(model, photos, config, compute)[0]
            found = features[torch.arange(len(photos))]
            with torch.no_grad():
                return model.classifier(found), embed(found, teaching.basis, teaching.offset)

        asked = {"new": new, "known": dataset.landmarks("test")}
        asked["everyday"] = dataset.distractors("test")
        answers = {kind: ask(photos) for kind, photos in asked.items()}
    names = sorted({photo.label for photo in new})
    labels = torch.tensor([names.index(photo.label) for photo in new])
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(new)))
    rows = []
    for count in COUNTS:
        chosen = [order[labels[order] == label][:count] for label in range(len(names))]
        sums = torch.stack([answers["new"][1][some].sum(dim=0) for some in chosen])
        taught = functional.pad(sums, (0, 1), value=count)
        wins, which = {}, {}
        for kind, (logits, embeddings) in answers.items():
            odds, which[kind] = taught_odds(teaching, taught, embeddings, logits).max(dim=1)
            known = (logits / temperature).log_softmax(dim=1)
            # Everyday photos are taken from the background too.
            rivals = known if kind == "everyday" else known[:, : dataset.num_classes]
            wins[kind] = odds > rivals.amax(dim=1)
        others = torch.ones(len(new), dtype=torch.bool)
        others[torch.cat(chosen)] = False
        found = (wins["new"] & (which["new"] == labels))[others].float().mean()
        targets = torch.tensor([photo.label for photo in asked["known"]])
        right = answers["known"][0][:, : dataset.num_classes].argmax(dim=1) == targets
        lost = (right & wins["known"]).float().mean()
        rows.append([100 * found, 100 * lost, 100 * wins["everyday"].float().mean()])
    return torch.tensor(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.teaching", description=__doc__)
    parser.add_argument("--data", required=True, help="folder of landmarks")
    parser.add_argument("--recipe", choices=RECIPES, default="transfer")
    parser.add_argument("--leave", type=int, default=10, help="landmarks taught (%(default)s)")
    parser.add_argument("--draws", type=int, default=5, help="of landmarks (%(default)s)")
    parser.add_argument("--cache_dir", default=".cache", help="as of training")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/teaching.json"))
    options = parser.parse_args(argv)
    config = replace(RECIPES[options.recipe](), data=options.data, cache_dir=options.cache_dir)
    _, root = find_root(config)
    classes, _ = list_folder(root)
    chance = random.Random(0)  # noqa: S311 - which landmarks are drawn is no secret
    turns = [chance.sample(classes, options.leave) for _ in range(options.draws)]
    found = torch.stack([run_draw(root, config, turn, seed) for seed, turn in enumerate(turns)])
    rows = [
        [f"{count}", *(f"{value:.1f}" for value in found.mean(dim=0)[place].tolist())]
        for place, count in enumerate(COUNTS)
    ]
    sys.stdout.write(f"{table(['photos each', *MEASURES], rows)}\n")
    facts = {"machine": machine(("torch", "timm")), "recipe": options.recipe, "data": root.name}
    write_json(options.out, facts | {"left_out": turns, "draws": found.tolist()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
