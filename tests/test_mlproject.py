"""`MLproject`, `conda.yaml` and the README say what the configuration and `pyproject.toml` say."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from mlflow.projects import _project_spec
from mlflow.utils.yaml_utils import read_yaml

from experiments import cli, mlproject, recipes
from experiments.mlproject import ENTRY_POINTS, ROOT
from landmark_ml.config import Configuration, DataConfig, TrainConfig, to_params
from tests import source_tree

if TYPE_CHECKING:
    from pathlib import Path

STALE = "run `python -m experiments.mlproject`"


def load_project() -> Any:
    """Read the project as `mlflow run .` does."""
    return _project_spec.load_project(str(ROOT))  # type: ignore[no-untyped-call]


def run_command(name: str, given: dict[str, str]) -> list[str]:
    """Split the command that `mlflow run` would hand to the shell, without the interpreter."""
    entry = load_project().get_entry_point(name)
    return shlex.split(entry.compute_command(given, None))[1:]


def parse_command(name: str, given: dict[str, str]) -> Configuration:
    _, module, *flags = run_command(name, given)
    assert module == ENTRY_POINTS[name].module
    return cli.parse(ENTRY_POINTS[name].defaults, "", flags)


def test_the_written_files_are_fresh() -> None:
    assert (ROOT / "MLproject").read_text(encoding="utf-8") == mlproject.mlproject(), STALE
    assert (ROOT / "conda.yaml").read_text(encoding="utf-8") == mlproject.conda_yaml(), STALE


def test_the_tables_of_the_documents_are_fresh() -> None:
    if not mlproject.documents():
        pytest.skip("no README here")
    for page in mlproject.documents():
        text = page.read_text(encoding="utf-8")
        assert text == mlproject.with_tables(text), f"{page.name}: {STALE}"


def test_commands_to_copy_need_no_conda() -> None:
    blocks = [
        line
        for page in mlproject.documents()
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        for line in block.splitlines()
    ]
    printed = [text for module in source_tree.modules() for text in source_tree.texts(module)]
    commands = [text for text in blocks + printed if "mlflow run . " in text]
    assert len(commands) >= 5
    assert not [text for text in commands if "--env-manager " not in text]


def parameters_given(text: str) -> list[tuple[str, str]]:
    """Entry point, or "" where none is named, and parameter of every `-P name=` of a page."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        for span in re.split(r"(?=\bmake [a-z]|\bmlflow run )", line):
            named = re.match(r"make ([a-z]+)|mlflow run \. [^`]*?-e ([a-z]+)", span)
            entry = next((name for name in named.groups() if name), "") if named else ""
            found += [(entry, name) for name in re.findall(r"-P ([a-z_]+)=", span)]
    return found


