"""The house stays in order: who may import whom, what stays where, how long things get."""

from __future__ import annotations

import json
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import pytest

from tests.source_tree import ROOT, functions, imports, modules, own_imports

if TYPE_CHECKING:
    from pathlib import Path

LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "landmark_ml.artifact_layout",
        "landmark_ml.atomic_file",
        "landmark_ml.config",
        "landmark_ml.cpus",
        "landmark_ml.gazetteer",
        "landmark_ml.gazetteer_file",
        "landmark_ml.mlflow_errors",
        "landmark_ml.photos",
        "landmark_ml.places",
        "landmark_ml.system_names",
    ),
    (
        "landmark_ml.averaged_networks",
        "landmark_ml.batches",
        "landmark_ml.corruptions",
        "landmark_ml.datasets",
        "landmark_ml.devices",
        "landmark_ml.dropout",
        "landmark_ml.exact_muon",
        "landmark_ml.graph",
        "landmark_ml.held_signals",
        "landmark_ml.html_page",
        "landmark_ml.intervals",
        "landmark_ml.joined_network",
        "landmark_ml.landmark_cnn",
        "landmark_ml.layer_depths",
        "landmark_ml.metrics",
        "landmark_ml.models",
        "landmark_ml.network_size",
        "landmark_ml.paired_tests",
        "landmark_ml.postcards",
        "landmark_ml.preprocessing",
        "landmark_ml.processes",
        "landmark_ml.seeding",
        "landmark_ml.stacked_maps",
        "landmark_ml.temperature",
        "landmark_ml.transforms",
        "landmark_ml.weights",
    ),
    (
        "landmark_ml.backbone_graph",
        "landmark_ml.calibration",
        "landmark_ml.checkpoint",
        "landmark_ml.costs",
        "landmark_ml.engine",
        "landmark_ml.evaluated_photos",
        "landmark_ml.evaluation",
        "landmark_ml.evaluation_intervals",
        "landmark_ml.export",
        "landmark_ml.features",
        "landmark_ml.figures",
        "landmark_ml.findings",
        "landmark_ml.finetuning_checks",
        "landmark_ml.freezing",
        "landmark_ml.head",
        "landmark_ml.model_card",
        "landmark_ml.pixel_store",
        "landmark_ml.pixels",
        "landmark_ml.placement",
        "landmark_ml.resuming",
        "landmark_ml.robustness",
        "landmark_ml.served_process",
        "landmark_ml.shared_photos",
        "landmark_ml.succession",
        "landmark_ml.trainer",
    ),
    (
        "landmark_ml.evaluated_runs",
        "landmark_ml.evaluation_report",
        "landmark_ml.logged_models",
        "landmark_ml.phases",
        "landmark_ml.registry",
        "landmark_ml.reporting",
        "landmark_ml.spark_schema",
        "landmark_ml.tracking",
    ),
    (
        "landmark_ml.comparison",
        "landmark_ml.comparison_report",
        "landmark_ml.comparison_run",
        "landmark_ml.distributed_training",
        "landmark_ml.evaluation_figures",
        "landmark_ml.evaluation_page",
        "landmark_ml.evaluation_run",
        "landmark_ml.inspection",
        "landmark_ml.opened_run",
        "landmark_ml.promotion",
        "landmark_ml.training",
    ),
    ("landmark_ml.tuning",),
    ("serving",),
    ("experiments", "serving.cluster.__main__", "serving.tag"),
)
"""From the ground up: a module imports from its own layer and those before it, never after it.

A package stands for all its modules but those that are named themselves. What `serving` imports is
held shorter: SERVING_MAY_IMPORT.
"""

SERVED = "serving.predictor"
SERVING_MAY_IMPORT = (
    "landmark_ml.artifact_layout",
    "landmark_ml.cpus",
    "landmark_ml.graph",
    "landmark_ml.photos",
    "landmark_ml.preprocessing",
)
"""All of the library that serving may touch: it is shipped inside the model."""

CHAMPION = "serving.champion"
CHAMPION_MAY_IMPORT = ("landmark_ml.mlflow_errors",)
"""What loads from the registry, which is no part of a model, may touch besides."""

