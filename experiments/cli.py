"""Command line made from a configuration dataclass: the one place that parses arguments."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import warnings
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from landmark_ml.config import Configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

Config = TypeVar("Config", bound=Configuration)


def parse(defaults: Config, description: str, argv: Sequence[str] | None = None) -> Config:
    """Configuration with every field overridable by a flag of its name.

    Exits with status 2 and a sentence for an unknown flag or a value out of range.
    """
    parser = argparse.ArgumentParser(
        prog=program(),
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.HelpFormatter,
    )
    for item in fields(defaults):
        _add_flag(parser, item.name, getattr(defaults, item.name), item.metadata)
    arguments = vars(parser.parse_args(argv))
    try:
        return replace(defaults, **arguments)
    except ValueError as error:
        parser.error(str(error))


def program() -> str | None:
    """How this process was started, such as `python -m serving.cluster`; None for a file."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else None


def run(main: Callable[[], object]) -> None:
    """Call an entry point; a mistake of the user or an outage of MLflow ends as one sentence."""
    rank = int(os.environ.get("RANK", "0"))
    level = logging.ERROR if rank else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    for chatty in ("alembic", "mlflow", "onnx_ir", "onnxscript"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # MLflow warns of its own inference of schemas, which is not used here.
    warnings.filterwarnings("ignore", module=r"mlflow\.")
    # Its bar for every single file would drown ours.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for number in (signal.SIGINT, signal.SIGTERM):
        # A parent that wants a signal ignored, as nohup does, knows why.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        with _quiet() if rank else contextlib.nullcontext():
            main()
    except KeyboardInterrupt:
        sys.exit(1 if rank else "interrupted")
    # The last: a tracking address that is no database, or one that refuses.
    except (ValueError, OSError, MlflowException, SQLAlchemyError) as error:
        logging.getLogger(__name__).debug("traceback", exc_info=True)
        sys.exit(f"error{f' in process {rank}' if rank else ''}: {error}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Show no bars, warnings or results: the first of several processes shows them for all."""
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """End what runs, on Ctrl-C or when a scheduler ends the job."""
    # `mlflow run` answers Ctrl-C with SIGTERM, which would cut the ending of the run short.
    signal.signal(signal.SIGTERM, _pass_over)
    raise KeyboardInterrupt


def _pass_over(_number: int, _frame: FrameType | None) -> None:
    """Take a signal and go on; SIG_IGN would print a warning if the signal is on its way."""


def _add_flag(parser: argparse.ArgumentParser, name: str, default: Any, metadata: Any) -> None:
    unit = f" [{metadata['unit']}]" if metadata["unit"] else ""
    choices = f"; one of {', '.join(metadata['choices'])}" if metadata["choices"] else ""
    shown = "empty" if default == "" else default
    parser.add_argument(
        f"--{name}",
        type=_boolean if isinstance(default, bool) else type(default),
        default=default,
        metavar=name.upper(),
        help=f"{metadata['help']}{choices}{unit} (default: {shown})".replace("%", "%%"),
    )


def _boolean(text: str) -> bool:
    """`mlflow run` has no flags without a value, so a boolean is spelled out."""
    spelled = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in spelled:
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")
    return spelled[text.lower()]
