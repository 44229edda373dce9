"""Landmarks that a trained network is taught by a few photos, without training.

The model carries some of the photos that its head learned from, as small embeddings. In seconds a
cosine head learns the new photos beside them. Its odds of a taught landmark against all that was
learned, times those by how near their photos lie, decide by how much the answers of the network
give way; among one another they stay.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional

from landmark_ml.inference.predictor import LANDMARK_SCORE, PROBABILITIES
from landmark_ml.inference.runtime import FEATURES
from landmark_ml.networks.export import EVIDENCE, store_as_fp16
from landmark_ml.networks.rejection import References, Rows, blocks, spread

TEACHING_FILE = "teaching.safetensors"
_TAUGHT, _KNOWN = "taught/", "known/"
_DIMENSIONS = 256
_MOST_PHOTOS, _MOST_EVERYDAY = 2_000, 1_000
_SHRINKAGE = 0.2
_SCALE, _ADJUSTMENT = 32.0, 2.0
_SHARPNESS = 25.0
_STEPS, _RATE = 60, 0.05
_FOLDS = 5
_MOST_WHITENED, _RUN = 4_000, 10
_MOST_LOGITS = 500_000
# Share of the photos of known landmarks that may be answered with taught ones, and of those of no
# landmark that may be tagged.
_MOST_TAKEN, _MOST_TAGGED = 0.004, 0.003
# Tensors of an exported graph that the taught landmarks change.
_REPLACED = (PROBABILITIES, LANDMARK_SCORE, EVIDENCE)


@dataclass(frozen=True)
class Teaching:
    """What a network needs to be taught landmarks.

    mean: [F] and scale: [F] standardise features, basis: [F, D] makes embeddings of them. photos:
    [M, D], embeddings of some photos that its head learned from. labels: int64 [M], the landmark of
    each; their number stands for none. confidence: [M], the log of the probability of the best
    landmark, said by a head that had not learned the photo, and was right where it shows one; NaN
    of a mean of photos. landmarks: how many were learned.
    """

    mean: Tensor
    scale: Tensor
    basis: Tensor
    photos: Tensor
    labels: Tensor
    confidence: Tensor
    landmarks: Tensor

    def embed(self, features: Tensor) -> Tensor:
        """Embeddings [N, D] at unit length of features [N, F]."""
        return embed(features, self.mean, self.scale, self.basis)

    def write(self, folder: Path, taught: Mapping[str, Tensor]) -> None:
        """Write `TEACHING_FILE`; embeddings and basis in 8 bits, which cost less than they save.

        taught: of each landmark that was taught, see `learn`.
        """
        stored = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("basis", "photos"):
            steps = stored[name].abs().amax(dim=0).clamp(min=1e-12) / 127
            stored |= {name: (stored[name] / steps).round().char(), f"{name}_steps": steps}
        stored |= {f"{_TAUGHT}{name}": rows for name, rows in taught.items()}
        # Not save_file, whose files nobody else may read: a server may be another user.
        content = save({name: tensor.contiguous() for name, tensor in stored.items()})
        (folder / TEACHING_FILE).write_bytes(content)

    @classmethod
    def read(cls, folder: Path) -> tuple[Teaching, dict[str, Tensor]]:
        """What `write` wrote. Raises ValueError for a model that cannot be taught."""
        path = folder / TEACHING_FILE
        stored = load_file(path) if path.is_file() else {}
        if not stored.keys() >= {field.name for field in fields(cls)}:
            raise ValueError(
                f"the model has no {TEACHING_FILE} of this version, so it cannot be taught: it was"
                " trained by an older version, by fine-tuning or on fewer than 3 landmarks; train"
                " one with transfer or ensemble"
            )
        names = [name for name in stored if name.startswith(_TAUGHT)]
        taught = {name.removeprefix(_TAUGHT): stored.pop(name) for name in names}
        for name in ("basis", "photos"):
            stored[name] = stored[name] * stored.pop(f"{name}_steps")
        return cls(**stored), taught


def embed(features: Tensor, mean: Tensor, scale: Tensor, basis: Tensor) -> Tensor:
    """Embeddings [N, D] at unit length of features [N, F]; the rest: see `Teaching`."""
    # Standardised first: features lie far from zero, and rounding the basis would shift them all.
    return functional.normalize((features - mean) / scale @ basis, dim=1)


@dataclass(frozen=True)
class TaughtHead:
    """What tells taught landmarks from all that a network learned.

    points: [P, D], photos and then the rows of a cosine head; the exponential of their products
    with an embedding says how near it is. groups: [P, 2 (1 + T)], 1 where a point counts: the
    photos of all that was learned and of each of T taught landmarks, then their rows. bias: added
    to the odds of taught landmarks. floor: subtracted from them, it gives the logit of the score.
    """

    points: Tensor
    groups: Tensor
    bias: float = 0.0
    floor: float = 0.0

    @classmethod
    def fit(cls, photos: Tensor, labels: Tensor, none: int, taught: int) -> TaughtHead:
        """Learn embeddings [M, D] at unit length and labels [M]: none, or larger if taught.

        Logits of the head are adjusted by the number of photos, or landmarks with many would win
        the photos of those with few: Menon et al., Long-tail learning via logit adjustment, ICLR
        2021. The photos are compared as well, as in Zhang et al., Tip-Adapter, ECCV 2022.
        """
        outputs = none + 1 + taught
        share = labels.bincount(minlength=outputs).clamp(min=1) / len(labels)
        means = torch.zeros(outputs, photos.shape[1]).index_add_(0, labels, photos)
        rows = functional.normalize(means, dim=1).requires_grad_()
        optimizer = torch.optim.Adam([rows], _RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
        # Of thousands of landmarks the means do: steps would take minutes.
        for _ in range(_STEPS if len(photos) * outputs <= _MOST_LOGITS else 0):
            logits = photos @ (_SCALE * functional.normalize(rows, dim=1)).T
            loss = functional.cross_entropy(logits + _ADJUSTMENT * share.log(), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        rows = _SCALE * functional.normalize(rows.detach(), dim=1)
        group = (torch.cat([labels, torch.arange(outputs)]) - none).clamp(min=0)
        is_row, counts = torch.arange(len(group))[:, None] >= len(photos), functional.one_hot(group)
        groups = torch.cat([counts * ~is_row, counts * is_row], dim=1).float()
        return cls(torch.cat([_SHARPNESS * photos, rows]), groups)

    def odds(self, embeddings: Tensor) -> Tensor:
        """Log of the odds of each taught landmark against all that was learned: [N, T]."""
        of_photos, of_rows = (
            ((embeddings @ self.points.T).exp() @ self.groups).log().chunk(2, dim=1)
        )
        both = of_photos + of_rows
        return both[:, 1:] - both[:, :1] + self.bias


def remember(
    features: Rows, targets: Tensor, confidence: Tensor, references: References
) -> Teaching:
    """What a network carries of the photos its head learned from: features [N, F], targets [N].

    confidence: [N], see `Teaching`; NaN of photos that are not carried. references: those of the
    served head. Directions in which photos of one landmark differ count less in the embedding:
    within-class covariance normalisation (Hatch et al., Interspeech 2006).
    """
    mean, scale = references.mean, references.scale
    order = targets.argsort(stable=True)
    # In runs of neighbours: one photo of each of many landmarks would not show how photos differ.
    starts = spread(len(order), _MOST_WHITENED // _RUN)
    some = order[torch.unique((starts[:, None] + torch.arange(_RUN)).clamp(max=len(order) - 1))]
    labels, standard = targets[some], (features[some] - mean) / scale
    # What is trained later must not depend on what is drawn here.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        axes = torch.svd_lowrank(standard, min(_DIMENSIONS, *standard.shape), niter=1)[2]
    projected = standard @ axes
    sums = torch.zeros(int(labels.max()) + 1, axes.shape[1]).index_add_(0, labels, projected)
    within = projected - (sums / labels.bincount().clamp(min=1)[:, None])[labels]
    values, vectors = torch.linalg.eigh(within.T @ within / len(within))
    # Towards equal variances: those of few photos are not certain.
    values = (1 - _SHRINKAGE) * values + _SHRINKAGE * values.mean()
    basis = axes @ (vectors / values.clamp(min=1e-12).sqrt())
    carried = order[~confidence[order].isnan()]
    landmarks = references.logits.shape[1]
    shown, everyday = carried.tensor_split([int((targets[carried] < landmarks).sum())])
    kinds = (shown, _MOST_PHOTOS), (everyday, _MOST_EVERYDAY)
    carried = torch.cat([kind[spread(len(kind), most)] for kind, most in kinds])
    photos = embed(features[carried], mean, scale, basis)
    labels, sure = targets[carried], confidence[carried]
    if landmarks * _FOLDS > _MOST_PHOTOS:
        # Not all landmarks have photos left, and none has enough to do without its mean.
        means = torch.zeros(landmarks, basis.shape[1])
        for chosen, block in blocks(features):
            shows = targets[chosen] < landmarks
            embeddings = embed(block[shows], mean, scale, basis)
            means.index_add_(0, targets[chosen][shows], embeddings)
        photos = torch.cat([functional.normalize(means, dim=1), photos])
        labels = torch.cat([torch.arange(landmarks), labels])
        sure = torch.cat([torch.full((landmarks,), torch.nan), sure])
    return Teaching(mean, scale, basis, photos, labels, sure, torch.tensor(landmarks))


def learn(
    teaching: Teaching, taught: Mapping[str, Tensor], threshold: float
) -> tuple[TaughtHead, dict[str, int]]:
    """A head that knows taught landmarks too, and how many photos of each are found by the others.

    taught: [n, D + 1] of each landmark, the embeddings of its photos, and what they have to beat:
    the log of the probability of the best landmark that the network answers with, -inf where that
    is right. threshold: landmark score from which a photo is tagged.

    The photos are divided, and heads that were taught the others are asked about each part: of the
    photos of learned landmarks, and of no landmark, taught ones may take few.
    """
    none, given = int(teaching.landmarks), torch.cat(list(taught.values()))
    own = torch.tensor([place for place, rows in enumerate(taught.values()) for _ in rows])
    photos = torch.cat([teaching.photos, given[:, :-1]])
    labels = torch.cat([teaching.labels, own + none + 1])
    rivals = torch.cat([teaching.confidence, given[:, -1]])
    order = labels.argsort(stable=True)
    turn = torch.arange(len(order)) - torch.searchsorted(labels[order], labels[order])
    part = torch.empty_like(turn).scatter_(0, order, turn % _FOLDS)
    # Without its only photo a taught landmark could take nothing from others.
    part[(labels > none) & (labels.bincount()[labels] == 1)] = -1

    def fit(some: Tensor) -> TaughtHead:
        return TaughtHead.fit(photos[some], labels[some], none, len(taught))

    odds = torch.full((len(photos), len(taught)), -torch.inf)
    for fold in range(_FOLDS):
        held = part == fold
        odds[held] = fit(~held).odds(photos[held])
    best, which = odds.max(dim=1)
    ahead = (best - rivals)[(labels < none) & ~rivals.isnan()]
    bias = -_reached_by_few(ahead, _MOST_TAKEN)
    if len(ahead) * _MOST_TAKEN < 1:  # Too few photos to show such a share.
        bias = min(bias, 0.0)
    limit = float(torch.tensor(threshold).logit(eps=1e-3))
    floor = bias + _reached_by_few(best[labels == none], _MOST_TAGGED) - limit
    right = (best + bias > rivals) & (which == labels - none - 1)
    found = own[right[-len(own) :]].bincount(minlength=len(taught)).tolist()
    return replace(fit(order), bias=bias, floor=floor), dict(zip(taught, found, strict=True))


def _reached_by_few(values: Tensor, share: float) -> float:
    """The value that no more than a share of the values exceeds; 0 where there are none."""
    ordered = values.sort(descending=True).values
    return float(ordered[int(share * len(ordered))]) if len(ordered) else 0.0


def add_taught(
    graph: onnx.ModelProto,
    teaching: Teaching,
    head: TaughtHead,
    taught: Sequence[str],
    classes: Sequence[str],
) -> tuple[str, ...]:
    """Let an exported graph answer with taught landmarks too, in place; returns all its classes.

    It forgets what it was taught before. classes: what it learned. The odds of each taught landmark
    are against all that was learned, of which the probabilities shrink; a taught landmark that was
    learned too adds to its own. Where a taught landmark is the likeliest, its odds give the
    landmark score, if that is higher.
    """
    _forget(graph)
    known = {name: place for place, name in enumerate(dict.fromkeys([*classes, *taught]))}
    places = np.zeros((len(taught), len(known)), dtype=np.float32)
    places[range(len(taught)), [known[name] for name in taught]] = 1
    constants: dict[str, Any] = {
        "mean": teaching.mean.numpy(),
        "scale": teaching.scale.numpy(),
        "basis": teaching.basis.numpy(),
        "points": head.points.T.numpy(),
        "groups": head.groups.numpy(),
        "directions": (head.points[-len(taught) :] @ teaching.basis.T / teaching.scale).numpy(),
        "bias": np.array([0, *[head.bias] * len(taught)], dtype=np.float32),
        "floor": np.float32(head.floor),
        "places": places,
        "padding": np.array([0, 0, 0, len(known) - len(classes)]),
        "parts": np.array([1, len(taught)]),
    }
    graph.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(values, order="C"), _TAUGHT + name)
        for name, values in constants.items()
    )
    added: list[onnx.NodeProto] = []

    def add(kind: str, inputs: str, outputs: str, **attributes: Any) -> None:
        """A node; tensors of the graph as it was stand in brackets."""
        read, written = (
            [name.strip("[]") if name[0] == "[" else _TAUGHT + name for name in names.split()]
            for names in (inputs, outputs)
        )
        added.append(helper.make_node(kind, read, written, f"{_TAUGHT}{outputs}", **attributes))

    add("Sub", f"[{FEATURES}] mean", "moved")
    add("Div", "moved scale", "standard")
    add("MatMul", "standard basis", "turned")
    add("LpNormalization", "turned", "embedding", axis=1, p=2)
    add("MatMul", "embedding points", "products")
    add("Exp", "products", "near")
    add("MatMul", "near groups", "sums")
    add("Log", "sums", "logs")
    add("Split", "logs", "of_photos of_rows", axis=1, num_outputs=2)
    add("Add", "of_photos of_rows", "both")
    add("Split", "both parts", "all_learned each_taught", axis=1)
    add("Sub", "both all_learned", "ahead")
    add("Add", "ahead bias", "all_odds")
    add("Split", "all_odds parts", "even odds", axis=1)
    add("Softmax", "all_odds", "shares", axis=1)
    add("Split", "shares parts", "kept taken", axis=1)
    add("Mul", f"[{_KNOWN}{PROBABILITIES}] kept", "left")
    add("Pad", "left padding", "padded")
    add("MatMul", "taken places", "placed")
    add("Add", "padded placed", f"[{PROBABILITIES}]")
    add("ReduceMax", "taken [axis]", "best_taken", keepdims=1)
    add("ReduceMax", "left [axis]", "best_left", keepdims=1)
    add("Greater", "best_taken best_left", "wins")
    add("Squeeze", "wins [axis]", "answers")
    add("ReduceMax", "odds [axis]", "best_odds", keepdims=0)
    add("Sub", "best_odds floor", "above")
    add("Sigmoid", "above", "taught_score")
    score = f"[{_KNOWN}{LANDMARK_SCORE}]"
    add("Max", f"{score} taught_score", "raised")
    add("Where", f"answers raised {score}", f"[{LANDMARK_SCORE}]")
    add("ArgMax", "taken", "which", axis=1, keepdims=0)
    add("Gather", "directions which", "direction", axis=0)
    # The map of attention is that of the landmark in the answer.
    add("Where", f"wins direction [{_KNOWN}{EVIDENCE}]", f"[{EVIDENCE}]")
    nodes = [copy.deepcopy(node) for node in graph.graph.node]
    start = next((n for n, node in enumerate(nodes) if EVIDENCE in node.input), len(nodes))
    if start == len(nodes):
        del added[-3:]
    _rename(nodes, {name: _KNOWN + name for name in _REPLACED})
    # What follows reads the evidence of the answer.
    _rename(nodes[start : start + 1], {_KNOWN + EVIDENCE: EVIDENCE})
    del graph.graph.node[:]
    graph.graph.node.extend([*nodes[:start], *added, *nodes[start:]])
    for output in graph.graph.output:
        if output.name == PROBABILITIES:
            output.type.tensor_type.shape.dim[1].dim_value = len(known)
    store_as_fp16(graph)
    onnx.checker.check_model(graph)
    return tuple(known)


def _forget(graph: onnx.ModelProto) -> None:
    """Take out what `add_taught` added."""
    nodes, constants = graph.graph.node, graph.graph.initializer
    for node in list(nodes):
        if _TAUGHT in (node.name[: len(_TAUGHT)], node.output[0][: len(_TAUGHT)]):
            nodes.remove(node)
    for constant in [each for each in constants if each.name.startswith(_TAUGHT)]:
        constants.remove(constant)
    _rename(nodes, {_KNOWN + name: name for name in _REPLACED})


def _rename(nodes: Sequence[onnx.NodeProto], names: Mapping[str, str]) -> None:
    for node in nodes:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(name, name) for name in tensors]
