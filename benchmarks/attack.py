"""`python -m benchmarks.attack`: hostile photos, and commands killed at random moments.

Two processes side by side: one searches for photos that keep a decoder busy (see `attack_photos`),
the other kills `train`, `promote`, `rollback` and `tag` with SIGKILL, several times each before one
may end, and checks what must hold. Ends with status 1 when a photo took longer or more memory than
its size allows, when the decoder crashed, or when a check failed.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch
from xml.etree import ElementTree as ET

import mlflow
import pyarrow.parquet as pq
from mlflow.tracking import MlflowClient

from benchmarks.attack_photos import Found, good_photos, search
from benchmarks.scaling import judged_better, write_photos
from benchmarks.tables import arguments, table
from landmark_ml.config import PromoteConfig, RollbackConfig, TagConfig, TrainConfig
from landmark_ml.registry import promote as promoting
from landmark_ml.registry.history import CHAMPION, PREVIOUS, AliasHistory, roll_back
from landmark_ml.registry.promote import run_promotion
from landmark_ml.tracking.run import DEFAULT_EXPERIMENT
from landmark_ml.training.run import run_training
from serving.tagging.tagger import run_tagging

SECONDS, SECONDS_PER_MEGAPIXEL, MEGABYTES = 5.0, 0.05, 1000.0
"""What one photo may take."""
MODEL = "landmarks"
_CLASSES = ("Atomium", "Eiffel_Tower", "Petra")
_LONGEST = 300.0
_SHARES = (1, 3, 20, 6)
"""How often each command is tried: a training takes long, a rollback hardly any time."""


class BrokenPromiseError(Exception):
    """Something that must hold after a kill does not."""


def must(holds: bool, what: object) -> None:
    """Raise BrokenPromiseError, saying what was found, when something does not hold."""
    if not holds:
        raise BrokenPromiseError(str(what))


def kill_commands(kills: int, seed: int, folder: Path) -> Counter[str]:
    """Kill commands `kills` times; count the kills, and how often each check held.

    Raises BrokenPromiseError when one did not.
    """
    rng, place, counts = random.Random(seed), Workplace(folder), Counter[str]()  # noqa: S311
    for trained in range(2):
        place.run(partial(place.train, trained))
    lasts = dict.fromkeys(place.commands, 3.0)
    trained = 1
    # Each once, the rest by chance.
    waiting = list(place.commands)
    while waiting or sum(counts[name] for name in place.commands) < kills:
        name = waiting.pop() if waiting else rng.choices(list(place.commands), _SHARES)[0]
        trained += name == "train"
        command = partial(place.commands[name], trained)
        for _ in range(rng.randint(1, 9)):
            seconds = place.run(command, rng.uniform(0, lasts[name]))
            if seconds is not None:
                break  # It ended before it was killed.
            counts[name] += 1
            place.run(place.check_after_kill)
            counts["checked after a kill: aliases, databases, table, sidecars"] += 1
        else:
            seconds = place.run(command)
        lasts[name] = seconds or 0.0
        place.run(partial(place.check_after_run, name, trained))
        counts["checked after the run that follows: nothing is left over, it resumed"] += 1
    return counts


class Workplace:
    """A small dataset, an MLflow database and a library, and the commands that use them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._photos = write_photos(folder / "data", _CLASSES, each=12)
        self._out, self._library = folder / "tags", folder / "library"
        for name in ("scratch", "library"):
            (folder / name).mkdir()
        for path in self._photos.rglob("*.png"):
            shutil.copy(path, self._library / f"{path.parent.name}-{path.name}")
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        # The one that MLflow made keeps its artifacts in the folder of the caller.
        self.run(lambda: mlflow.MlflowClient().rename_experiment("0", "made by MLflow"))
        self.run(lambda: mlflow.create_experiment(DEFAULT_EXPERIMENT, str(folder / "artifacts")))
        self.commands: dict[str, Callable[[int], object]] = {
            "train": lambda seed: self.train(seed, resume="auto"),
            "promote": self._promote,
            "rollback": self._rollback,
            "tag": self._tag,
        }

    def run(self, command: Callable[[], object], killed_after: float = 0.0) -> float | None:
        """Run in a child process; its seconds, or None when it was killed before it ended.

        Raises BrokenPromiseError with what it said when it failed.
        """
        child = multiprocessing.get_context("fork").Process(target=self._child, args=(command,))
        start = time.perf_counter()
        child.start()
        child.join(killed_after or _LONGEST)
        if child.exitcode is None:
            os.kill(child.pid or 0, signal.SIGKILL)
            child.join()
            must(killed_after > 0, f"it took over {_LONGEST:.0f} s")
            return None
        seconds = time.perf_counter() - start
        must(child.exitcode == 0, (self._folder / "said").read_text()[-3000:])
        # What it imported is imported once for those that follow.
        for name in (self._folder / "modules").read_text().split():
            if name not in sys.modules:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
        return seconds

    def _child(self, command: Callable[[], object]) -> None:
        os.environ["TMPDIR"] = tempfile.tempdir = str(self._folder / "scratch")
        said = os.open(self._folder / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.chdir(self._folder)
        before = set(sys.modules)
        try:
            command()
            (self._folder / "modules").write_text("\n".join(set(sys.modules) - before))
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)

    def train(self, seed: int, resume: str = "") -> None:
        run_training(
            TrainConfig(
                data=str(self._photos),
                cache_dir=str(self._folder / "cache"),
                seed=seed,
                resume=resume,
                backbone="test_resnet",
                weights="random",
                resolution=32,
                epochs=1,
                finetune_epochs=3,
                finetune_batch_size=8,
                model=MODEL,
                threads=1,
            )
        )

    def _promote(self, _: int) -> None:
        champion = AliasHistory(MODEL).reconcile()[0].champion
        config = PromoteConfig(
            model=MODEL,
            data=str(self._photos),
            candidates="2" if champion == 1 else "1",
            check_requirements=False,
        )
        with patch.object(promoting, "judge_version", judged_better):
            run_promotion(config)

    def _tag(self, seed: int) -> None:
        run_tagging(
            TagConfig(
                photos=str(self._library),
                out=str(self._out),
                sidecars="photo.jpg.xmp",
                gallery=True,
                threshold=seed % 90 / 100,
            )
        )

    def _rollback(self, _: int) -> None:
        history = AliasHistory(MODEL)
        head, _repaired = history.reconcile()
        if not history.last_existing(head.former):
            history.move("promote", 2 if head.champion == 1 else 1, head, "to go back from")
        roll_back(RollbackConfig(model=MODEL, reason="an attack"))

    def check_after_kill(self) -> None:
        """Databases and tables are whole; the next command finds, or repairs, the aliases."""
        for path in self._folder.rglob("*.sqlite"):
            self._intact(path)
        self._intact(self._folder / "mlflow.db")
        head, _ = AliasHistory(MODEL).reconcile()
        found = MlflowClient().get_registered_model(MODEL).aliases
        must(int(found[CHAMPION]) == head.champion, (found, head))
        former = AliasHistory(MODEL).last_existing(head.former)
        must(int(found.get(PREVIOUS, 0)) == former, (found, head))
        if (self._out / "tags.parquet").exists():
            rows = pq.read_table(self._out / "tags.parquet").to_pylist()
            names = sorted(path.name for path in self._library.glob("*.png"))
            must(sorted(row["path"] for row in rows) == names, f"{len(rows)} rows")
        for path in self._library.glob("*.xmp"):
            ET.parse(path)  # noqa: S314 - our own file

    def check_after_run(self, name: str, seed: int) -> None:
        """Nothing of the killed ones is left over, and a resumed run has ended."""
        self.check_after_kill()
        if name == "tag":
            left = [*self._library.rglob(".*"), *self._out.rglob(".*.tmp")]
            left += (self._folder / "scratch").glob("champion-*")
            must(not left, left)
        if name == "train":
            finished = mlflow.search_runs(
                experiment_names=[DEFAULT_EXPERIMENT],
                filter_string=f"params.seed = '{seed}' and attributes.status = 'FINISHED'",
            )
            must(len(finished) == 1, f"{len(finished)} runs of seed {seed} finished")
            left = list((self._folder / "cache" / "checkpoints").glob("*/*.pt"))
            must(not left, left)

    @staticmethod
    def _intact(path: Path) -> None:
        with sqlite3.connect(path, timeout=30) as database:
            must(database.execute("PRAGMA quick_check").fetchone() == ("ok",), path)


