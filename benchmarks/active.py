"""`python -m benchmarks.active --data <folder>`: which photos are worth a correction.

Trains the head of a recipe on a few photos of each landmark, has it answer about all other photos
of the training, and gives it the truth about some of them: drawn by chance, the least confident, or
those that `most_useful` chooses. Then trains it again and asks about the test photos.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

import torch
from torch import Tensor
from tqdm.auto import tqdm

from benchmarks.rejection import RECIPES
from benchmarks.tables import arguments, table, tell
from landmark_ml.data import SPLITS
from landmark_ml.data.opening import open_dataset
from landmark_ml.networks.create import create_model
from landmark_ml.networks.export import fit_temperature
from landmark_ml.networks.heads import Head
from landmark_ml.training.batches import num_outputs, photos_of, targets_of
from landmark_ml.training.cache import StoredRows, compute_features
from landmark_ml.training.devices import choose_compute
from landmark_ml.training.phases import fit_head, threads_for_head
from serving.review import most_useful
from serving.tagging.library import TOP_K

Found = tuple[Tensor, Tensor]
"""Features [N, F] of photos, and what they show, int64 [N]."""

Answers = list[list[tuple[str, float]]]


CHOICES: dict[str, Callable[[Answers, int, int], list[int]]] = {
    "at random": lambda answers, count, seed: random_order(len(answers), seed)[:count].tolist(),
    "least confident": lambda answers, count, _: sorted(
        range(len(answers)), key=lambda one: answers[one][0][1]
    )[:count],
    "most useful": lambda answers, count, _: most_useful(answers, count),
}


def random_order(total: int, seed: int) -> Tensor:
    """The numbers below total, int64, in an order that follows from the seed."""
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))


def run_draw(
    found: dict[str, Found],
    learn: Callable[[Tensor, Tensor], Head],
    num_classes: int,
    first: int,
    counts: Sequence[int],
    seed: int,
) -> dict[str, list[float]]:
    """Top-1 on the test photos, in percent: at first, then after each count of corrections.

    found: photos of each split. learn: a new head on features [N, F] and targets [N]. first: photos
    of each landmark that it learns at first; everyday photos twenty times as many.
    """
    features, targets = found["train"]
    order = random_order(len(targets), seed)
    starts = [
        order[targets[order] == label][: first if label < num_classes else 20 * first]
        for label in range(num_classes + 1)
    ]
    known = torch.cat(starts)
    asked = torch.ones(len(targets), dtype=torch.bool)
    asked[known] = False
    pool = asked.nonzero().flatten()

    def top1(learned: Tensor) -> float:
        head, (pictures, right) = learn(features[learned], targets[learned]), found["test"]
        shows = right < num_classes
        said = head.logits(pictures[shows])[:, :num_classes].argmax(dim=1)
        return 100 * float((said == right[shows]).float().mean())

    head = learn(features[known], targets[known])
    temperature = fit_temperature(head.logits(found["val"][0]), found["val"][1])
    probabilities = (head.logits(features[pool]) / temperature).softmax(dim=1)[:, :num_classes]
    best = probabilities.topk(TOP_K, dim=1)
    answers = [
        [(str(name), chance) for name, chance in zip(names, chances, strict=True)]
        for names, chances in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
    start = top1(known)
    return {
        name: [start, *(top1(torch.cat([known, pool[choose(answers, n, seed)]])) for n in counts)]
        for name, choose in CHOICES.items()
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = arguments("active", __doc__)
    parser.add_argument("--data", required=True, help="folder of landmarks")
    parser.add_argument("--recipe", choices=RECIPES, default="transfer")
    parser.add_argument("--first", type=int, default=5, help="of each landmark (%(default)s)")
    parser.add_argument("--counts", type=int, nargs="+", default=(100, 500), help="corrections")
    parser.add_argument("--draws", type=int, default=8, help="of the first photos (%(default)s)")
    parser.add_argument("--cache_dir", default=".cache", help="as of training")
    options = parser.parse_args(argv)
    config = replace(RECIPES[options.recipe](), data=options.data, cache_dir=options.cache_dir)
    dataset = open_dataset(config)
    outputs = num_outputs(dataset)
    compute = choose_compute(config.device, config.threads, precision=config.precision)
    model = create_model(config, outputs)
    found: dict[str, Found] = {}
    for split in SPLITS:
        photos = photos_of(split, dataset)
        features = compute_features(model, photos, config, compute)
        found[split] = features[torch.arange(len(photos))], targets_of(photos, dataset)

    def learn(features: Tensor, targets: Tensor) -> Head:
        rows = StoredRows(features, torch.arange(len(features)))
        with threads_for_head(rows, outputs):
            return fit_head(rows, targets, outputs, dataset.num_classes, config, compute)[0]

    draws = [
        run_draw(found, learn, dataset.num_classes, options.first, options.counts, seed)
        for seed in tqdm(range(options.draws), desc="draws")
    ]
    rows = []
    for name in CHOICES:
        columns = zip(*(draw[name] for draw in draws), strict=True)
        shown = (f"{fmean(each):.1f} ({min(each):.1f} to {max(each):.1f})" for each in columns)
        rows.append([name, *shown])
    head = ["corrected photos", "0", *map(str, options.counts)]
    facts = {"recipe": options.recipe, "first": options.first, "draws": draws}
    tell(options.out, table(head, rows), ("torch", "timm"), **facts)


if __name__ == "__main__":
    main()
