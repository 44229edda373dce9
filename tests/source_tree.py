"""The project's own source, read without importing it: modules, imports and functions."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("landmark_ml", "experiments", "serving")


@dataclass(frozen=True)
class Import:
    """A dotted name that a module imports; type_only: under `if TYPE_CHECKING`."""

    name: str
    type_only: bool


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name; a package stands for its `__init__`."""
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return {_dotted(path): path for path in paths}


@cache
def imports(module: str) -> tuple[Import, ...]:
    """Everything a module imports, wherever the statement stands."""
    return tuple(_imports(_tree(module), type_only=False))


def own_imports(module: str) -> dict[str, Import]:
    """Those imports that are modules of the project, a name of a module counting as the module."""
    found: dict[str, Import] = {}
    for item in imports(module):
        name = item.name if item.name in modules() else item.name.rpartition(".")[0]
        if name in modules() and name not in PACKAGES:
            earlier = found.get(name, item)
            found[name] = Import(name, item.type_only and earlier.type_only)
    return found


def functions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a module, nested ones too."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def texts(module: str) -> Iterator[str]:
    """Every text of a module that is no docstring; of an f-string what is between its values."""
    tree = _tree(module)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    for node in constants:
        if isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(node: ast.AST, *, type_only: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, type_only) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            raise AssertionError(f"relative import in line {node.lineno}: name the whole module")
        yield from (Import(f"{node.module}.{alias.name}", type_only) for alias in node.names)
    for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, type_only=type_only or for_types)