def test_the_documents_give_parameters_that_there_are() -> None:
    known = {entry: set(to_params(point.defaults)) for entry, point in ENTRY_POINTS.items()}
    anywhere = set().union(*known.values())
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/*.md")]
    given = [
        (page.name, entry, name)
        for page in sorted(set(pages))
        for entry, name in parameters_given(page.read_text(encoding="utf-8"))
    ]
    assert len({entry for _, entry, _ in given}) >= 6
    # `name` stands for any.
    wrong = [one for one in given if one[2] != "name" and one[2] not in known.get(one[1], anywhere)]
    assert not wrong


def test_nothing_is_installed_from_an_index_that_does_not_have_it() -> None:
    pages = [page.read_text(encoding="utf-8") for page in mlproject.documents()]
    printed = [text for module in source_tree.modules() for text in source_tree.texts(module)]
    assert not [text for text in pages + printed if "landmark-ml[" in text]


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_defaults_survive_the_way_through_mlflow(name: str) -> None:
    assert parse_command(name, {}) == ENTRY_POINTS[name].defaults


def test_main_is_transfer() -> None:
    assert ENTRY_POINTS["main"] is ENTRY_POINTS["transfer"]
    assert parse_command("main", {}) == recipes.transfer()


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_every_field_is_a_parameter_with_its_default(name: str) -> None:
    config = ENTRY_POINTS[name].defaults
    parameters = load_project().get_entry_point(name).parameters
    assert {key: str(item.default) for key, item in parameters.items()} == to_params(config)
    kinds = {key: item.type for key, item in parameters.items()}
    assert kinds == {
        item.name: "string" if isinstance(getattr(config, item.name), str) else "float"
        for item in fields(config)
    }


@pytest.mark.parametrize(
    "value", ["my photos", "-photos", "a'b", 'a"b', "$HOME", "{data}", "", "naïve; echo no", "a=b"]
)
def test_awkward_values_arrive_as_typed(value: str) -> None:
    assert parse_command("data", {"data": value}) == DataConfig(data=value)


def test_numbers_arrive_as_numbers() -> None:
    config = parse_command("transfer", {"epochs": "7", "learning_rate": "1e-3", "seed": "5"})
    assert isinstance(config, TrainConfig)
    assert (config.epochs, config.learning_rate, config.seed) == (7, 0.001, 5)


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_every_command_starts_a_module_that_exists(name: str) -> None:
    flag, module, *_ = run_command(name, {})
    assert flag == "-m"
    assert importlib.util.find_spec(module) is not None


def test_conda_environment_and_package_need_the_same() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    conda: dict[str, Any] = read_yaml(ROOT, "conda.yaml")  # type: ignore[no-untyped-call]
    python, pip, packages = conda["dependencies"]
    lowest = python.removeprefix("python=")
    assert pip == "pip"
    assert packages == {"pip": pyproject["project"]["dependencies"]}
    assert pyproject["project"]["requires-python"] == f">={lowest}"
    assert pyproject["tool"]["mypy"]["python_version"] == lowest
    assert pyproject["tool"]["ruff"]["target-version"] == f"py{lowest.replace('.', '')}"
    assert load_project().env_config_path == str(ROOT / "conda.yaml")


def test_the_parameter_table_explains_every_field() -> None:
    head, rule, *rows = mlproject.parameter_table(recipes.transfer()).splitlines()
    assert head == "| Parameter | Default | Unit | Meaning |"
    assert {line.count("|") for line in (head, rule, *rows)} == {5}
    named = [re.match(r"\| `(\w+)` \|", row) for row in rows]
    assert [match and match[1] for match in named] == [item.name for item in fields(TrainConfig)]
    assert any("where to train: auto, cpu, cuda, mps" in row for row in rows)


def test_tables_are_laid_between_their_markers() -> None:
    text = "before\n<!-- parameters:data -->\nold\n<!-- end -->\nafter\n"
    table = mlproject.parameter_table(DataConfig())
    fresh = f"before\n<!-- parameters:data -->\n{table}<!-- end -->\nafter\n"
    assert mlproject.with_tables(text) == fresh
    assert mlproject.with_tables(fresh) == fresh


def test_a_table_of_no_entry_point_is_refused() -> None:
    with pytest.raises(ValueError, match=f"'nothing'; known: {', '.join(ENTRY_POINTS)}"):
        mlproject.with_tables("<!-- parameters:nothing -->\n<!-- end -->")


def test_the_generator_writes_all_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mlproject, "ROOT", tmp_path)
    (tmp_path / "README.md").write_text("<!-- parameters:data -->\n<!-- end -->\n")
    mlproject.main([])
    assert (tmp_path / "MLproject").read_text(encoding="utf-8") == mlproject.mlproject()
    assert (tmp_path / "conda.yaml").read_text(encoding="utf-8") == mlproject.conda_yaml()
    assert "`max_unreadable`" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out.count("wrote ") == 3


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--check", 2), ("README.md", 2)])
def test_the_generator_writes_nothing_when_asked_for_anything_else(
    argument: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlproject, "ROOT", tmp_path)
    with pytest.raises(SystemExit) as exited:
        mlproject.main([argument])
    assert exited.value.code == status
    assert not list(tmp_path.iterdir())