def too_slow(found: Found) -> list[str]:
    """Findings of a format that break a limit."""
    wrong = [
        f"{count} ended in {outcome}"
        for outcome, count in found.outcomes.items()
        if outcome.startswith(("over", "crash", "raised"))
    ]
    wrong += [
        f"{photo.seconds:.1f} s for {photo.size} in {len(photo.data):,} bytes"
        for photo in found.worst["seconds"]
        if photo.seconds > SECONDS + SECONDS_PER_MEGAPIXEL * photo.megapixels
    ]
    largest = found.worst["megabytes"][0]
    if largest.megabytes > MEGABYTES:
        wrong.append(f"{largest.megabytes:.0f} MB for {largest.size}")
    return wrong


def report(found: dict[str, Found], folder: Path) -> str:
    """Table of the worst of each format, whose bytes go to a folder."""
    rows = []
    for kind, one in found.items():
        slow, dear = one.worst["seconds"][0], one.worst["slowness"][0]
        for name, kept in one.worst.items():
            (folder / f"{kind}-{name}.bin").write_bytes(kept[0].data)
        rows.append(
            [
                kind,
                f"{one.outcomes.total():,}",
                f"{one.outcomes['read']:,}",
                f"{slow.seconds:.1f}",
                f"{dear.seconds:.2f}",
                f"{one.worst['megabytes'][0].megabytes:.0f}",
            ]
        )
    header = ["format", "inputs", "read", "most CPU s", "slowest for its size, CPU s"]
    return table([*header, "most memory, MB"], rows)


