"""The command `landmarks`: flags from configurations, and endings a person understands."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import gc
import importlib
import logging
import os
import re
import signal
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

from experiments.entry_points import ENTRY_POINTS
from experiments.recipes import RECIPES
from landmark_ml import __version__
from landmark_ml.config import Configuration, user_path, without_users
from landmark_ml.console import Bar

Config = TypeVar("Config", bound=Configuration)
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class _Lines(logging.StreamHandler):  # type: ignore[type-arg]
    """Plain log lines above the bars, without the passwords that addresses hold."""

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return level + without_users(logging.Formatter().format(record))

    def emit(self, record: logging.LogRecord) -> None:
        with Bar.external_write_mode(self.stream):
            super().emit(record)


class Parser(argparse.ArgumentParser):
    """Command line that is refused in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2; the usage of fifty flags would bury the reason."""
        sys.stderr.write(f"error: {message}\n")
        raise SystemExit(2) from ValueError(message)


def landmarks() -> None:
    """Run the command `landmarks`, which is `python -m experiments` too."""
    error = ""
    try:
        run(main)
    except SystemExit as ended:
        code = f"ended with status {ended.code}" if isinstance(ended.code, int) else ended.code
        error = str(ended.__cause__ or (code if ended.code else ""))
        raise
    except Exception as failed:
        error = repr(failed)
        raise
    finally:
        if "MLFLOW_RUN_ID" in os.environ and os.environ.get("RANK", "0") == "0":
            from landmark_ml.tracking.run import settle_launched

            settle_launched(error)


def main() -> None:
    """Find the entry point, read its values, and only then import what it needs."""
    parser = Parser(prog="landmarks", description="Say which landmark a photo shows, and where.")
    parser.add_argument("--version", action="version", version=f"landmark-ml {__version__}")
    added = parser.add_subparsers(metavar="ENTRY_POINT", title="entry points")
    completing = "_ARGCOMPLETE" in os.environ
    for name, entry in ENTRY_POINTS.items():
        listed = added.add_parser(name, help=entry.about)
        if completing:
            _add_flags(listed, entry.defaults, entry.common[0])
    if completing:
        import argcomplete

        argcomplete.autocomplete(parser)
    name, *words = sys.argv[1:] or ["--help"]
    if name.startswith("-"):
        parser.parse_args([name])
    if name not in ENTRY_POINTS:
        parser.error(f"there is no entry point {name!r}; {_nearest(name, ENTRY_POINTS)}")
    entry = ENTRY_POINTS[name]
    config = parse(entry.defaults, words, f"landmarks {name}", entry.about, entry.common[0])
    with importing():
        file = "train" if name in RECIPES else name
        module = importlib.import_module(f"experiments.{file}")
    sys.exit(module.main(config))


def parse(
    defaults: Config, words: Sequence[str], command: str = "", about: str = "", first: str = ""
) -> Config:
    """The defaults, with every field replaced that the words set.

    Words: `--name=value`, `--name value` or `name=value`. A boolean needs no value, and the field
    `first` no name. `--config FILE` (YAML or JSON) sets fields that no word sets. An unknown name
    or an invalid value ends the process with status 2 and one line, which suggests the nearest
    name.
    """
    usage = f"{command}{f' [{first}]' if first else ''} [--NAME VALUE ...]"
    parser = Parser(prog=command, usage=usage, description=about)
    _add_flags(parser, defaults, first)
    left, given, of_file = deque(words), dict[str, str](), dict[str, str]()
    known = [item.name for item in fields(defaults) if item.metadata["settable"]]
    while left:
        word = left.popleft()
        name, equals, value = word.removeprefix("--").partition("=")
        if word in ("-h", "--help"):
            parser.parse_args([word])
        if first and not re.match(r"-|\w+=", word):
            if first in given:
                parser.error(f"{word}: {first} is given already; a value with spaces needs quotes")
            name, value = first, word
        elif not equals and isinstance(getattr(defaults, name, ""), bool):
            value = left.popleft() if left and left[0].lower() in _BOOLEANS else "True"
        elif not equals and name in (*known, "config"):
            # The next word is the value, even where it starts with a dash: `mlflow run` writes what
            # `MLproject` does not declare as `--name value`.
            if not left:
                parser.error(f"{word} needs a value")
            value = left.popleft()
        if name == "config":
            of_file = _read(parser, value, defaults)
        elif name in known:
            given[name] = value
        else:
            parser.error(f"there is no parameter {name!r}; {_nearest(name, known)}")
    try:
        flags = [f"--{name}={value}" for name, value in {**of_file, **given}.items()]
        return replace(defaults, **vars(parser.parse_args(flags)))
    except ValueError as error:
        parser.error(str(error))


def _add_flags(parser: argparse.ArgumentParser, defaults: Configuration, first: str) -> None:
    """Add a flag for every field that can be set, in groups; first: the field without a name."""
    if first:
        parser.add_argument(
            "first", nargs="?", metavar=first, default=argparse.SUPPRESS, help=f"as --{first}"
        )
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="YAML or JSON of values, such as the config.json of a run; flags win",
    )
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for item in fields(defaults):
        default, about = getattr(defaults, item.name), item.metadata
        if not about["settable"]:
            continue
        unit = f" [{about['unit']}]" if about["unit"] else ""
        choices = f"; one of {', '.join(about['choices'])}" if about["choices"] else ""
        shown = "empty" if default == "" else default
        if about["group"] not in groups:
            groups[about["group"]] = parser.add_argument_group(about["group"])
        flag = groups[about["group"]].add_argument(
            f"--{item.name}",
            type=_boolean if isinstance(default, bool) else type(default),
            default=default,
            metavar={str: "TEXT", bool: "BOOL"}.get(type(default), "N"),
            help=f"{about['help']}{choices}{unit} (default: {shown})".replace("%", "%%"),
        )
        if about["choices"]:
            # What the Tab key offers; argparse's own `choices` would refuse in other words.
            flag.completer = lambda offered=about["choices"], **_: offered  # type: ignore[attr-defined]


def _read(parser: Parser, path: str, defaults: Configuration) -> dict[str, str]:
    """Values of a YAML or JSON file, by field; refused like those of the command line."""
    import yaml

    try:
        found = yaml.safe_load(user_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        parser.error(f"{path} cannot be read as YAML or JSON: {error}")
    if not isinstance(found, dict):
        parser.error(f"{path} holds no values by name; write lines such as epochs: 30")
    # YAML reads a name such as `on` as another type.
    found = {str(name): value for name, value in found.items()}
    settable = {item.name: item.metadata["settable"] for item in fields(defaults)}
    for name, value in found.items():
        if name not in settable:
            parser.error(f"{path}: there is no parameter {name!r}; {_nearest(name, settable)}")
        if not settable[name] and value != (own := getattr(defaults, name)):
            parser.error(f"{path} has the {name} {value!r}, and this is {own!r}; start that one")
    return {
        name: "" if value is None else str(value) for name, value in found.items() if settable[name]
    }


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else "see --help"


def run(main: Callable[[], object]) -> None:
    """Call an entry point; a mistake of the user or an outage of MLflow ends as one sentence."""
    rank = int(os.environ.get("RANK", "0"))
    level = logging.ERROR if rank else logging.INFO
    logging.basicConfig(level=level, handlers=[_Lines()])
    sys.excepthook = lambda *raised: sys.stderr.write(
        without_users("".join(traceback.format_exception(*raised)))
    )
    for chatty in ("alembic", "mlflow", "onnx_ir", "onnxscript"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # MLflow sets its own level when it is imported.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    # MLflow warns of its own inference of schemas, which is not used here.
    warnings.filterwarnings("ignore", module=r"mlflow\.")
    # It would print addresses of runs between our lines, and into a JSON document.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # Its bar for every single file would drown ours.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Threads of libgomp wait for one another by spinning, milliseconds long; beside other work they
    # then hold the core that the late one needs. docs/performance.md has the measurement. Read when
    # torch is imported.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    for number in (signal.SIGINT, signal.SIGTERM):
        # A parent that wants a signal ignored, as nohup does, knows why.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        with contextlib.ExitStack() as stack:
            if rank:
                # The first of several processes shows bars, warnings and results for all.
                nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
                stack.enter_context(contextlib.redirect_stdout(nowhere))
                stack.enter_context(contextlib.redirect_stderr(nowhere))
            main()
    except KeyboardInterrupt:
        sys.exit(1 if rank else "interrupted")
    except Exception as error:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        # SQLAlchemyError: the tracking address is not a database, or it refuses the connection.
        if not isinstance(error, ValueError | OSError | MlflowException | SQLAlchemyError):
            raise
        logging.getLogger(__name__).debug("traceback", exc_info=True)
        sys.exit(f"error{f' in process {rank}' if rank else ''}: {without_users(str(error))}")


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import what is heavy without collecting garbage, which takes a third of the time.

    What is there at the end stays, and is not looked through again.
    """
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


def share_among(processes: int) -> None:
    """Continue in this many processes on this machine; return if one is enough, or under torchrun.

    This process becomes torchrun, so that MLflow, Ctrl-C and exit status stay what they are.
    """
    if processes == 1:
        return

    from landmark_ml.inference.runtime import usable_cpus
    from landmark_ml.training.devices import started_by_torchrun

    if started_by_torchrun():
        return
    # Without a number torchrun gives each one core, and says so at length.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cpus() // processes)))
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *launcher, "-m", "experiments", *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter and module


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """End what runs, on Ctrl-C or when a scheduler ends the job."""
    # `mlflow run` answers Ctrl-C with SIGTERM, which would cut the ending of the run short. SIG_IGN
    # would print a warning where the signal is on its way.
    signal.signal(signal.SIGTERM, lambda *_: None)
    raise KeyboardInterrupt


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")
    return _BOOLEANS[text.lower()]
