"""The command line is the configuration: each field a flag, each mistake a sentence."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from sqlalchemy.exc import DatabaseError

from experiments import cli, ui
from experiments.entry_points import ENTRY_POINTS
from landmark_ml.config import DataConfig, TagConfig, TrainConfig, UiConfig, to_json, to_params
from tests.source_tree import ROOT

DEFAULTS = TrainConfig(recipe="mine", batch_size=77)
FIELDS = [item.name for item in fields(TrainConfig) if item.metadata["settable"]]


def parsed(*argv: str) -> TrainConfig:
    return cli.parse(DEFAULTS, argv, "landmarks transfer", "what it does")


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Sentence that a command line is refused with."""
    with pytest.raises(SystemExit) as exited:
        parsed(*argv)
    assert exited.value.code == 2
    return capsys.readouterr().err


def test_without_flags_the_defaults_stay() -> None:
    assert parsed() == DEFAULTS


def test_flags_override_single_values() -> None:
    config = parsed("--epochs", "3", "--learning_rate=1e-3", "--data=my photos", "--places=")
    assert (config.epochs, config.learning_rate, config.data) == (3, 0.001, "my photos")
    assert (config.recipe, config.batch_size, config.places) == ("mine", 77, "")


def test_other_configurations_have_flags_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.parse(DataConfig(), ["--seed=4"]) == DataConfig(seed=4)
    with pytest.raises(SystemExit):
        cli.parse(DataConfig(), ["--epochs=4"])
    assert "'epochs'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        (["--epoch=3"], "did you mean epochs "),
        (["--finetune_epoch", "-3"], "did you mean finetune_epochs"),
        (["--learning-rate=1"], "did you mean learning_rate"),
        (["--qqqqqq=1"], "see --help"),
        (["stray"], "'stray'"),
    ],
)
def test_an_unknown_name_is_refused_in_one_line_with_the_nearest(
    given: list[str], nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = refused(capsys, *given)
    assert error.startswith("error: there is no parameter ")
    assert nearest in error
    assert error.count("\n") == 1


def test_what_an_entry_point_decides_has_no_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no parameter 'recipe'" in refused(capsys, "--recipe=scratch")


@pytest.mark.parametrize("value", ["-photos", "--seed=4", "a b", ""])
def test_the_word_after_a_flag_is_its_value(value: str) -> None:
    assert parsed("--data", value, "--seed", "5") == replace(DEFAULTS, data=value, seed=5)


def test_a_flag_without_a_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--data needs a value" in refused(capsys, "--data")


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--min_crop=0", "min_crop is 0.0; give a number above 0 and at most 1"),
        ("--framing=stretch", "framing is 'stretch'; choose one of squash, crop"),
        ("--learning_rate=nan", "learning_rate is nan; give a finite number"),
        ("--epochs=many", "argument --epochs: invalid int value: 'many'"),
        ("--refit=maybe", "'maybe' is neither True nor False"),
        ("--epochs=0", "nothing would be trained"),
    ],
)
def test_an_invalid_value_is_refused(
    flag: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = refused(capsys, flag)
    assert sentence in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("spelling", "value"),
    [
        ("True", True),
        ("true", True),
        ("1", True),
        ("yes", True),
        ("False", False),
        ("FALSE", False),
        ("0", False),
        ("no", False),
    ],
)
def test_booleans_are_spelled_out(spelling: str, value: bool) -> None:
    assert parsed(f"--refit={spelling}").refit is value


@pytest.mark.parametrize("name", FIELDS)
def test_the_recorded_spelling_of_every_value_reads_back_as_itself(name: str) -> None:
    value = getattr(DEFAULTS, name)
    assert parsed(f"--{name}={value}") == DEFAULTS


@pytest.mark.parametrize(
    ("typed", "recorded"), [("1e-3", "0.001"), (".5", "0.5"), ("2", "2.0"), ("1e-7", "1e-07")]
)
def test_numbers_are_recorded_in_one_spelling(typed: str, recorded: str) -> None:
    config = parsed(f"--learning_rate={typed}")
    assert to_params(config)["learning_rate"] == recorded
    assert to_params(parsed(f"--learning_rate={recorded}")) == to_params(config)


