"""What every entry point needs: flags from a configuration, and endings a person understands."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import gc
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

from landmark_ml.config import Configuration, without_users

Config = TypeVar("Config", bound=Configuration)


class _Masked(logging.Formatter):
    """Log lines without the passwords that addresses hold, in tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        return without_users(super().format(record))


class Parser(argparse.ArgumentParser):
    """Command line that is refused in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2; the usage of fifty flags would bury the reason."""
        self.exit(2, f"error: {message}\n")


def parse(
    defaults: Config, description: str, argv: Sequence[str] | None = None, command: str = ""
) -> Config:
    """The defaults, with every field replaced that `--name=value` or `--name value` sets.

    command: what was typed, where it is more than `python -m <module>`. An unknown name or an
    invalid value ends the process with status 2 and one line, which suggests the nearest name.
    """
    command = command or program()
    parser = Parser(
        prog=command,
        usage=f"{command} [--NAME=VALUE ...]",
        description=description,
        allow_abbrev=False,
    )
    settable = [item for item in fields(defaults) if item.metadata["settable"]]
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for item in settable:
        default, about = getattr(defaults, item.name), item.metadata
        unit = f" [{about['unit']}]" if about["unit"] else ""
        choices = f"; one of {', '.join(about['choices'])}" if about["choices"] else ""
        shown = "empty" if default == "" else default
        if about["group"] not in groups:
            groups[about["group"]] = parser.add_argument_group(about["group"])
        groups[about["group"]].add_argument(
            f"--{item.name}",
            type=_boolean if isinstance(default, bool) else type(default),
            default=default,
            metavar={str: "TEXT", bool: "BOOL"}.get(type(default), "N"),
            help=f"{about['help']}{choices}{unit} (default: {shown})".replace("%", "%%"),
        )
    # Every flag takes a value. The word after one is that value, even where it starts with a dash:
    # `mlflow run` writes what `MLproject` does not declare as `--name value`.
    words, flags = iter(sys.argv[1:] if argv is None else argv), {f"--{f.name}" for f in settable}
    joined = [
        word if word not in flags or (value := next(words, None)) is None else f"{word}={value}"
        for word in words
    ]
    values, unknown = parser.parse_known_args(joined)
    if unknown:
        name = unknown[0].lstrip("-").partition("=")[0]
        near = difflib.get_close_matches(name, [item.name for item in settable], cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "--help lists those there are"
        parser.error(f"{unknown[0]}: there is no parameter {name!r}; {hint}")
    try:
        return replace(defaults, **vars(values))
    except ValueError as error:
        parser.error(str(error))


def program() -> str:
    """How this process was started, such as `python -m experiments.train`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else sys.argv[0]


def run(main: Callable[[], object]) -> None:
    """Call an entry point; a mistake of the user or an outage of MLflow ends as one sentence."""
    rank = int(os.environ.get("RANK", "0"))
    level = logging.ERROR if rank else logging.INFO
    handler = logging.StreamHandler()
    handler.setFormatter(_Masked("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    sys.excepthook = lambda *raised: sys.stderr.write(
        without_users("".join(traceback.format_exception(*raised)))
    )
    for chatty in ("alembic", "mlflow", "onnx_ir", "onnxscript"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # MLflow warns of its own inference of schemas, which is not used here.
    warnings.filterwarnings("ignore", module=r"mlflow\.")
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
    module = getattr(sys.modules["__main__"].__spec__, "name", None)
    if module is None:
        raise ValueError(
            f"processes={processes} needs an entry point that Python can start again; call it as"
            " python -m experiments.train <recipe>, or start it with torchrun"
        )
    # Without a number torchrun gives each one core, and says so at length.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cpus() // processes)))
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *launcher, "-m", module, *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter and module


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """End what runs, on Ctrl-C or when a scheduler ends the job."""
    # `mlflow run` answers Ctrl-C with SIGTERM, which would cut the ending of the run short. SIG_IGN
    # would print a warning where the signal is on its way.
    signal.signal(signal.SIGTERM, lambda *_: None)
    raise KeyboardInterrupt


def _boolean(text: str) -> bool:
    """`mlflow run` has no flags without a value, so a boolean is spelled out."""
    spelled = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in spelled:
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")
    return spelled[text.lower()]
