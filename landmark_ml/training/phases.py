"""The two phases: a head on cached features, then the network or its last stages on pixels."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from landmark_ml.config import TrainConfig, user_path
from landmark_ml.console import Bar, counted
from landmark_ml.data import Dataset, Photo
from landmark_ml.inference.preprocessing import Preprocessing
from landmark_ml.networks.create import (
    LandmarkNetwork,
    check_takes,
    create_model,
    early_stages,
    freeze_early_stages,
    recomputing,
)
from landmark_ml.networks.export import fit_temperature
from landmark_ml.networks.heads import Head, head_kind
from landmark_ml.networks.rejection import LeftOut, References, blocks, signals, spread
from landmark_ml.networks.teaching import remember
from landmark_ml.training.batches import (
    OVERSAMPLING,
    Augmentation,
    TensorBatches,
    num_outputs,
    photos_of,
    targets_of,
)
from landmark_ml.training.cache import (
    StoredRows,
    compute_features,
    load_served,
    load_squashed,
)
from landmark_ml.training.checkpoint import RunSaver
from landmark_ml.training.devices import ON_CPU, Compute, one_thread
from landmark_ml.training.loop import OnEpochEnd, finetune_state, fit, head_state, predict_logits

logger = logging.getLogger(__name__)

_FOLDS = 5
# Photos, over all heads, from which those are trained that landmarks are left out of; where they
# are thinned out, so many of each landmark come first.
_MOST_LEARNED = 50_000
_MOST_OF_EACH = 20
_MOST_ASKED = 10_000
_MOST_CALIBRATED = 1_000
# Logits of validation photos that are held and judged in every epoch: 268 MB.
_MOST_LOGITS = 1 << 26
_MOST_ON_ONE_THREAD = 1 << 20
# A teacher's answers, which are all held: 4.3 GB.
_MOST_ANSWERS = 1 << 30
_FEWEST_LANDMARKS = 3

FeaturesOf = Callable[[LandmarkNetwork, Sequence[Photo], TrainConfig, Compute], StoredRows]


@dataclass(frozen=True)
class Validation:
    """Logits [N, outputs] and targets [N] of the validation photos, to calibrate by.

    leave_out: trains heads without some landmarks, to learn how photos of those look; None where a
    head alone cannot tell, because the features know all landmarks or there are too few.
    """

    logits: Tensor
    targets: Tensor
    leave_out: Callable[[], LeftOut] | None = None


def train_head(
    model: LandmarkNetwork,
    dataset: Dataset,
    config: TrainConfig,
    compute: Compute,
    on_epoch_end: OnEpochEnd | None = None,
    features: FeaturesOf = compute_features,
    taught: Tensor | None = None,
) -> Validation:
    """Train the classifier on features of the frozen backbone and write it into the network.

    taught: what it learns of each train and val photo, see `ask_teacher`; None: the labels.
    """
    train_photos, val_photos = photos_of("train", dataset), photos_of("val", dataset)
    found = features(model, (*train_photos, *val_photos), config, compute)
    targets = targets_of((*train_photos, *val_photos), dataset)
    learned = targets if taught is None else taught
    outputs, classes = num_outputs(dataset), dataset.num_classes
    # Heads without some of the landmarks are of the same kind.
    config = replace(config, head=head_kind(config, outputs))
    count = len(train_photos)
    fitted, held = torch.arange(count), count + validated(len(val_photos), outputs)
    asked = found.subset(held)
    val = TensorBatches(asked, targets[held], config.batch_size, compute=compute.of_heads)
    with threads_for_head(found, outputs):
        served, best = fit_head(
            found.subset(fitted),
            learned[fitted],
            outputs,
            classes,
            config,
            compute,
            (val, on_epoch_end),
        )
        logits = torch.cat([served.logits(block) for _, block in blocks(asked)])
        again = replace(config, epochs=int(best["epoch"]) + 1)
        # Fine-tuning continues from this head and must not have seen the validation photos.
        if config.refit and not config.finetune_epochs:
            fitted = torch.arange(len(targets))
            served, _ = fit_head(found, learned, outputs, classes, again, compute)
    served.fold_into(model.classifier)

    def leave_out() -> LeftOut:
        return leave_landmarks_out(
            (*train_photos, *val_photos),
            found,
            targets,
            learned,
            served.references(found.subset(fitted), targets[fitted], classes),
            again,
            compute,
        )

    enough = dataset.num_classes >= _FEWEST_LANDMARKS
    return Validation(logits, targets[held], leave_out if enough else None)


def validated(photos: int, outputs: int) -> Tensor:
    """Which of the validation photos choose the epoch and calibrate: all, or evenly spread ones."""
    return spread(photos, max(1, _MOST_LOGITS // outputs))


def threads_for_head(features: StoredRows, outputs: int) -> AbstractContextManager[None]:
    """One thread for a step of milliseconds, where several would mostly wait for one another."""
    small = features[torch.zeros(1, dtype=torch.int64)].numel() * outputs <= _MOST_ON_ONE_THREAD
    return one_thread() if small else contextlib.nullcontext()


def fit_head(
    features: StoredRows,
    learned: Tensor,
    outputs: int,
    num_classes: int,
    config: TrainConfig,
    compute: Compute,
    watched: tuple[TensorBatches, OnEpochEnd | None] | None = None,
) -> tuple[Head, dict[str, float]]:
    """A new head on features [N, F], and the metrics of the epoch that was kept.

    learned: targets int64 [N] or probabilities [N, outputs]. compute: a GPU of it is used, always
    in float32; the head comes back to the CPU. watched: validation photos that choose the epoch,
    and who gets the metrics of each; without them the last is kept and no progress shown.
    """
    heads = compute.of_heads
    # Of its own, so that heads trained side by side do not draw from one another's.
    order = torch.Generator().manual_seed(config.seed)
    dropped = order if heads is ON_CPU else torch.Generator(heads.device).manual_seed(config.seed)
    starts = None
    if head_kind(config, outputs) == "cosine":
        starts = learned.argmax(dim=1) if learned.ndim > 1 else learned
    head = Head(features, outputs, config.drop_rate, dropped, starts).to(heads.device)
    batches = TensorBatches(features, learned, config.batch_size, order, compute=heads)
    val, on_epoch_end = watched or (None, None)
    phase = "head" if watched else ""
    state = head_state(head, config, heads, config.epochs, len(batches), phase)
    found = fit(state, batches, val, config, num_classes, on_epoch_end)
    return head.cpu(), found


def ask_teacher(
    dataset: Dataset,
    config: TrainConfig,
    compute: Compute,
    features: FeaturesOf = compute_features,
) -> Tensor | None:
    """What is learned of each train and val photo, probabilities [N, outputs]; None: the labels.

    The answers of a head on frozen networks, trained as that of `ensemble` is. It learns from the
    train photos alone, so val photos can still choose the epoch. Source: Hinton et al., Distilling
    the knowledge in a neural network, 2015.
    """
    if not config.teacher:
        return None
    # The rest as it is by default, whatever the network is like that learns from the answers.
    teaching = TrainConfig(
        backbone=config.teacher,
        resolution=config.teacher_resolution,
        framing=config.framing,
        cache_dir=config.cache_dir,
        seed=config.seed,
    )
    train, val = photos_of("train", dataset), photos_of("val", dataset)
    targets, outputs, count = targets_of(train, dataset), num_outputs(dataset), len(train)
    photos = count + len(val)
    if photos * outputs > _MOST_ANSWERS:
        raise ValueError(
            f"teacher {config.teacher}: its answers about {photos:,} photos and {outputs:,} outputs"
            f" would fill {photos * outputs * 4 / 1e9:.0f} GB of memory; give fewer landmarks"
            " (max_landmarks), or learn the labels with teacher empty"
        )
    found = features(create_model(teaching, outputs), (*train, *val), teaching, compute)
    learned_from = found.subset(torch.arange(count))
    with threads_for_head(found, outputs):
        head, _ = fit_head(learned_from, targets, outputs, dataset.num_classes, teaching, compute)
    return torch.cat([head.logits(block).softmax(dim=1) for _, block in blocks(found)])


def leave_landmarks_out(
    photos: Sequence[Photo],
    features: StoredRows,
    targets: Tensor,
    learned: Tensor,
    references: References,
    config: TrainConfig,
    compute: Compute,
) -> LeftOut:
    """Signals of photos of known landmarks, of landmarks left out and of no landmark.

    Heads are trained, one a core, each without a part of the landmarks and without a part of the
    other photos, and asked about both. Many photos need fewer heads, and so many that one head
    would take long are thinned out. features: [N, F]; targets: [N]. learned,
    references, config: those of the served head, which learned the targets or probabilities
    [N, outputs].
    """
    num_classes = references.logits.shape[1]
    used = thin_out(targets, num_classes)
    features, targets, learned = features.subset(used), targets[used], learned[used]
    # Few landmarks are left out one by one, so that each head knows nearly as many as the served.
    folds = num_classes if num_classes <= 2 * _FOLDS else _FOLDS
    heads = max(1, min(folds, _MOST_LEARNED // len(used)))
    photos, everyday = [photos[place] for place in used.tolist()], targets == num_classes
    of_photo = divide_photos(photos, targets, folds)
    # Together the heads are asked about all everyday photos, a single one about half of them.
    of_photo[everyday] = divide_photos(photos, targets, max(2, heads))[everyday]
    # Of each photo of no landmark, or that a head gets right that did not learn from it.
    confidence = torch.full((len(used),), torch.nan)

    def ask(fold: int) -> dict[str, Tensor]:
        kept = [label for label in range(num_classes) if label % folds != fold]
        position = torch.full((num_classes + 1,), -1)
        position[[*kept, num_classes]] = torch.arange(len(kept) + 1)
        labels = position[targets]
        learns = (labels >= 0) & (of_photo != fold)
        outputs = len(kept) + bool(everyday.any())
        trained = learns.nonzero().flatten()
        told = labels[trained]
        if learned.ndim > 1:
            columns = [*kept, num_classes][:outputs]
            told = functional.normalize(learned[trained][:, columns], p=1, dim=1)
        rows = features.subset(trained)
        head, _ = fit_head(rows, told, outputs, len(kept), config, compute)
        own = head.references(rows, labels[trained], len(kept))
        known = (labels >= 0) & ~everyday & ~learns
        kinds = {"known": known, "unseen": labels < 0, "everyday": everyday & ~learns}
        found, temperature = dict[str, Tensor](), 1.0
        for kind, asked in kinds.items():
            chosen = asked.nonzero().flatten()
            chosen = chosen[spread(len(chosen), _MOST_ASKED)]
            answers = []
            for some, each in blocks(features.subset(chosen)):
                logits, places = head.logits(each), chosen[some]
                answers.append(signals(logits, len(kept), each, own))
                if kind == "known":
                    few = spread(len(logits), _MOST_CALIBRATED)
                    temperature = fit_temperature(logits[few], labels[places[few]])
                chances = (logits / temperature).log_softmax(dim=1)[:, : len(kept)]
                top, best = chances.max(dim=1)
                sound = (best == labels[places]) | everyday[places]
                confidence[places[sound]] = top[sound]
            found[kind] = torch.cat(answers)
        return found

    side_by_side = one_thread() if heads > 1 else threads_for_head(features, num_classes)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool, side_by_side:
        answers = pool.map(ask, range(heads))
        asked = list(Bar(answers, "landmarks left out", heads, unit=" heads"))
    return LeftOut(
        **{kind: torch.cat([found[kind] for found in asked]) for kind in asked[0]},
        references=references,
        teaching=remember(features, targets, confidence, references),
    )


def thin_out(targets: Tensor, num_classes: int) -> Tensor:
    """Which photos are used to leave landmarks out: of targets [N] all, or some, int64 in order.

    Of too many a few of each landmark and the others evenly spread; all photos of no landmark.
    """
    ordered = targets.argsort(stable=True)
    shown, everyday = ordered.tensor_split([int((targets < num_classes).sum())])
    most = max(_MOST_LEARNED, _MOST_OF_EACH * num_classes)
    if len(shown) > most:
        of_each = torch.split(shown, targets[shown].bincount().tolist())
        few = torch.cat([each[spread(len(each), _MOST_OF_EACH)] for each in of_each])
        others = shown[~torch.isin(shown, few)]
        shown = torch.cat([few, others[spread(len(others), most - len(few))]])
    return torch.cat([shown, everyday]).sort().values


def divide_photos(photos: Sequence[Photo], targets: Tensor, parts: int) -> Tensor:
    """Part of each photo, int64 [N] from 0; photos of one visit are in one part.

    Few visits of a landmark take turns, so that there are photos of it outside every part. Where
    all its photos are of one visit, nothing better can be had than to divide those.
    """
    visits: dict[int, dict[str, int]] = defaultdict(dict)
    keys = [photo.visit or photo.sha256 for photo in photos]
    for key, label in zip(keys, targets.tolist(), strict=True):
        visits[label].setdefault(key, len(visits[label]))
    found = []
    for row, (key, label) in enumerate(zip(keys, targets.tolist(), strict=True)):
        count = len(visits[label])
        if count >= parts:
            found.append(int(hashlib.sha256(key.encode()).hexdigest(), 16) % parts)
        else:
            found.append((label + (visits[label][key] if count > 1 else row)) % parts)
    return torch.tensor(found)


def check_finetuning(model: LandmarkNetwork, config: TrainConfig) -> None:
    """Refuse crops that the network cannot take and more stages than it has, before any training.

    Raises ValueError, which names the parameter to change.
    """
    if not config.finetune_epochs:
        return
    full = config.train_resolution or model.preprocessing.resolution
    if config.start_resolution > full:
        raise ValueError(
            f"start_resolution is {config.start_resolution} and the training crops grow to {full};"
            " give at most that, or 0"
        )
    for name, size in (("start_resolution", config.start_resolution), ("train_resolution", full)):
        if size:
            check_takes(model, config.backbone, size, f"another {name}")
    early_stages(model, config.unfreeze)
    # Entered only to be refused now.
    with recomputing(model, config.backbone, enabled=config.recompute):
        pass


def finetune(
    model: LandmarkNetwork,
    dataset: Dataset,
    config: TrainConfig,
    compute: Compute,
    on_epoch_end: OnEpochEnd | None = None,
    saver: RunSaver | None = None,
    taught: Tensor | None = None,
) -> Validation:
    """Train the network or its last stages on pixels; saver keeps the state after each epoch.

    All of compute.processes call this together. taught: as in `train_head`; that of the first
    process counts.
    """
    processes, batch_size = compute.processes, config.finetune_batch_size
    train_photos, val_photos = photos_of("train", dataset), photos_of("val", dataset)
    held = validated(len(val_photos), num_outputs(dataset)).tolist()
    val_photos = tuple(val_photos[place] for place in held)
    cache = user_path(config.cache_dir)
    with processes.first_on_host():
        augmentation, squares, aspects = load_augmented(
            train_photos, config, model.preprocessing, cache
        )
        val_pixels = load_served(val_photos, model.preprocessing, cache)
    order, targets = torch.Generator().manual_seed(config.seed), targets_of(train_photos, dataset)
    taught = processes.share(taught)
    learned = targets if taught is None else taught[: len(targets)]
    train = TensorBatches(
        squares, learned, batch_size, order, augmentation, aspects, compute=compute
    )
    targets = targets_of(val_photos, dataset)
    val = TensorBatches(val_pixels, targets, batch_size, compute=compute)
    freeze_early_stages(model, config.unfreeze)
    compute.place(model)
    state = finetune_state(model, config, compute, len(train))
    logger.info(
        "fine-tuning on %s, %d a step and %d on each %s, in %s; peak learning rate %g",
        counted(len(train_photos), "photo"),
        train.batch_size,
        train.batch_size // processes.count,
        "GPU" if compute.device.type == "cuda" else "process",
        compute.precision,
        config.finetune_learning_rate,
    )
    with recomputing(model, config.backbone, enabled=config.recompute):
        fit(state, train, val, config, dataset.num_classes, on_epoch_end, saver)
    # As it is served: bfloat16 ends where the features begin.
    features, targets = predict_logits(model, val, compute, model.features)
    with torch.no_grad():
        logits = model.classifier(compute.send(features)).cpu()
    return Validation(logits, targets)


def load_augmented(
    photos: Sequence[Photo],
    config: TrainConfig,
    preprocessing: Preprocessing,
    cache: Path,
) -> tuple[Augmentation, StoredRows, Tensor]:
    """The configured augmentation, and what it takes: uint8 [N, 3, side, side], aspects [N]."""
    augmentation = Augmentation(
        size=config.train_resolution or preprocessing.resolution,
        start_size=config.start_resolution,
        min_crop=config.min_crop,
        color_jitter=config.color_jitter,
        erasing=config.erasing,
    )
    squares, aspects = load_squashed(photos, round(augmentation.size * OVERSAMPLING), cache)
    if config.framing == "squash":
        # A network that is served squashed photos learns from square crops of those.
        aspects = torch.ones_like(aspects)
    return augmentation, squares, aspects
