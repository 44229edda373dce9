"""How seconds and memory grow with the photos: each part at a tenth, a third and the whole.

`python -m benchmarks.scale --scan 200000`: made-up JPEGs through scanning, near-duplicates, splits
and manifest. `python -m benchmarks.scale --photos 1000000 --landmarks 10000`: made-up features
through store, head, calibration, export, judge, report and registration, by the functions of a
training run and with its default network. It has no photos, so reading and embedding them is not in
the time. Each size runs in a process of its own, and each part tells the most memory that the
process held meanwhile. The slope is that of the CPU seconds in log-log: 1 is linear, and other work
on the machine hardly changes it. `python -m benchmarks.scale --ask 50 100000`: CPU milliseconds
in which a made-up cosine head of so many landmarks answers one photo.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.tables import arguments, resident_peak_mb, table, tell
from landmark_ml.config import TrainConfig
from landmark_ml.data import LARGE_MANIFEST, SPLITS, Photo, read_manifest, write_manifest
from landmark_ml.data.dataset import Dataset
from landmark_ml.data.folders import list_folder
from landmark_ml.data.near_duplicates import (
    GroupedPhoto,
    Learned,
    group_near_duplicates,
    read_and_group,
)
from landmark_ml.data.splits import Fractions, split_photos
from landmark_ml.evaluation.judge import Predictions, Report
from landmark_ml.evaluation.metrics import measure
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.inference.predictor import (
    LANDMARK_SCORE,
    METADATA_FILE,
    PROBABILITIES,
    Metadata,
    Predictor,
    Scores,
)
from landmark_ml.inference.runtime import FEATURE_MAPS, FEATURES, Runtime
from landmark_ml.networks.create import LandmarkNetwork, create_model
from landmark_ml.networks.export import Calibration, add_classifier, calibrate, export_network
from landmark_ml.networks.rejection import (
    MOST_REFERENCES,
    LeftOut,
    References,
    Rejection,
    fit_rejection,
)
from landmark_ml.registry.register import load_served, log_model, register
from landmark_ml.reports.training_report import NetworkFacts, log_report, model_params
from landmark_ml.tracking import run as tracking
from landmark_ml.training.batches import num_outputs
from landmark_ml.training.cache import RowCache, StoredRows
from landmark_ml.training.devices import Compute, choose_compute
from landmark_ml.training.phases import train_head

PHOTOS_A_LANDMARK = 100
HIDDEN, SPREAD, NOISE = 64, 1.2, 1.0
"""Dimensions in which landmarks differ, and deviations of photos there and in each feature."""
ASKED = 64
SHARES = (0.1, 1 / 3, 1.0)


@contextlib.contextmanager
def measured(part: str) -> Iterator[None]:
    """Print a block's seconds, by clock and CPU, and its most memory, in 10^6 bytes, as JSON."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
    started, used = time.perf_counter(), time.process_time()
    yield
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    row = {"part": part, "seconds": seconds, "cpu": cpu, "mb": resident_peak_mb()}
    sys.stdout.write(json.dumps(row) + "\n")


def scan(count: int, folder: Path) -> None:
    """Take made-up photos the way of every command: from files to splits and their manifest."""
    root = write_photos(count, folder / "photos")
    with measured("list folders"):
        classes, files = list_folder(root)
    with measured("read photos"):
        photos = [item.photo for item in read_and_group(files, folder, grouping="none")[0]]
    with measured("read them again"):
        read_and_group(files, folder, grouping="none")
    with measured("near-duplicates"):
        groups = group_near_duplicates(photos).tolist()
    with measured("splits"):
        grouped = [GroupedPhoto(*pair, None) for pair in zip(photos, groups, strict=True)]
        splits = split_photos(grouped, Fractions(val=0.15, test=0.15), seed=0)
    dataset = Dataset("made up", root, classes, **splits._asdict())
    with measured("write manifest"):
        write_manifest(dataset, folder / LARGE_MANIFEST)
    with measured("read manifest"):
        read_manifest(folder / LARGE_MANIFEST, root)
    with measured("100 photos against those learned"):
        if learned := Learned.of(folder / LARGE_MANIFEST):
            learned.photos_learned(photos[:100])