APP = "serving.app"
APP_MAY_IMPORT = ("landmark_ml.atomic_file", "landmark_ml.config", "landmark_ml.places")
"""What the web app, which runs where the whole project is installed, may touch besides."""

TAGGER = "serving.tagging"
TAGGER_MAY_IMPORT = (
    "landmark_ml.atomic_file",
    "landmark_ml.config",
    "landmark_ml.gazetteer",
    "landmark_ml.html_page",
    "landmark_ml.mlflow_errors",
    "landmark_ml.places",
    "landmark_ml.system_names",
    "landmark_ml.tracking",
)
"""What the tagger, which runs where the whole project is installed, may touch besides."""

CLUSTER = "serving.cluster"
CLUSTER_MAY_IMPORT = (*TAGGER_MAY_IMPORT, "serving.tagging")
"""What the cluster path, which is the tagger on more machines, may touch besides."""

ONLY_IN: dict[str, tuple[str, ...]] = {
    "mlflow": (
        "experiments.cli",
        "landmark_ml.evaluated_runs",
        "landmark_ml.logged_models",
        "landmark_ml.mlflow_errors",
        "landmark_ml.promotion",
        "landmark_ml.registry",
        "landmark_ml.spark_schema",
        "landmark_ml.succession",
        "landmark_ml.tracking",
        "landmark_ml.training",
        "landmark_ml.tuning.recording",
        "landmark_ml.tuning.tested_runs",
        "serving.app.run_link",
        "serving.champion",
        "serving.answering_process",
        "serving.landmark_model",
        "serving.tagging.loaded_version",
    ),
    "optuna": ("landmark_ml.tuning",),
    "plotly": ("landmark_ml.tuning",),
    "ray": ("serving.cluster.ray_workers",),
    "pyspark": (),
    "jinja2": ("landmark_ml.html_page",),
    "argparse": ("experiments.cli", "experiments.mlproject", "serving.query"),
    "fastapi": ("serving.app",),
    "matplotlib": ("landmark_ml.figures",),
    "timm": (
        "landmark_ml.exact_muon",
        "landmark_ml.freezing",
        "landmark_ml.landmark_cnn",
        "landmark_ml.layer_depths",
        "landmark_ml.models",
        "landmark_ml.processes",
        "landmark_ml.weights",
        "landmark_ml.trainer",
    ),
    "matplotlib.pyplot": (),
    "pickle": (),
}
"""Libraries that only these modules, or modules of these packages, may import at run time."""

NOT_IN_THE_SERVED_MODEL = ("torch", "timm", "matplotlib", "mlflow", "sklearn", "landmark_ml.models")
VAGUE_NAMES = ("util", "helper", "common", "misc", "manager")
MAX_FILE_LINES = 250
MAX_ENTRY_POINT_LINES = 80
MAX_FUNCTION_LINES = 40
MAX_ARGUMENTS = 7
ENTRY_POINT_SUPPORT = (
    "experiments.cli",
    "experiments.launch",
    "experiments.mlproject",
    "experiments.recipes",
    "experiments.sandbox",
)


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def layer(module: str) -> int:
    heights = {
        package: height
        for height, packages in enumerate(LAYERS)
        for package in packages
        if is_in(module, package)
    }
    if not heights:
        pytest.fail(f"{module} stands in no layer: place it in LAYERS of {__name__}")
    return heights[max(heights, key=len)]


LAYERED = [name for name in modules() if name != "landmark_ml"]
SERVING = [
    name for name in modules() if is_in(name, "serving") and layer(name) < layer("experiments")
]


def test_the_layers_name_modules_that_exist_once() -> None:
    named = [package for packages in LAYERS for package in packages]
    assert sorted(set(named)) == sorted(named)
    assert set(named) <= set(modules())


@pytest.mark.parametrize("module", LAYERED)
def test_imports_point_to_the_ground(module: str) -> None:
    height = layer(module)
    above = [name for name in own_imports(module) if layer(name) > height]
    assert not above, f"{module} imports from layers above its own"


