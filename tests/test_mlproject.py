"""`MLproject`, `conda.yaml` and the README say what the configuration and `pyproject.toml` say."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
import shlex
import tomllib
from dataclasses import Field, fields, replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.projects import _project_spec
from mlflow.utils.yaml_utils import read_yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from experiments import cli, mlproject, recipes
from experiments.entry_points import ENTRY_POINTS
from experiments.mlproject import ROOT
from experiments.recipes import RECIPES
from landmark_ml.config import Configuration, DataConfig, TrainConfig
from tests import source_tree

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
STALE = "run `python -m experiments.mlproject`"


def texts_with(part: str) -> list[str]:
    """Lines of shell blocks in the documents, and texts of the source, that hold a part."""
    found = [
        line
        for page in PAGES
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        for line in block.splitlines()
    ]
    for path in source_tree.modules().values():
        if part in (source := path.read_text(encoding="utf-8")):
            nodes = list(ast.walk(ast.parse(source)))
            docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
            constants = [node for node in nodes if isinstance(node, ast.Constant)]
            found += [str(node.value) for node in constants if id(node) not in docstrings]
    return [text for text in found if part in text]


def settable(name: str) -> list[Field[Any]]:
    return [f for f in fields(ENTRY_POINTS[name].defaults) if f.metadata["settable"]]


@functools.cache
def load_project() -> Any:
    """Read the project as `mlflow run .` does."""
    return _project_spec.load_project(str(ROOT))  # type: ignore[no-untyped-call]


def run_command(name: str, given: dict[str, str]) -> list[str]:
    """Split the command that `mlflow run` would hand to the shell, without `python -m`."""
    entry = load_project().get_entry_point(name)
    return shlex.split(entry.compute_command(given, None))[2:]


def parse_command(name: str, given: dict[str, str]) -> Configuration:
    module, entry, *words = run_command(name, given)
    assert (module, entry) == ("experiments", name)
    return cli.parse(ENTRY_POINTS[name].defaults, words, first=ENTRY_POINTS[name].common[0])


def test_the_written_files_are_fresh() -> None:
    assert (ROOT / "MLproject").read_text(encoding="utf-8") == mlproject.mlproject(), STALE
    assert (ROOT / "conda.yaml").read_text(encoding="utf-8") == mlproject.conda_yaml(), STALE
    page = ROOT / "docs/parameters.md"
    assert page.read_text(encoding="utf-8") == mlproject.parameters_page(), STALE
    answers = (ROOT / "docs/answers.md").read_text(encoding="utf-8")
    assert answers == mlproject.with_answer_fields(answers), STALE


def test_the_fields_of_an_answer_are_laid_between_their_markers() -> None:
    page = mlproject.with_answer_fields("a\n<!-- answer fields -->\nold\n<!-- end -->\nz\n")
    assert page.startswith("a\n<!-- answer fields -->\n| field | type | meaning |\n")
    assert "| `tags` | list of text |" in page
    assert page.endswith("|\n<!-- end -->\nz\n")
    assert "old" not in page


def parameters_given(text: str) -> list[tuple[str, str]]:
    """Entry point and parameter of every `make` and `landmarks` command of a page."""
    commands = re.findall(r"\b(?:make|landmarks) ([a-z]+)([^`#\n]*)", text.replace("\\\n", " "))
    return [
        (entry, name)
        for entry, values in commands
        if entry in ENTRY_POINTS
        for name in re.findall(r" (?:--)?([a-z_]+)(?==)| --([a-z_]+)", values)
        for name in name
        if name
    ]


def test_the_documents_use_parameters_that_exist() -> None:
    known = {
        entry: {"config", "json", *(field.name for field in settable(entry))}
        for entry in ENTRY_POINTS
    }
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/*.md")]
    given = [
        (page.name, entry, name)
        for page in sorted(set(pages))
        for entry, name in parameters_given(page.read_text(encoding="utf-8"))
    ]
    assert len({entry for _, entry, _ in given}) >= 6
    assert not [one for one in given if one[2] not in known[one[1]]]


def test_nothing_is_installed_from_an_index_that_does_not_have_it() -> None:
    assert not texts_with("landmark-ml[")
    assert not [page for page in PAGES if "landmark-ml[" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_defaults_survive_the_way_through_mlflow(name: str) -> None:
    assert parse_command(name, {}) == ENTRY_POINTS[name].defaults


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_every_field_can_be_given_through_mlflow(name: str) -> None:
    given = {}
    for field in settable(name):
        given[field.name] = str(getattr(ENTRY_POINTS[name].defaults, field.name))
    words = " ".join(run_command(name, given))
    assert all(f" --{field}" in words for field in given)
    assert parse_command(name, given) == ENTRY_POINTS[name].defaults


def test_a_run_logs_no_empty_parameter() -> None:
    for name in ENTRY_POINTS:
        declared = load_project().get_entry_point(name).parameters
        assert declared
        assert "" not in {parameter.default for parameter in declared.values()}


def test_fields_that_mlproject_does_not_declare_are_handed_on() -> None:
    given = {"learning_rate": "0.5", "backbone": "-odd name", "mirror": "True"}
    assert not set(given) & set(ENTRY_POINTS["transfer"].common)
    expected = replace(recipes.transfer(), learning_rate=0.5, backbone="-odd name", mirror=True)
    assert parse_command("transfer", given) == expected


@pytest.mark.parametrize("name", ["learning_rat", "recipe"])
def test_an_unknown_parameter_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        parse_command("transfer", {name: "0.5"})
    assert exited.value.code == 2
    assert f"there is no parameter '{name}'" in capsys.readouterr().err


def test_main_is_transfer() -> None:
    assert run_command("main", {"seed": "3"}) == run_command("transfer", {"seed": "3"})


@pytest.mark.parametrize(
    "value",
    [
        "my photos",
        "-photos",
        "--help",
        "a'b",
        'a"b',
        "$HOME",
        "{data}",
        "",
        "naïve; echo no",
        "a=b",
    ],
)
@pytest.mark.parametrize("field", ["data", "cache_dir"])
def test_awkward_values_arrive_as_typed(field: str, value: str) -> None:
    expected: dict[str, Any] = {field: value}
    assert parse_command("data", {field: value}) == DataConfig(**expected)


def test_numbers_arrive_as_numbers() -> None:
    config = parse_command("transfer", {"epochs": "7", "learning_rate": "1e-3", "seed": "5"})
    assert isinstance(config, TrainConfig)
    assert (config.epochs, config.learning_rate, config.seed) == (7, 0.001, 5)


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_every_entry_point_has_a_module(name: str) -> None:
    file = "train" if name in RECIPES else name
    assert importlib.util.find_spec(f"experiments.{file}") is not None


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


def test_an_install_next_year_is_the_one_tested_today() -> None:
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, version = re.fullmatch(r"([\w.-]+)==([\w.]+)", line).groups()  # type: ignore[union-attr]
        pinned[canonicalize_name(name)] = version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    for line in [*project["dependencies"], *optional["dev"], *optional["ray"]]:
        needed = Requirement(line)
        assert pinned[canonicalize_name(needed.name)] in needed.specifier


def test_the_page_of_parameters_explains_every_field_once() -> None:
    page = mlproject.parameters_page()
    explained = re.findall(r"\| `(\w+)` \| \S+ \| \w* \| .{5,} \|", page)
    assert set(explained) == {field.name for name in ENTRY_POINTS for field in settable(name)}
    assert explained.count("val_fraction") == explained.count("learning_rate") == 1
    assert "| where to train: auto, cpu, cuda, mps |" in page
    assert "| `optimizer` | `adamw` | `adamw` | `adamw` | `adamw` | `muon` |" in page


def test_the_generator_writes_all_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mlproject, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/answers.md").write_text("<!-- answer fields -->\n<!-- end -->\n")
    mlproject.main()
    assert (tmp_path / "MLproject").read_text(encoding="utf-8") == mlproject.mlproject()
    assert (tmp_path / "conda.yaml").read_text(encoding="utf-8") == mlproject.conda_yaml()
    assert (tmp_path / "docs/parameters.md").read_text(encoding="utf-8").startswith("# Parameters")
    assert capsys.readouterr().out.count("wrote ") == 4
