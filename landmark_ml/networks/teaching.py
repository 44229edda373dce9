"""Landmarks that a trained network is taught by a few photos, without training.

A taught landmark is the mean of its photos in a space where photos of one landmark lie close: the
features, whitened by how photos of one landmark differ (within-class covariance normalisation:
Hatch et al., Interspeech 2006) and set to unit length. How near a photo must come to be named after
it is learned beforehand, on known landmarks that are left out of a head and then taught to it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from safetensors.torch import load_file, save
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

from landmark_ml.inference.predictor import LANDMARK_SCORE, PROBABILITIES
from landmark_ml.inference.runtime import FEATURES
from landmark_ml.networks.export import EVIDENCE, LOGITS, store_as_fp16
from landmark_ml.networks.rejection import Rows, spread

TEACHING_FILE = "teaching.safetensors"
_TAUGHT, _KNOWN = "taught/", "known/"
COUNTS = (1, 2, 5, 10, 20)
"""Numbers of photos for which gates are fitted."""
_DIMENSIONS = 192
_MOST_PHOTOS, _RUN = 4_000, 10
_SHRINKAGE = 0.2
# Tensors of an exported graph that the taught landmarks change.
_REPLACED = (PROBABILITIES, LANDMARK_SCORE, EVIDENCE)
# Share of the photos of known landmarks, and of those of no landmark, that taught ones may take
# from the heads that landmarks were left out of.
_MOST_TAKEN = 0.01


@dataclass(frozen=True)
class Teaching:
    """What a network needs to be taught landmarks.

    basis: [F, D] and offset: [D], see `embed`. centres: [C + 1, D], the mean embedding of each
    landmark and of no landmark at unit length; zeros where there were no such photos. gates:
    [counts, signals + 2], the weights of the cosine to a taught landmark and of `signals`, and a
    bias, for each number of photos in `COUNTS`. together: how many landmarks were taught at a time
    when they were fitted.
    """

    basis: Tensor
    offset: Tensor
    centres: Tensor
    gates: Tensor
    together: Tensor

    def gate(self, photos: int, landmarks: int) -> Tensor:
        """Weights and bias for a landmark of so many photos that is one of so many taught.

        Between two numbers of photos they are interpolated over the logarithm.
        """
        counts = np.log(COUNTS[: len(self.gates)])
        found = [np.interp(math.log(photos), counts, column) for column in self.gates.numpy().T]
        # Each landmark more is one more chance to err: the odds of all together stay the same.
        found[-1] -= math.log(landmarks / float(self.together))
        return torch.tensor(np.array(found), dtype=torch.float32)

    def write(self, folder: Path, taught: Mapping[str, Tensor]) -> None:
        """Write `TEACHING_FILE`, the large tensors in fp16.

        taught: [D + 1] of each landmark, the sum of its photos' embeddings and their number.
        """
        small = {"offset": self.offset, "gates": self.gates, "together": self.together}
        large = {"basis": self.basis.half(), "centres": self.centres.half()}
        rows = {f"{_TAUGHT}{name}": row for name, row in taught.items()}
        # Not save_file, whose files nobody else may read: a server may be another user.
        content = save({k: v.contiguous() for k, v in (small | large | rows).items()})
        (folder / TEACHING_FILE).write_bytes(content)

    @classmethod
    def read(cls, folder: Path) -> tuple[Teaching, dict[str, Tensor]]:
        """What `write` wrote. Raises ValueError for a model that cannot be taught."""
        path = folder / TEACHING_FILE
        if not path.is_file():
            raise ValueError(
                f"the model has no {TEACHING_FILE}, so it cannot be taught: it was trained by an"
                " older version, by fine-tuning or on fewer than 3 landmarks; train one with"
                " transfer or ensemble"
            )
        stored = load_file(path)
        names = [name for name in stored if name.startswith(_TAUGHT)]
        taught = {name.removeprefix(_TAUGHT): stored.pop(name) for name in names}
        return cls(**{name: tensor.float() for name, tensor in stored.items()}), taught


def embed(features: Tensor, basis: Tensor, offset: Tensor) -> Tensor:
    """Embeddings [N, D] at unit length of features [N, F]."""
    return functional.normalize(features @ basis - offset, dim=1)


def signals(logits: Tensor, embeddings: Tensor, centres: Tensor) -> Tensor:
    """What says that a photo shows something known, or no landmark: float [N, 6].

    The cosines of the embedding to the nearest landmark's centre and to that of no landmark; the
    largest logit, its lead over the second, the logit of no landmark (0 without one), and the
    logarithm of the sum of all. centres: [C + 1, D]. `add_taught` writes the same into the graph.
    """
    near, count = embeddings @ centres.T, len(centres) - 1
    best = logits[:, :count].topk(2, dim=1).values
    none = logits[:, count:].sum(dim=1)
    columns = [near[:, :count].amax(dim=1), near[:, count], best[:, 0], best[:, 0] - best[:, 1]]
    return torch.stack([*columns, none, logits.logsumexp(dim=1)], dim=1)


def taught_odds(teaching: Teaching, rows: Tensor, embeddings: Tensor, logits: Tensor) -> Tensor:
    """Log of the odds of each taught landmark against all that is known: [N, taught].

    rows: [taught, D + 1], as `Teaching.write` takes them.
    """
    gates = torch.stack([teaching.gate(int(row[-1]), len(rows)) for row in rows])
    near = embeddings @ functional.normalize(rows[:, :-1], dim=1).T
    seen = signals(logits, embeddings, teaching.centres)
    return near * gates[:, 0] + seen @ gates[:, 1:-1].T + gates[:, -1]


def whiten(
    features: Rows, targets: Tensor, standardised: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Basis [F, D] and offset [D] of the embedding, from photos with and without a landmark.

    standardised: mean and scale [F] of the features.
    """
    mean, scale = standardised
    # In runs of neighbours: one photo of each of many landmarks would not show how photos differ.
    starts = spread(len(targets), _MOST_PHOTOS // _RUN)
    chosen = torch.unique((starts[:, None] + torch.arange(_RUN)).clamp(max=len(targets) - 1))
    some = targets.argsort(stable=True)[chosen]
    labels, standard = targets[some], (features[some] - mean) / scale
    # What is trained later must not depend on what is drawn here.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        axes = torch.svd_lowrank(standard, min(_DIMENSIONS, *standard.shape), niter=1)[2]
    rows = standard @ axes
    sums = torch.zeros(int(labels.max()) + 1, rows.shape[1]).index_add_(0, labels, rows)
    within = rows - (sums / labels.bincount().clamp(min=1)[:, None])[labels]
    values, vectors = torch.linalg.eigh(within.T @ within / len(within))
    # Towards equal variances: those of few photos are not certain.
    values = (1 - _SHRINKAGE) * values + _SHRINKAGE * values.mean()
    basis = axes @ (vectors / values.sqrt()) / scale[:, None]
    return basis, mean @ basis


def find_centres(embeddings: Tensor, labels: Tensor, count: int) -> Tensor:
    """Mean embedding of each label at unit length [count, D]; zeros where there are none."""
    sums = torch.zeros(count, embeddings.shape[1]).index_add_(0, labels, embeddings)
    return functional.normalize(sums, dim=1)


def examples(
    logits: Tensor, embeddings: Tensor, centres: Tensor, labels: Tensor, targets: Tensor
) -> Tensor:
    """Rows for `fit_gates`, [N, 8 + D]: signals, log of the best probability, target, embedding.

    labels: those of the head, -1 for a landmark left out; photos of a landmark that the head gets
    wrong are left out. targets: those of all landmarks.
    """
    count = len(centres) - 1
    top, best = logits.log_softmax(dim=1)[:, :count].max(dim=1)
    kept = (labels < 0) | (labels == count) | (best == labels)
    seen = signals(logits, embeddings, centres)
    return torch.column_stack([seen, top, targets, embeddings])[kept]


def fit_gates(lessons: Sequence[Mapping[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """Gates [counts, signals + 2], and how many landmarks were taught together in a lesson.

    lessons: of each head `examples` of photos that it was not trained on, of landmarks it knows
    (`known`), of landmarks left out of it (`unseen`) and of no landmark (`everyday`). For each
    number of photos a logistic regression tells those of taught landmarks from others, each kind
    weighing the same; its bias is then lowered until few of the others are taken.
    """
    gates: list[Tensor] = []
    for count in COUNTS:
        kinds: dict[str, list[Tensor]] = {"unseen": [], "known": [], "everyday": []}
        for lesson in lessons:
            labels, embeddings = lesson["unseen"][:, 7].long(), lesson["unseen"][:, 8:]
            order = labels.argsort(stable=True)
            turn = torch.arange(len(order)) - torch.searchsorted(labels[order], labels[order])
            taught = torch.zeros(len(order), dtype=torch.bool)
            taught[order] = turn < count
            names, places = torch.unique(labels[~taught]), torch.full((int(labels.max()) + 1,), -1)
            if not len(names):
                continue
            places[names] = torch.arange(len(names))
            rows = taught & (places[labels] >= 0)
            centres = find_centres(embeddings[rows], places[labels[rows]], len(names))
            for kind, seen in lesson.items():
                near, which = (seen[:, 8:] @ centres.T).max(dim=1)
                found = torch.column_stack([near, seen[:, :7]])
                if kind == "unseen":
                    found = found[~taught & (which == places[labels])]
                kinds[kind].append(found)
        if not any(len(found) for found in kinds["unseen"]):
            break
        gates.append(_fit_gate([torch.cat(found) for found in kinds.values()]))
    together = sum(len(torch.unique(lesson["unseen"][:, 7])) for lesson in lessons) / len(lessons)
    empty = torch.zeros(0, 8)
    return torch.stack(gates) if gates else empty, torch.tensor(together)


def _fit_gate(kinds: Sequence[Tensor]) -> Tensor:
    """Weights and bias that tell the first kind from the others, each [N, 8], `top` in the last."""
    joined, counts = torch.cat(list(kinds))[:, :-1].numpy(), [len(found) for found in kinds]
    middle, deviation = joined.mean(axis=0), joined.std(axis=0) + 1e-6
    weight = np.repeat([1 / max(count, 1) for count in counts], counts) * len(joined) / 3
    fitted = LogisticRegression(C=100, max_iter=500)
    is_taught = np.arange(len(joined)) < counts[0]
    fitted.fit((joined - middle) / deviation, is_taught, sample_weight=weight)
    weights = fitted.coef_[0] / deviation
    bias = float(fitted.intercept_[0] - weights @ middle)
    highest = 0.0
    for found in filter(len, kinds[1:]):
        # A taught landmark wins where its odds exceed the probability of the best known one.
        over = np.sort(found[:, :-1].numpy() @ weights + bias - found[:, -1].numpy())[::-1]
        highest = max(highest, float(over[int(_MOST_TAKEN * len(over))]))
    return torch.tensor([*weights, bias - highest], dtype=torch.float32)


def add_taught(
    graph: onnx.ModelProto, teaching: Teaching, taught: Mapping[str, Tensor], classes: Sequence[str]
) -> tuple[str, ...]:
    """Let an exported graph answer with taught landmarks too, in place; returns all its classes.

    taught: as `Teaching.write` takes it, in place of what the graph was taught before. classes:
    what it learned. The odds of each taught landmark are against all that is known, of which the
    probabilities shrink; a taught landmark that is known adds to its own. Where a taught landmark
    is the likeliest, the landmark score is at least the probability of all of them.
    """
    _forget(graph)
    known = {name: place for place, name in enumerate(classes)}
    for name in taught:
        known.setdefault(name, len(known))
    places = np.zeros((len(taught), len(known)), dtype=np.float32)
    places[range(len(taught)), [known[name] for name in taught]] = 1
    rows = torch.stack(list(taught.values()))
    gates = torch.stack([teaching.gate(int(row[-1]), len(rows)) for row in rows]).numpy()
    centres = functional.normalize(rows[:, :-1], dim=1)
    everyday = bool(teaching.centres[-1].any())
    # Without photos of no landmark there is no logit of it: its signal was always 0.
    signalled = [1, 2, 3, 4, *([5] if everyday else []), 6]
    constants: dict[str, Any] = {
        "basis": teaching.basis.numpy(),
        "offset": teaching.offset.numpy(),
        "landmarks": teaching.centres[:-1].T.numpy(),
        "nothing": teaching.centres[-1:].T.numpy(),
        "centres": centres.T.numpy(),
        "directions": (centres @ teaching.basis.T).numpy(),
        "cosine": gates[:, 0],
        "weights": gates[:, signalled].T,
        "bias": gates[:, -1],
        "places": places,
        "lead": np.array([[1, 1], [0, -1]], dtype=np.float32),
        "padding": np.array([0, 0, 0, len(known) - len(classes)]),
        **{"one": np.array([1]), "two": np.array([2]), "end": np.array([2**31 - 1])},
    }
    graph.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(values), _TAUGHT + name)
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

    add("MatMul", f"[{FEATURES}] basis", "turned")
    add("Sub", "turned offset", "moved")
    add("LpNormalization", "moved", "embedding", axis=1, p=2)
    add("MatMul", "embedding landmarks", "to_landmarks")
    add("ReduceMax", "to_landmarks [axis]", "to_landmark", keepdims=1)
    add("MatMul", "embedding nothing", "to_nothing")
    add("Slice", f"[{LOGITS}] [first] [last] [axis]", "logits")
    add("TopK", "logits two", "best indices", axis=1)
    add("MatMul", "best lead", "best_and_lead")
    add("Slice", f"[{LOGITS}] [last] end [axis]", "none")
    add("ReduceLogSumExp", f"[{LOGITS}] [axis]", "sum", keepdims=1)
    none = "none " if everyday else ""
    add("Concat", f"to_landmark to_nothing best_and_lead {none}sum", "signals", axis=1)
    add("MatMul", "signals weights", "weighed")
    add("MatMul", "embedding centres", "near")
    add("Mul", "near cosine", "nearness")
    add("Sum", "weighed nearness bias", "odds")
    add("Sub", "to_nothing to_nothing", "even")
    add("Concat", "even odds", "all_odds", axis=1)
    add("Softmax", "all_odds", "shares", axis=1)
    add("Slice", "shares [first] one [axis]", "kept")
    add("Slice", "shares one end [axis]", "taken")
    add("Mul", f"[{_KNOWN}{PROBABILITIES}] kept", "left")
    add("Pad", "left padding", "padded")
    add("MatMul", "taken places", "placed")
    add("Add", "padded placed", f"[{PROBABILITIES}]")
    add("ReduceMax", "taken [axis]", "best_taken", keepdims=1)
    add("ReduceMax", "left [axis]", "best_left", keepdims=1)
    add("Greater", "best_taken best_left", "wins")
    add("Squeeze", "wins [axis]", "answers")
    add("ReduceSum", "taken [axis]", "total", keepdims=0)
    score = f"[{_KNOWN}{LANDMARK_SCORE}]"
    add("Max", f"{score} total", "raised")
    add("Where", f"answers raised {score}", f"[{LANDMARK_SCORE}]")
    add("ArgMax", "taken", "which", axis=1, keepdims=0)
    add("Gather", "directions which", "direction", axis=0)
    # The map of attention is that of the landmark in the answer.
    add("Where", f"wins direction [{_KNOWN}{EVIDENCE}]", f"[{EVIDENCE}]")
    nodes = [copy.deepcopy(node) for node in graph.graph.node]
    shows = [place for place, node in enumerate(nodes) if EVIDENCE in node.input]
    if not shows:
        del added[-3:]
    _rename(nodes, {name: _KNOWN + name for name in _REPLACED})
    start = shows[0] if shows else len(nodes)
    # What follows reads the evidence of the answer.
    _rename(nodes[start : start + 1], {_KNOWN + EVIDENCE: EVIDENCE})
    del graph.graph.node[:]
    graph.graph.node.extend([*nodes[:start], *added, *nodes[start:]])
    _resize(graph, len(known))
    store_as_fp16(graph)
    onnx.checker.check_model(graph)
    return tuple(known)


def _forget(graph: onnx.ModelProto) -> None:
    """Take out what `add_taught` added."""
    nodes = [
        copy.deepcopy(node)
        for node in graph.graph.node
        if not (node.name.startswith(_TAUGHT) or node.output[0].startswith(_TAUGHT))
    ]
    _rename(nodes, {_KNOWN + name: name for name in _REPLACED})
    constants = [
        copy.deepcopy(each) for each in graph.graph.initializer if not each.name.startswith(_TAUGHT)
    ]
    del graph.graph.node[:], graph.graph.initializer[:]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(constants)


def _rename(nodes: Sequence[onnx.NodeProto], names: Mapping[str, str]) -> None:
    for node in nodes:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(name, name) for name in tensors]


def _resize(graph: onnx.ModelProto, classes: int) -> None:
    """Say how many probabilities come out."""
    for output in graph.graph.output:
        if output.name == PROBABILITIES:
            output.type.tensor_type.shape.dim[1].dim_value = classes