@pytest.mark.parametrize("module", SERVING)
def test_serving_needs_little_of_the_library(module: str) -> None:
    more: tuple[str, ...] = TAGGER_MAY_IMPORT if is_in(module, TAGGER) else ()
    more += CHAMPION_MAY_IMPORT if is_in(module, CHAMPION) else ()
    more += APP_MAY_IMPORT if is_in(module, APP) else ()
    more += CLUSTER_MAY_IMPORT if is_in(module, CLUSTER) else ()
    foreign = [
        name
        for name in own_imports(module)
        if not any(is_in(name, allowed) for allowed in ("serving", *SERVING_MAY_IMPORT, *more))
    ]
    assert not foreign


def test_no_module_imports_itself_round_a_corner() -> None:
    graph = {module: set(own_imports(module)) for module in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("module", list(modules()))
def test_a_package_is_used_by_its_front_door(module: str) -> None:
    packages = [name for name, path in modules().items() if path.name == "__init__.py"]
    inner = [
        name
        for name in own_imports(module)
        for package in packages
        if package.count(".") == 1 and name.startswith(f"{package}.") and not is_in(module, package)
    ]
    assert not inner, f"{module} reaches past the names that a package gives out"


@pytest.mark.parametrize("library", ONLY_IN)
def test_libraries_stay_where_they_belong(library: str) -> None:
    users = {
        module
        for module in modules()
        for item in imports(module)
        if not item.type_only and is_in(item.name, library)
    }
    astray = [
        user for user in users if not any(is_in(user, allowed) for allowed in ONLY_IN[library])
    ]
    assert not astray


@pytest.mark.parametrize("module", list(modules()))
def test_files_and_functions_stay_short(module: str) -> None:
    path = modules()[module]
    lines = len(path.read_text(encoding="utf-8").splitlines())
    is_entry_point = is_in(module, "experiments") and module not in ENTRY_POINT_SUPPORT
    assert lines <= (MAX_ENTRY_POINT_LINES if is_entry_point else MAX_FILE_LINES)
    for function in functions(module):
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno < MAX_FUNCTION_LINES, function.name
        arguments = function.args
        count = len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs)
        is_method = bool(arguments.args) and arguments.args[0].arg in ("self", "cls")
        assert count - is_method <= MAX_ARGUMENTS, function.name


@pytest.mark.parametrize("module", list(modules()))
def test_names_say_what_is_inside(module: str) -> None:
    last = module.rpartition(".")[2]
    assert not [word for word in VAGUE_NAMES if word in last]


def ask_python(code: str, folder: Path) -> str:
    """Run code in a fresh interpreter that starts in a folder, and return what it printed."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"]
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_served_model_loads_nothing_that_trains(tmp_path: Path) -> None:
    code = f"import json, {SERVED}\nprint(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(ask_python(code, tmp_path))
    assert SERVED in loaded
    assert not set(NOT_IN_THE_SERVED_MODEL) & set(loaded)


def test_importing_the_library_does_nothing_else(tmp_path: Path) -> None:
    names = [name for name in modules() if is_in(name, "landmark_ml")]
    # Where rich is installed scikit-learn loads it, and rich draws a number for its own use.
    code = f"""
import importlib, json, logging, random, matplotlib, sklearn.metrics
handlers, level, state = list(logging.root.handlers), logging.root.level, random.getstate()
for name in {names}:
    importlib.import_module(name)
ours = [log for name, log in logging.root.manager.loggerDict.items() if "landmark_ml" in name]
print(json.dumps({{
    "root handlers": logging.root.handlers != handlers,
    "root level": logging.root.level != level,
    "own handlers": any(getattr(log, "handlers", None) for log in ours),
    "seeded": random.getstate() != state,
    "backend": matplotlib.get_backend(auto_select=False) is not None,
    "pyplot": "matplotlib.pyplot" in sys.modules,
}}))
"""
    effects = json.loads(ask_python(code, tmp_path))
    assert not [name for name, happened in effects.items() if happened]
    assert list(tmp_path.iterdir()) == []
