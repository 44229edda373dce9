"""Teach a registered model landmarks by a few photos each: a new version, without training."""

from __future__ import annotations

import json
import logging
import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from landmark_ml.config import TeachConfig, user_path
from landmark_ml.console import counted, listed
from landmark_ml.corrections import read_corrections
from landmark_ml.data import MANIFEST, Dataset, Photo, UnreadablePhoto, rebuild_dataset
from landmark_ml.data.corrected import list_new_landmarks
from landmark_ml.data.folders import list_taught
from landmark_ml.data.places import place_landmarks
from landmark_ml.data.scanning import read_photos
from landmark_ml.geo.gazetteer import Gazetteer, Place
from landmark_ml.geo.reverse_geocode import Towns
from landmark_ml.inference.predictor import (
    GRAPH_FILE,
    LANDMARK_SCORE,
    METADATA_FILE,
    PROBABILITIES,
    Metadata,
)
from landmark_ml.inference.runtime import FEATURES, Runtime, has_bf16
from landmark_ml.networks.export import OUTPUTS
from landmark_ml.networks.teaching import Teaching, add_taught, learn
from landmark_ml.registry.candidates import TAUGHT_FOUND
from landmark_ml.registry.register import Registered, log_model, register
from landmark_ml.tracking import run as tracking
from landmark_ml.tracking.read_runs import fetch_model
from landmark_ml.training.devices import one_thread

logger = logging.getLogger(__name__)

_MOST_PHOTOS = 50
# Share of its photos that another landmark may answer before a name is doubted.
_LIKE_ANOTHER = 0.5
_SAME = 0.999  # Cosine: another processor computes another embedding of the same photo.


@dataclass(frozen=True)
class Taught:
    """A taught version: which it came from, what it learned, and how much of that it finds.

    photos: how many each of its landmarks was taught by, in earlier versions too. found: how many
    of them are answered right by a model that was taught others; of one photo alone none can be.
    """

    taught_from: str
    registered: Registered
    photos: dict[str, int]
    found: dict[str, int]
    location: str