def write_photos(count: int, root: Path) -> Path:
    """Class folders of small JPEGs; one in twenty is a smaller copy of the one before."""

    def write(landmark: int) -> None:
        folder = root / f"{landmark:06}"
        folder.mkdir(parents=True)
        chance = np.random.default_rng(landmark)
        for number in range(min(PHOTOS_A_LANDMARK, count - landmark * PHOTOS_A_LANDMARK)):
            side = 96 if number % 20 else 80
            if number % 20 or not number:
                cells = chance.integers(0, 256, (12, 12, 3), dtype=np.uint8)
                picture = Image.fromarray(cells).resize((96, 96), Image.Resampling.BICUBIC)
            picture.resize((side, side)).save(folder / f"{number:03}.jpg", quality=80)

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(-(-count // PHOTOS_A_LANDMARK))))
    return root


def train(count: int, landmarks: int, folder: Path, epochs: int) -> None:
    """Take made-up features the way of a training run on a frozen backbone."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    config = TrainConfig(cache_dir=str(folder), data=str(folder), epochs=epochs, refit=False)
    write_photos(1, folder / "photo")
    (photo,) = (folder / "photo").glob("*/*.jpg")
    dataset = made_up_dataset(count, landmarks, photo)
    compute, gazetteer = choose_compute("cpu", 0, precision="f32"), Gazetteer({})
    model = create_model(config, num_outputs(dataset))
    features = MadeUpFeatures(folder, landmarks)
    # MLflow keeps artifacts of a database in the working folder.
    with contextlib.chdir(folder), tracking.start_run(config, "scale", {}) as run:
        with measured("features to the store"):
            for split in SPLITS:
                features(model, dataset.split(split), config, compute)
        with measured("head"):
            found = train_head(model, dataset, config, compute, features=features)
        with measured("landmarks left out"):
            left_out = found.leave_out() if found.leave_out else None
        with measured("calibration"):
            rejection = fit_rejection(
                left_out or LeftOut.of_validation(found.logits, found.targets, landmarks), config
            )
            calibration = calibrate(found.logits, found.targets, landmarks, rejection)
        with measured("export"):
            artifact = export_network(
                model,
                calibration,
                dataset.classes,
                run.run_id,
                gazetteer,
                folder=folder / "artifact",
                cache=folder,
            )
        with measured("log the model"):
            facts = NetworkFacts.of(model, artifact, rejection)
            logged = log_model(artifact, photo.read_bytes(), model_params(config, facts))
        with measured("judge"):
            rows = features(model, dataset.test, config, compute)
            width = model.classifier.in_features
            head = add_classifier(identity(width), model.classifier, landmarks, calibration)
            served = Runtime(head.SerializeToString(), batch=ASKED)
            predictor = Predictor(served, served, Metadata.read(artifact / METADATA_FILE))
            judged = Predictions.of(
                dataset.test,
                dataset.classes,
                predictor.metadata.names,
                answers(predictor, rows),
                [gazetteer.find(name) for name in dataset.classes],
            )
            report = Report(measure(judged) | {"ms_per_photo": 0.0}, judged, pd.DataFrame())
        with measured("report"):
            training = log_report(run, report, dataset, config, logged.model_id, facts)
        with measured("register"):
            register(logged, "landmarks", training.version_tags, training.card, training.about)
        with measured("load and answer one photo"):
            model_of_mlflow = load_served(logged.model_uri)
            model_of_mlflow.predict(pd.DataFrame({"image": [photo.read_bytes()]}))
    size = sum(path.stat().st_size for path in artifact.iterdir()) / 1e6
    sys.stderr.write(f"top-1 {report.metrics['top1']:.3f}, artifact {size:,.0f} MB\n")


def ask(landmarks: int, folder: Path) -> float:
    """Median CPU milliseconds of 50 answers to one photo, by an exported head nobody trained."""
    model = create_model(TrainConfig(head="cosine"), landmarks + 1)
    blank = torch.zeros(model.classifier.in_features)
    compared = torch.randn(min(MOST_REFERENCES, 5_000_000 // landmarks), landmarks)
    references = References(compared, blank, blank + 1, blank[None])
    rejection = Rejection(np.ones(4, np.float32), (np.zeros(1, np.float32),), references, {}, 0.5)
    classes = tuple(map(str, range(landmarks)))
    export_network(
        model,
        Calibration(1.0, rejection),
        classes,
        "",
        Gazetteer({}),
        folder=folder / "artifact",
        cache=folder,
    )
    predictor, seconds = Predictor.load(folder / "artifact"), []
    photo = next(write_photos(1, folder / "photo").glob("*/*.jpg")).read_bytes()
    for _ in range(60):
        began = time.process_time()
        predictor.predict([photo])
        seconds.append(time.process_time() - began)
    return 1000 * float(np.median(seconds[10:]))


def made_up_dataset(count: int, landmarks: int, path: Path) -> Dataset:
    """As many photos of each landmark, all in one file, with hashes of their own."""
    photos = [
        Photo(path, number % landmarks, hashlib.sha256(str(number).encode()).hexdigest(), 96, 96)
        for number in range(count)
    ]
    # Every landmark in every split.
    test, val = (round(share * count) for share in (0.15, 0.3))
    names = tuple(f"Landmark {number:06}" for number in range(landmarks))
    root = path.parents[1]
    return Dataset(
        "made up", root, names, tuple(photos[val:]), tuple(photos[test:val]), tuple(photos[:test])
    )


@dataclass(frozen=True)
class MadeUpFeatures:
    """Features in the store of a training run: a direction for each landmark, and noise."""

    folder: Path
    landmarks: int

    def __call__(
        self, model: LandmarkNetwork, photos: Sequence[Photo], _: TrainConfig, __: Compute
    ) -> StoredRows:
        """Features of photos as `compute_features` gives them."""
        width = model.classifier.in_features
        chance = np.random.default_rng(0)
        centres = chance.standard_normal((self.landmarks, HIDDEN), dtype=np.float32)
        mixed = chance.standard_normal((HIDDEN, width), dtype=np.float32) / HIDDEN**0.5

        def rows(missing: Sequence[Photo]) -> Iterator[NDArray[np.float32]]:
            for start in range(0, len(missing), 1024):
                some = missing[start : start + 1024]
                own = np.random.default_rng(int(some[0].sha256, 16))
                within, noise = (
                    own.standard_normal((len(some), size), dtype=np.float32)
                    for size in (HIDDEN, width)
                )
                hidden = centres[[photo.label for photo in some]] + SPREAD * within
                yield from hidden @ mixed + NOISE * noise

        store = RowCache(self.folder / "features", ".f32")
        return store.load(photos, "made-up", (width,), np.float32, rows)


def identity(width: int) -> onnx.ModelProto:
    """A backbone whose features are what it is given."""
    images, found = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", width])
        for name in ("x", FEATURES)
    )
    nodes = [
        onnx.helper.make_node("Identity", ["x"], [FEATURES]),
        # A map of one place, which is its own average.
        onnx.helper.make_node("Unsqueeze", ["x", "axes"], [FEATURE_MAPS]),
    ]
    axes = onnx.numpy_helper.from_array(np.array([2, 3]), "axes")
    graph = onnx.helper.make_graph(nodes, "identity", [images], [found], [axes])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])


def answers(predictor: Predictor, features: StoredRows) -> Iterator[dict[str, Any]]:
    """The served answers to features, through the exported head."""
    for chosen in torch.split(torch.arange(len(features)), ASKED):
        outputs = predictor.runtime.run(features[chosen].numpy())
        for each in zip(outputs[PROBABILITIES], outputs[LANDMARK_SCORE].tolist(), strict=True):
            yield dict(predictor.answer(Scores(*each, None), 5, predictor.metadata.threshold))


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """By which power of the size the seconds grow, by least squares in log-log."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(seconds, 1e-3)), 1)[0])


def report(work: Sequence[str], count: int, out: Path) -> None:
    """Run `--only` at three sizes, each in a new process, and tell what their parts took.

    work: the arguments that name the work, before its number of photos.
    """
    sizes = [round(count * share) for share in SHARES]
    found: dict[str, list[tuple[float, float, float]]] = {}
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.scale", "--only", *work, str(size)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
        for row in map(json.loads, done.stdout.splitlines()):
            found.setdefault(row["part"], []).append((row["seconds"], row["cpu"], row["mb"]))
    found["all"] = [
        (sum(seconds), sum(cpu), max(mb))
        for parts in zip(*found.values(), strict=True)
        for seconds, cpu, mb in [zip(*parts, strict=True)]
    ]
    rows = [
        (
            part,
            *(f"{seconds:,.1f} s, {mb / 1000:.1f} GB" for seconds, _, mb in cells),
            f"{slope(sizes, [cpu for _, cpu, _ in cells]):.2f}",
        )
        for part, cells in found.items()
    ]
    shown = table(["part", *(f"{size:,} photos" for size in sizes), "slope"], rows)
    tell(out, shown, sizes=sizes, parts=found)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table of the work that is asked for."""
    parser = arguments("scale", __doc__)
    parser.add_argument("--scan", type=int, default=0, help="made-up JPEGs to scan")
    parser.add_argument("--photos", type=int, default=0, help="made-up features to train on")
    parser.add_argument("--landmarks", type=int, default=1000, help="landmarks of --photos")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of the head")
    parser.add_argument("--only", action="store_true", help="this size alone, in this process")
    parser.add_argument(
        "--ask", type=int, nargs="+", default=(), help="landmarks, to ask one photo"
    )
    given = parser.parse_args(argv)
    for landmarks in given.ask:
        with tempfile.TemporaryDirectory() as folder:
            sys.stdout.write(f"{landmarks:,} landmarks: {ask(landmarks, Path(folder)):.1f} ms\n")
    if given.ask:
        return
    if not given.scan and not given.photos:
        parser.error("name the work, such as --scan 200000 or --photos 50000 --landmarks 1000")
    if given.only:
        with tempfile.TemporaryDirectory() as folder:
            if given.scan:
                scan(given.scan, Path(folder))
            else:
                train(given.photos, given.landmarks, Path(folder), given.epochs)
        return
    work = [f"--landmarks={given.landmarks}", f"--epochs={given.epochs}", "--photos"]
    report(["--scan"] if given.scan else work, given.scan or given.photos, given.out)


if __name__ == "__main__":
    main()
