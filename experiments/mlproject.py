"""`python -m experiments.mlproject`: write `MLproject`, `conda.yaml` and tables of the docs.

All are made from the configurations, the recipes, the answer's fields and `pyproject.toml`, so
that each is written down once.
"""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, get_args, get_origin

from experiments import cli, recipes
from experiments.entry_points import ENTRY_POINTS
from landmark_ml.config import Configuration
from landmark_ml.inference.prediction import Prediction, answer_fields

ROOT = Path(__file__).resolve().parents[1]
_WRITTEN = "Written by `python -m experiments.mlproject` from {source}: change that, not this file."

_HOW_TO_GIVE_ONE = (
    "Give one as `make <entry point> name=value`, as `landmarks <entry point> --name value`, or as",
    "`mlflow run . --env-manager local -e <entry point> -P name=value`. Booleans are `True` or",
    "`False`. `--config run.yaml` reads values from a file, YAML or JSON; the `config.json` of a",
    "run is one.",
)


def mlproject() -> str:
    """Text of `MLproject`."""
    source = _WRITTEN.format(source="landmark_ml/config and experiments")
    lines = [f"# {source}", "# Every parameter of docs/parameters.md can be given, not only these."]
    lines += ["name: landmarks", "conda_env: conda.yaml", "", "entry_points:"]
    for name, entry in ENTRY_POINTS.items():
        # MLflow logs every declared parameter of a run; an empty one only fills its page.
        declared = [field for field in entry.common if getattr(entry.defaults, field) != ""]
        lines += [f"  {name}: &{name}" if name == "transfer" else f"  {name}:", "    parameters:"]
        for field in declared:
            value = getattr(entry.defaults, field)
            # MLflow knows one type of number.
            kind = "string" if isinstance(value, str) else "float"
            default = json.dumps(value) if isinstance(value, str) else value
            lines.append(f"      {field}: {{type: {kind}, default: {default}}}")
        flags = [f"--{field}={{{field}}}" for field in declared]
        command = " ".join([f"python -m experiments {name}", *flags])
        lines += [
            "    command: >-",
            *textwrap.wrap(command, 92, initial_indent="      ", subsequent_indent="      "),
        ]
    return "\n".join([*lines, "  main: *transfer"]) + "\n"


def conda_yaml(pyproject: Path = ROOT / "pyproject.toml") -> str:
    """Text of `conda.yaml`: the lowest Python and the dependencies of `pyproject.toml`."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    python = project["requires-python"].removeprefix(">=")
    lines = [f"# {_WRITTEN.format(source='pyproject.toml')}", "name: landmark-ml", "channels:"]
    lines += ["  - conda-forge", "dependencies:", f"  - python={python}", "  - pip", "  - pip:"]
    lines += [f'      - "{requirement}"' for requirement in project["dependencies"]]
    return "\n".join(lines) + "\n"


def parameters_page() -> str:
    """Text of `docs/parameters.md`: each field once, where the first entry point takes it."""
    written = _WRITTEN.format(source="landmark_ml/config and experiments")
    lines = ["# Parameters", "", f"<!-- {written} -->", "", *_HOW_TO_GIVE_ONE]
    place: dict[Field[Any], str] = {}
    for name, entry in ENTRY_POINTS.items():
        if name in recipes.RECIPES and name != "transfer":
            continue
        groups: dict[str, list[Field[Any]]] = {}
        elsewhere: dict[str, list[str]] = {}
        for item in _settable(entry.defaults):
            if item in place:
                elsewhere.setdefault(place[item], []).append(f"`{item.name}`")
            else:
                place[item] = item.metadata["group"] or name
                groups.setdefault(item.metadata["group"], []).append(item)
        lines += ["", f"## {', '.join(recipes.RECIPES) if name == 'transfer' else name}"]
        if elsewhere:
            links = [
                f"[{heading}](#{heading.lower().replace(' ', '-')})"
                + (f" ({', '.join(names)})" if heading in ENTRY_POINTS else "")
                for heading, names in elsewhere.items()
            ]
            lines += [
                "",
                *textwrap.wrap(f"Takes those of {', '.join(links)}.", 100, break_on_hyphens=False),
            ]
        for group, items in groups.items():
            lines += ["", f"### {group}"] if group else []
            lines += ["", "| Parameter | Default | Unit | Meaning |", "|---|---|---|---|"]
            for item in items:
                choices = ", ".join(item.metadata["choices"])
                meaning = item.metadata["help"] + (f": {choices}" if choices else "")
                default = _cell(getattr(entry.defaults, item.name))
                lines.append(f"| `{item.name}` | {default} | {item.metadata['unit']} | {meaning} |")
        if name == "transfer":
            lines += _recipe_table()
    return "\n".join(lines) + "\n"


def _recipe_table() -> list[str]:
    """Markdown of the fields in which the recipes differ."""
    configs = [recipe() for recipe in recipes.RECIPES.values()]
    lines = ["", "### Where the recipes differ", ""]
    lines += [f"| Parameter | {' | '.join(recipes.RECIPES)} |", "|---" * (len(configs) + 1) + "|"]
    for item in _settable(configs[0]):
        cells = [_cell(getattr(config, item.name)) for config in configs]
        if len(set(cells)) > 1:
            lines.append(f"| `{item.name}` | {' | '.join(cells)} |")
    return lines


def _settable(config: Configuration) -> list[Field[Any]]:
    return [item for item in fields(config) if item.metadata["settable"]]


def _cell(value: object) -> str:
    return "empty" if value == "" else f"`{value}`"


def with_answer_fields(page: str) -> str:
    """Page with a fresh table of what an answer says between the markers."""
    rows = [
        f"| `{field.name}` | {_type_in_words(field.type)} | {field.meaning} |"
        for field in answer_fields(Prediction)
    ]
    head = ["<!-- answer fields -->", "| field | type | meaning |", "|---|---|---|"]
    table = "\n".join([*head, *rows, "<!-- end -->"])
    pattern = r"<!-- answer fields -->\n.*?<!-- end -->"
    return re.sub(pattern, lambda _: table, page, flags=re.DOTALL)


def _type_in_words(kind: Any) -> str:
    words = {str: "text", float: "number", bool: "boolean"}
    if kind in words:
        return words[kind]
    if get_origin(kind) is list:
        return f"list of {_type_in_words(get_args(kind)[0])}"
    return f"({', '.join(field.name for field in answer_fields(kind))})"


def main() -> None:
    """Write the files and name them."""
    answers = (ROOT / "docs/answers.md").read_text(encoding="utf-8")
    pages = {
        "MLproject": mlproject(),
        "conda.yaml": conda_yaml(),
        "docs/parameters.md": parameters_page(),
        "docs/answers.md": with_answer_fields(answers),
    }
    for name, text in pages.items():
        (ROOT / name).write_text(text, encoding="utf-8")
        print(f"wrote {name}")


if __name__ == "__main__":
    cli.run(main)