def run_teaching(config: TeachConfig) -> Taught:
    """Teach a model and register what comes of it as the challenger.

    Raises ValueError for photos that cannot be taught from, a model that cannot be taught, and,
    unless `force` is set, for photos that the model takes for another landmark.
    """
    with (
        tracking.start_run(config, f"teach-{config.name or 'photos'}", {"kind": "teach"}) as run,
        tempfile.TemporaryDirectory() as scratch,
    ):
        fetched = fetch_model(config.model, Path(scratch))
        artifact = Path(scratch) / "artifact"
        exported = next((fetched.folder / "artifacts").rglob(METADATA_FILE), None)
        if exported is None:
            raise ValueError(f"{fetched.uri} is no landmark model: it holds no {METADATA_FILE}")
        shutil.copytree(exported.parent, artifact)
        metadata = Metadata.read(artifact / METADATA_FILE)
        teaching, taught = Teaching.read(artifact)
        names, photos, root = read_taught(config, {*metadata.classes, *metadata.names})
        pixels = np.stack([metadata.preprocessing.read(photo.path) for photo in photos])
        graph = onnx.load(artifact / GRAPH_FILE)
        seen = ask_graph(graph, metadata.precision, pixels, config.threads)
        labels = torch.tensor([photo.label for photo in photos])
        before = seen[PROBABILITIES].argmax(dim=1)
        before[seen[LANDMARK_SCORE] < metadata.threshold] = -1
        check_likeness(names, labels, before, metadata.classes, force=config.force)

        learned = metadata.classes[: int(teaching.landmarks)]
        best, said = seen[OUTPUTS][:, : len(learned)].log().max(dim=1)
        embeddings = torch.column_stack([teaching.embed(seen[FEATURES]), best])
        for label, name in enumerate(names):
            rows = embeddings[labels == label]
            if name in learned:
                # Nothing is to beat where the network is right.
                rows[said[labels == label] == learned.index(name), -1] = -math.inf
            earlier = taught.get(name, rows[:0])
            again = (rows[:, :-1] @ earlier[:, :-1].T > _SAME).any(dim=1)
            if again.any():
                logger.warning("%s: taught before, %d left out", name, again.sum())
            taught[name] = torch.cat([earlier, rows[~again]])
        with one_thread():
            head, found = learn(teaching, taught, metadata.threshold)
        for name in names:
            if len(taught[name]) > 2 and not found[name]:
                logger.warning("%s: no photo of it is like the others; do all show it?", name)
        classes = add_taught(graph, teaching, head, list(taught), learned)
        onnx.save(graph, artifact / GRAPH_FILE)
        teaching.write(artifact, taught)
        gazetteer = open_places(config, root, names, photos)
        origin = fetched.uri, run.run_id
        _write_metadata(artifact, metadata, classes, gazetteer, origin)
        if fetched.run_id and (manifest := tracking.read_logged_manifest(fetched.run_id)):
            run.log_manifest(add_photos(rebuild_dataset(manifest, root), names, photos))
        else:
            logger.warning("the run of %s holds no %s: no promotion", fetched.uri, MANIFEST)

        number = {name: len(taught[name]) for name in names}
        tested = [name for name in names if number[name] > 1]
        share = " of ".join(str(sum(each[name] for name in tested)) for each in (found, number))
        tags = {"taught_from": fetched.uri, "taught": listed(names), TAUGHT_FOUND: share}
        run.set_tags(tags)
        logged = log_model(artifact, photos[0].path.read_bytes(), tags)
        card = _card(fetched.uri, number, found)
        run.describe(card)
        name = fetched.uri.removeprefix("models:/").split("/")[0]
        about = f"Recognises {counted(len(classes), 'landmark')}."
        registered = register(logged, name, tags, card, about, only_challenger=True)
        return Taught(fetched.uri, registered, number, found, run.location)


def read_taught(config: TeachConfig, known: Collection[str]) -> tuple[list[str], list[Photo], Path]:
    """Names of the landmarks to teach, the readable photos of each, none twice, and their folder.

    known: names of the landmarks that the model knows. Raises ValueError for a landmark with no
    readable photo or more than 50, for a photo of two, and where both photos and corrections are
    given.
    """
    corrections = read_corrections(named=config.corrections)
    if config.corrections and config.photos:
        raise ValueError("photos and corrections are both given; teach by one of them at a time")
    if config.corrections:
        root = Path.cwd()
        names, files = list_new_landmarks(corrections, known, _MOST_PHOTOS)
    else:
        root = user_path(config.photos).resolve()
        names, files = list_taught(root, config.name)
    photos: dict[str, Photo] = {}
    for photo in read_photos(files, user_path(config.cache_dir), config.threads):
        if isinstance(photo, UnreadablePhoto):
            logger.warning("%s is left out: %s, %s", photo.path, photo.code, photo.reason)
            continue
        if corrections and photo.sha256 not in corrections:
            logger.warning("%s is left out: it was changed since it was corrected", photo.path)
            continue
        other = photos.setdefault(photo.sha256, photo)
        if other.label != photo.label:
            raise ValueError(
                f"{other.path} and {photo.path} are the same photo of two landmarks; remove one"
            )
        if other is not photo:
            logger.warning("%s is left out: the same as %s", photo.path, other.path)
    number = Counter(photo.label for photo in photos.values())
    for label, name in enumerate(names):
        if not 1 <= number[label] <= _MOST_PHOTOS:
            raise ValueError(
                f"{name} has {counted(number[label], 'readable photo')}; give 1 to {_MOST_PHOTOS},"
                " and train with more"
            )
    return names, list(photos.values()), root


