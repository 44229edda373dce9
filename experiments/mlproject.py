"""`python -m experiments.mlproject`: write `MLproject`, `conda.yaml` and the tables of the docs.

Everything in them that repeats a configuration or `pyproject.toml` is made from it, so that a
field or a requirement is written down once.
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from experiments import cli, recipes
from landmark_ml.config import (
    AppConfig,
    ClusterConfig,
    CompareConfig,
    Configuration,
    DataConfig,
    EvaluateConfig,
    HistoryConfig,
    PromoteConfig,
    RollbackConfig,
    TagConfig,
)
from landmark_ml.inference.prediction import Prediction, answer_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
_HEAD = (
    "# Written by `python -m experiments.mlproject` from {source}: change that, not this file.\n"
)


@dataclass(frozen=True)
class EntryPoint:
    """Module that `mlflow run` starts, and the configuration its parameters default to."""

    module: str
    defaults: Configuration


TRANSFER = EntryPoint("experiments.transfer", recipes.transfer())
ENTRY_POINTS: dict[str, EntryPoint] = {
    "main": TRANSFER,
    "transfer": TRANSFER,
    "ensemble": EntryPoint("experiments.ensemble", recipes.ensemble()),
    "finetune": EntryPoint("experiments.finetune", recipes.finetune()),
    "scratch": EntryPoint("experiments.scratch", recipes.scratch()),
    "data": EntryPoint("experiments.data", DataConfig()),
    "tune": EntryPoint("experiments.tune", recipes.tune()),
    "compare": EntryPoint("experiments.compare", CompareConfig()),
    "evaluate": EntryPoint("experiments.evaluate", EvaluateConfig()),
    "promote": EntryPoint("experiments.promote", PromoteConfig()),
    "rollback": EntryPoint("experiments.rollback", RollbackConfig()),
    "history": EntryPoint("experiments.history", HistoryConfig()),
    "tag": EntryPoint("experiments.tag", TagConfig()),
    "cluster": EntryPoint("experiments.cluster", ClusterConfig()),
    "app": EntryPoint("experiments.app", AppConfig()),
}


def mlproject() -> str:
    """Text of `MLproject`, with every field of a configuration as a parameter."""
    head = _HEAD.format(source="landmark_ml/config and experiments/recipes.py")
    lines = ["name: landmarks", "conda_env: conda.yaml", "", "entry_points:"]
    for name, entry in ENTRY_POINTS.items():
        lines += [f"  {name}:", "    parameters:"]
        lines += [f"      {key}: {_spec(value)}" for key, value in asdict(entry.defaults).items()]
        lines += ["    command: >-", f"      python -m {entry.module}"]
        # With a space, a value that starts with a dash would be taken for a flag.
        lines += [f"      --{item.name}={{{item.name}}}" for item in fields(entry.defaults)]
    return head + "\n".join(lines) + "\n"


def conda_yaml(pyproject: Path = ROOT / "pyproject.toml") -> str:
    """Text of `conda.yaml`: the lowest Python and the dependencies of `pyproject.toml`."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    python = project["requires-python"].removeprefix(">=")
    lines = ["name: landmark-ml", "channels:", "  - conda-forge", "dependencies:"]
    lines += [f"  - python={python}", "  - pip", "  - pip:"]
    lines += [f'      - "{requirement}"' for requirement in project["dependencies"]]
    return _HEAD.format(source="pyproject.toml") + "\n".join(lines) + "\n"


def parameter_table(config: Configuration) -> str:
    """Markdown table of every field: name, default, unit and meaning."""
    rows = ["| Parameter | Default | Unit | Meaning |", "|---|---|---|---|"]
    for item in fields(config):
        value = getattr(config, item.name)
        default = "empty" if value == "" else f"`{value}`"
        choices = item.metadata["choices"]
        meaning = item.metadata["help"] + (f": {', '.join(choices)}" if choices else "")
        escaped = meaning.replace("|", "\\|")
        rows.append(f"| `{item.name}` | {default} | {item.metadata['unit']} | {escaped} |")
    return "\n".join(rows) + "\n"


def answer_table() -> str:
    """Markdown table of the fields of an answer: name, type and meaning."""
    rows = [
        f"| `{field.name}` | {_type_in_words(field.type)} | {field.meaning} |"
        for field in answer_fields(Prediction)
    ]
    return "\n".join(["| field | type | meaning |", "|---|---|---|", *rows]) + "\n"


def _type_in_words(kind: Any) -> str:
    words = {str: "text", float: "number", bool: "boolean"}
    if kind in words:
        return words[kind]
    if get_origin(kind) is list:
        return f"list of {_type_in_words(get_args(kind)[0])}"
    return f"({', '.join(field.name for field in answer_fields(kind))})"


def documents() -> list[Path]:
    """The README, where it is there, and every page in `docs/`."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [page for page in pages if page.is_file()]


def with_tables(document: str) -> str:
    """Document with a fresh table wherever `<!-- parameters:NAME -->` … `<!-- end -->` stands.

    Raises ValueError for the name of no entry point.
    """

    def table(match: re.Match[str]) -> str:
        if match["name"] not in ENTRY_POINTS:
            known = ", ".join(ENTRY_POINTS)
            raise ValueError(
                f"a document asks for the parameters of {match['name']!r}; known: {known}"
            )
        body = parameter_table(ENTRY_POINTS[match["name"]].defaults)
        return f"{match['start']}\n{body}<!-- end -->"

    answers = f"<!-- answer fields -->\n{answer_table()}<!-- end -->"
    pattern = r"<!-- answer fields -->\n.*?<!-- end -->"
    document = re.sub(pattern, lambda _: answers, document, flags=re.DOTALL)
    pattern = r"(?P<start><!-- parameters:(?P<name>\w+) -->)\n.*?<!-- end -->"
    return re.sub(pattern, table, document, flags=re.DOTALL)


def _spec(value: Any) -> str:
    """Type and default of a parameter; `MLproject` knows one type of number."""
    if isinstance(value, str):
        return f"{{type: string, default: {json.dumps(value, ensure_ascii=False)}}}"
    return f"{{type: float, default: {value}}}"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the files anew and name them; whoever asks for help gets that alone."""
    argparse.ArgumentParser(prog=cli.program(), description=__doc__).parse_args(argv)
    written = {"MLproject": mlproject(), "conda.yaml": conda_yaml()}
    for path in documents():
        written[str(path.relative_to(ROOT))] = with_tables(path.read_text(encoding="utf-8"))
    for name, text in written.items():
        (ROOT / name).write_text(text, encoding="utf-8")
        print(f"wrote {name}")


if __name__ == "__main__":
    cli.run(main)