def attack_photos(inputs: int, seed: int, folder: Path, pipe: Connection) -> None:
    """Search, and send the table and what is wrong."""
    found = search(good_photos(), inputs, seed)
    wrong = [f"{kind}: {what}" for kind, one in found.items() for what in too_slow(one)]
    pipe.send((report(found, folder), wrong))


def main(argv: Sequence[str] | None = None) -> int:
    """Attack and print; 1 when something did not hold."""
    parser = arguments("attack", __doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="photos (%(default)s)")
    parser.add_argument("--kills", type=int, default=1000, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(out=Path("build/benchmarks/attack"))
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    ours, theirs = multiprocessing.Pipe()
    # Forked before anything here starts a thread, as the killed commands are.
    searching = multiprocessing.get_context("fork").Process(
        target=attack_photos, args=(options.inputs, options.seed, options.out, theirs)
    )
    searching.start()
    theirs.close()
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            counts = kill_commands(options.kills, options.seed, Path(folder))
            rows = [[name, f"{count:,}"] for name, count in counts.items()]
            sys.stdout.write(f"{table(['killed, and checked', 'times'], rows)}\n\n")
        except BrokenPromiseError as error:
            wrong.append(f"after a kill: {error}")
    try:
        rows_of_photos, slow = ours.recv()
    except EOFError:
        rows_of_photos, slow = "", ["the search for photos ended without a result"]
    searching.join()
    sys.stdout.write(f"{rows_of_photos}\n\n")
    for what in [*wrong, *slow]:
        sys.stdout.write(f"error: {what}\n")
    minutes = (time.perf_counter() - start) / 60
    sys.stdout.write(
        f"{minutes:.0f} minutes, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n"
    )
    return 1 if wrong or slow else 0


if __name__ == "__main__":
    sys.exit(main())