def check_likeness(
    names: Sequence[str],
    labels: Tensor,
    before: Tensor,
    classes: Sequence[str],
    *,
    force: bool,
) -> None:
    """Refuse photos that are mostly answered with one known landmark of another name.

    before: place in classes of the answer to each photo before teaching, -1 for no landmark.
    """
    for label, name in enumerate(names):
        found = Counter(before[labels == label].tolist())
        best, number = found.most_common(1)[0]
        total = found.total()
        if best < 0 or name in classes or number <= _LIKE_ANOTHER * total:
            continue
        said = (
            f"the model answers {number} of {total} photos of {name} with {classes[best]}; if they"
            f" show another landmark"
        )
        if not force:
            raise ValueError(f"{said}, give force=True; else name them {classes[best]}")
        logger.warning("%s: taught all the same", said)


def open_places(
    config: TeachConfig, root: Path, names: Sequence[str], photos: Sequence[Photo]
) -> Gazetteer:
    """Places as a training finds them, and over them the position in the configuration."""
    gazetteer = place_landmarks(root, names, photos, config.places)
    if config.position:
        try:
            latitude, longitude = map(float, config.position.split(","))
            town = Towns(gazetteer.places()).find(latitude, longitude)
            place = Place(names[0], *town, latitude, longitude)
        except ValueError as error:
            raise ValueError(
                f"position is {config.position!r} ({error}); give degrees such as 48.8584,2.2945"
            ) from error
        for name in names:
            gazetteer.add(name, replace(place, name=name))
    return gazetteer


def add_photos(dataset: Dataset, names: Sequence[str], photos: Sequence[Photo]) -> Dataset:
    """A dataset with taught photos among its train photos."""
    classes = tuple(dict.fromkeys([*dataset.classes, *names]))
    labels = [classes.index(name) for name in names]
    held = {photo.sha256 for photo in dataset.train}
    new = [photo for photo in photos if photo.sha256 not in held]
    taught = tuple(replace(photo, label=labels[photo.label]) for photo in new)
    return replace(dataset, classes=classes, train=dataset.train + taught)


def ask_graph(
    graph: onnx.ModelProto, precision: str, pixels: NDArray[np.uint8], threads: int
) -> dict[str, Tensor]:
    """Probabilities, landmark score, and what they come from, of photos [N, H, W, 3]."""
    asked = onnx.ModelProto()
    asked.CopyFrom(graph)
    del asked.graph.output[:]
    # Features last: where they come first, all is computed in the precision of the network.
    asked.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in (LANDMARK_SCORE, PROBABILITIES, OUTPUTS, FEATURES)
    )
    # As `Predictor.load` does.
    precision = precision if precision == "f32" or has_bf16() else "f32"
    runtime = Runtime(asked.SerializeToString(), precision=precision, threads=threads)
    return {name: torch.from_numpy(found) for name, found in runtime.run(pixels).items()}


def _write_metadata(
    artifact: Path,
    metadata: Metadata,
    classes: Sequence[str],
    gazetteer: Gazetteer,
    origin: tuple[str, str],
) -> None:
    """Add the new classes to `metadata.json`; origin: address it was taught from, id of the run."""
    path = artifact / METADATA_FILE
    values = json.loads(path.read_text(encoding="utf-8"))
    new = classes[len(metadata.classes) :]
    for label, name in zip(new, gazetteer.shown_names(new), strict=True):
        place = gazetteer.find(label)
        shown = label if name in metadata.names else name
        row = {"landmark": label, "name": shown, "place": asdict(place) if place else None}
        values["classes"].append(row)
    values["taught_from"], values["run_id"] = origin
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")


def _card(taught_from: str, number: Mapping[str, int], found: Mapping[str, int]) -> str:
    """Markdown shown on the run and on the version."""
    rows = "\n".join(
        f"| {name} | {count} | {f'{found[name]} of {count}' if count > 1 else 'not measured'} |"
        for name, count in number.items()
    )
    return (
        f"### Taught from {taught_from}\n\n"
        "The network is the same; it answers with these landmarks too.\n\n"
        f"| landmark | photos | found when taught the others |\n|---|---|---|\n{rows}"
    )
