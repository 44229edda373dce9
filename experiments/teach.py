"""`landmarks teach <folder>`: teach a registered model landmarks by a few photos each."""

import shlex

from landmark_ml.config import TeachConfig
from landmark_ml.training.teach import run_teaching


def main(config: TeachConfig) -> None:
    """Print what was taught, how much of it is found, and what to do next."""
    result = run_teaching(config)
    for name, count in result.photos.items():
        found = f"{result.found[name]} of {count} found when taught the others"
        print(f"taught      {name}: {found if count > 1 else '1 photo'}")
    version = result.registered
    print(f"registered  {version.name} version {version.version}, from {result.taught_from}")
    print(f"run         {result.location}")
    model = "" if version.name == "landmarks" else f" model={shlex.quote(version.name)}"
    print(f"\nnext: make promote{model} candidates={version.version} data=<its photos>")