def test_help_lists_every_field_with_its_default_and_choices(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as exited:
        parsed("--help")
    assert exited.value.code == 0
    text = capsys.readouterr().out
    assert "what it does" in text
    for item in fields(TrainConfig):
        if not item.metadata["settable"]:
            continue
        assert f"\n{item.metadata['group']}:\n" in text
        shown = getattr(DEFAULTS, item.name)
        _, after = text.split(f"\n  --{item.name} ")
        line = " ".join(after.split("\n  --")[0].split("\n\n")[0].split())
        assert item.metadata["help"] in line
        assert f"(default: {'empty' if shown == '' else shown})" in line
        assert all(choice in line for choice in item.metadata["choices"])


@pytest.mark.parametrize(
    "words",
    [
        ["~/Pictures", "--gallery", "--threshold", "0.5"],
        ["--gallery", "~/Pictures", "--threshold=0.5"],
        ["photos=~/Pictures", "gallery=yes", "threshold=0.5"],
        ["--photos", "~/Pictures", "--threshold", ".5", "--gallery", "True"],
    ],
)
def test_the_field_that_is_always_given_needs_no_name_and_a_boolean_no_value(
    words: list[str],
) -> None:
    config = cli.parse(TagConfig(), words, first="photos")
    assert config == TagConfig(photos="~/Pictures", gallery=True, threshold=0.5)


def test_a_value_in_several_words_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.parse(TagConfig(), ["my", "photos"], first="photos")
    assert "photos: photos is given already; a value with" in capsys.readouterr().err


@pytest.fixture
def _process_as_before() -> Iterator[None]:
    names = (None, "alembic", "mlflow", "onnx_ir", "onnxscript")
    levels = {name: logging.getLogger(name).level for name in names}
    handlers, hook = logging.getLogger().handlers[:], sys.excepthook
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in signals.items():
        signal.signal(number, handler)
    logging.getLogger().handlers[:], sys.excepthook = handlers, hook
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("_process_as_before")
@pytest.mark.parametrize(
    "error",
    [
        ValueError("epochs is -1"),
        FileNotFoundError("no such data"),
        MlflowException("API request to http://127.0.0.1:9 failed", TEMPORARILY_UNAVAILABLE),
        DatabaseError("PRAGMA", None, Exception("file is not a database")),
    ],
)
def test_a_mistake_of_the_user_ends_as_one_sentence(error: Exception) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as exited:
        cli.run(main)
    assert exited.value.code == f"error: {error}"


@pytest.mark.usefixtures("_process_as_before")
def test_no_password_of_an_address_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().handlers.clear()

    def main() -> None:
        logging.getLogger("x").warning("asking %s", "http://me:secret@host:1/api")
        try:
            raise ValueError("http://me:secret@host:1/api failed")
        except ValueError as error:
            sys.excepthook(ValueError, error, error.__traceback__)
            raise

    with pytest.raises(SystemExit, match="error: http://host:1/api failed"):
        cli.run(main)
    printed = capfd.readouterr().err
    assert printed.count("http://host:1/api") == 3  # once in the source line of the traceback
    assert 'main\n    raise ValueError("http' in printed
    assert "secret" not in printed


@pytest.mark.usefixtures("_process_as_before")
def test_a_bug_keeps_its_traceback() -> None:
    def main() -> None:
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        cli.run(main)


@pytest.mark.usefixtures("_process_as_before")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so(number: signal.Signals) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.run(lambda: signal.raise_signal(number))
    assert exited.value.code == "interrupted"


@pytest.mark.usefixtures("_process_as_before")
@pytest.mark.parametrize(("given", "spins"), [({}, "5000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)])
def test_threads_wait_briefly_unless_the_user_says_how(
    given: dict[str, str], spins: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", given)
    seen = []
    cli.run(lambda: seen.append(os.environ.get("GOMP_SPINCOUNT")))
    assert seen == [spins]


def started(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str]:
    """Exit status of the command `landmarks`, and what it says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["landmarks", *words])
        with pytest.raises(SystemExit) as exited:
            cli.main()
    said = capsys.readouterr()
    return exited.value.code, said.out + said.err


def test_without_words_the_command_lists_its_entry_points(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, said = started(capsys)
    assert status == 0
    assert all(f"\n    {name} " in said for name in ENTRY_POINTS)


def test_an_unknown_entry_point_is_refused_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, said = started(capsys, "trasnfer", "photos")
    assert status == 2
    assert said.startswith("error: there is no entry point 'trasnfer'; did you mean transfer ")
    assert said.count("\n") == 1


def test_the_command_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert started(capsys, "--version") == (0, f"landmark-ml {project['version']}\n")


@pytest.mark.usefixtures("tracking_uri")
def test_the_address_of_the_runs_opens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ui, "become_mlflow", lambda *_: None)
    for host, shown in (("0.0.0.0", "localhost"), ("::1", "[::1]")):  # noqa: S104 - only shown
        ui.main(UiConfig(host=host))
        assert f"http://{shown}:5000/#/experiments/" in capsys.readouterr().out


def test_values_are_read_from_a_file_and_flags_win(tmp_path: Path) -> None:
    run = tmp_path / "run.yaml"
    run.write_text("epochs: 7\nlearning_rate: 1e-3\ndata: my photos\nplaces:\nmirror: yes\n")
    config = parsed("--epochs=3", "--config", str(run))
    assert (config.epochs, config.learning_rate, config.data) == (3, 0.001, "my photos")
    assert (config.places, config.mirror) == ("", True)


def test_the_logged_configuration_of_a_run_trains_it_again(tmp_path: Path) -> None:
    logged = tmp_path / "config.json"
    original = replace(DEFAULTS, learning_rate=1e-5, data="a 'quoted' folder", mirror=True)
    logged.write_text(to_json(original))
    assert parsed(f"--config={logged}") == original


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("epoch: 3", "there is no parameter 'epoch'; did you mean epochs "),
        ("epochs: many", "argument --epochs: invalid int value: 'many'"),
        ("recipe: scratch", "has the recipe 'scratch', and this is 'mine'; start that one"),
        ("- 3", "holds no values by name"),
        ("a: [", "cannot be read as YAML or JSON"),
    ],
)
def test_a_file_of_values_is_checked_like_the_command_line(
    content: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.yaml").write_text(content)
    assert sentence in refused(capsys, f"--config={tmp_path / 'run.yaml'}")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("landmarks tra", {"transfer"}),
        ("landmarks transfer --finetune_ep", {"--finetune_epochs"}),
        ("landmarks transfer --framing ", {"squash", "crop"}),
    ],
)
def test_the_tab_key_completes(typed: str, offered: set[str], tmp_path: Path) -> None:
    given = {"_ARGCOMPLETE": "1", "COMP_LINE": typed, "COMP_POINT": str(len(typed))}
    given |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "offered"), "_ARGCOMPLETE_IFS": "\n"}
    subprocess.run(
        [sys.executable, "-m", "experiments"], env={**os.environ, **given}, cwd=ROOT, check=True
    )
    words = (tmp_path / "offered").read_text().replace("=", "").split()
    assert set(words) == offered
