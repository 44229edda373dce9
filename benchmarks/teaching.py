"""`python -m benchmarks.teaching --data <folder>`: how much a few photos teach a model.

Trains the head of a recipe without some of the landmarks, several times, each time without others,
teaches it those by 1, 5 and 20 photos each, and asks about all their other photos, about the test
photos of the landmarks it learned, and about everyday photos of the test split.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor
from tqdm.auto import tqdm

from benchmarks.rejection import RECIPES, leave_out
from benchmarks.scale import identity
from benchmarks.tables import arguments, table, tell
from landmark_ml.config import TrainConfig
from landmark_ml.data.folders import list_folder
from landmark_ml.data.opening import find_root, open_dataset
from landmark_ml.inference.predictor import LANDMARK_SCORE, PROBABILITIES
from landmark_ml.inference.runtime import Runtime
from landmark_ml.networks.create import create_model
from landmark_ml.networks.export import add_classifier, calibrate
from landmark_ml.networks.rejection import fit_rejection
from landmark_ml.networks.teaching import Teaching, add_taught, learn
from landmark_ml.training.batches import num_outputs
from landmark_ml.training.cache import compute_features
from landmark_ml.training.devices import choose_compute, one_thread
from landmark_ml.training.phases import train_head

COUNTS = (1, 5, 20)
MEASURES = (
    "their other photos right",
    "and tagged",
    "right if asked among the new alone",
    "known lose, points",
    "everyday tagged more, points",
    "seconds",
)


def run_draw(root: Path, config: TrainConfig, left_out: Sequence[str], seed: int) -> Tensor:
    """The measures for each count of photos: [counts, measures]."""
    with tempfile.TemporaryDirectory(prefix="left-out-") as folder:
        dataset = open_dataset(replace(config, data=str(leave_out(root, left_out, Path(folder)))))
        compute = choose_compute(config.device, config.threads, precision=config.precision)
        model = create_model(config, num_outputs(dataset))
        validation = train_head(model, dataset, config, compute)
        noticed = validation.leave_out() if validation.leave_out else None
        if noticed is None or noticed.teaching is None:
            raise ValueError(f"{root} has too few landmarks to be taught more")
        # In 8 bits, as a model carries it.
        noticed.teaching.write(Path(folder), {})
        teaching, _ = Teaching.read(Path(folder))
        rejection = fit_rejection(noticed, config)
        known = validation.logits, validation.targets, dataset.num_classes
        graph = identity(model.classifier.in_features)
        graph = add_classifier(graph, model.classifier, known[2], calibrate(*known, rejection))
        whole = open_dataset(config)
        left = {whole.classes.index(name) for name in left_out}
        new = [photo for photo in whole.photos if photo.label in left]
        kinds = {"new": new, "known": dataset.landmarks("test")}
        kinds["everyday"] = dataset.distractors("test")
        features = {
            kind: compute_features(model, photos, config, compute)[torch.arange(len(photos))]
            for kind, photos in kinds.items()
        }
    named = [whole.classes[photo.label] for photo in new]
    names = sorted(set(named))
    truth = torch.tensor([photo.label for photo in kinds["known"]])
    labels = torch.tensor([names.index(name) for name in named])
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(new)))
    before = {kind: ask(graph, rows) for kind, rows in features.items()}
    limit, rows = rejection.threshold, []
    for count in COUNTS:
        began = time.perf_counter()
        chosen = [order[labels[order] == label][:count] for label in range(len(names))]
        taught = {}
        for name, some in zip(names, chosen, strict=True):
            best = before["new"][0][some].log().amax(dim=1)
            embeddings = teaching.embed(features["new"][some])
            taught[name] = torch.column_stack([embeddings, best])
        with one_thread():
            head, _ = learn(teaching, taught, limit)
        add_taught(graph, teaching, head, names, dataset.classes)
        seconds = time.perf_counter() - began
        after = {kind: ask(graph, rows) for kind, rows in features.items()}
        others = torch.ones(len(new), dtype=torch.bool)
        others[torch.cat(chosen)] = False
        right = after["new"][0].argmax(dim=1) == labels + dataset.num_classes
        tagged = right & (after["new"][1] >= limit)
        among_new = after["new"][0][:, dataset.num_classes :].argmax(dim=1) == labels
        hits = [(asked["known"][0].argmax(dim=1) == truth).float() for asked in (before, after)]
        false = [(asked["everyday"][1] >= limit).float() for asked in (before, after)]
        shares = (
            *(each[others].float().mean() for each in (right, tagged, among_new)),
            (hits[0] - hits[1]).mean(),
            (false[1] - false[0]).mean(),
        )
        rows.append([*(100 * float(share) for share in shares), seconds])
    return torch.tensor(rows)


def ask(graph: ModelProto, features: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities [N, landmarks] and landmark scores [N] of features [N, F]."""
    runtime = Runtime(graph.SerializeToString(), threads=1, batch=64)
    found = runtime.run(features.numpy())
    return torch.from_numpy(found[PROBABILITIES]), torch.from_numpy(found[LANDMARK_SCORE])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = arguments("teaching", __doc__)
    parser.add_argument("--data", required=True, help="folder of landmarks")
    parser.add_argument("--recipe", choices=RECIPES, default="transfer")
    parser.add_argument("--leave", type=int, default=10, help="landmarks taught (%(default)s)")
    parser.add_argument("--draws", type=int, default=5, help="of landmarks (%(default)s)")
    parser.add_argument("--cache_dir", default=".cache", help="as of training")
    options = parser.parse_args(argv)
    config = replace(RECIPES[options.recipe](), data=options.data, cache_dir=options.cache_dir)
    _, root = find_root(config)
    classes, _ = list_folder(root)
    chance = random.Random(0)  # noqa: S311 - which landmarks are drawn is no secret
    turns = [chance.sample(classes, options.leave) for _ in range(options.draws)]
    found = torch.stack(
        [run_draw(root, config, turn, seed) for seed, turn in enumerate(tqdm(turns, desc="draws"))]
    )
    rows = [
        [f"{count}", *(f"{value:.1f}" for value in found.mean(dim=0)[place].tolist())]
        for place, count in enumerate(COUNTS)
    ]
    facts = {"recipe": options.recipe, "data": root.name, "left_out": turns}
    shown = table(["photos each", *MEASURES], rows)
    tell(options.out, shown, ("torch", "timm"), **facts, draws=found.tolist())


if __name__ == "__main__":
    main()
