"""The end of a search: the best configuration trained, tested once and put up as challenger."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd
from optuna.trial import FixedTrial

from landmark_ml.config import TrainConfig, canonical, user_path
from landmark_ml.registry.register import register_challenger, version_of_run
from landmark_ml.training.resume import config_digest
from landmark_ml.training.run import run_training
from landmark_ml.tuning.space import suggest_config
from landmark_ml.tuning.study import best_trial, running, started, summary
from landmark_ml.tuning.study_figures import study_page
from landmark_ml.tuning.tested_runs import find_tested, tags_of_tested_run, take_unfinished

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from landmark_ml.config import TuneConfig
    from landmark_ml.tuning.recording import StudyRun

CONCLUSION = "conclusion"
_UNITS = {"top1": "val/top1", "latency": "latency, ms", "size": "size, MB"}


@dataclass(frozen=True)
class Winner:
    """The best trial, trained on all training data: what `TrainResult` says of it."""

    trial: int
    run_id: str
    model_uri: str
    metrics: dict[str, float]
    registered: str
    version: int


def conclude(config: TuneConfig, study: Study, parent: StudyRun) -> Winner:
    """Report a study, and train and test its best configuration unless that was done before.

    Called by one worker at a time. Raises StudyError when no trial was completed.
    """
    best = best_trial(study)
    chosen = winning_config(config, best)
    command = reproduce(chosen)
    report(config, study, parent, command)
    known = study.user_attrs.get(CONCLUSION)
    same = ("trial", best.number), ("registered", config.register)
    if known is not None and all(known[name] == value for name, value in same):
        winner = Winner(**known)
    else:
        winner = _find_winner(chosen, best, parent) or _train_winner(chosen, best, parent)
        study.set_user_attr(CONCLUSION, asdict(winner))
    parent.log(
        {k: v for k, v in winner.metrics.items() if k.startswith("test/")}, len(started(study))
    )
    parent.set_tags({"best_run": winner.run_id})
    parent.mark("RUNNING" if running(study) else "FINISHED")
    return winner


def report(config: TuneConfig, study: Study, parent: StudyRun, command: str) -> None:
    """Leave in the parent run what the trials showed so far."""
    best = best_trial(study)
    names = [_UNITS[name] for name in config.objectives.split(",")]
    counts = ", ".join(f"{count} {state}" for state, count in summary(study).items())
    headline = f"{counts}; best val/top1 {best.values[0]:.4f} in trial {best.number}"
    parent.log_text(study_page(study, names, headline), "study.html")
    parent.log_text(study.trials_dataframe().to_csv(index=False), "trials.csv")
    parent.log_text(command + "\n", "reproduce.sh")
    if len(names) > 1:
        front = [
            {"trial": t.number, **dict(zip(names, t.values, strict=True)), **t.params}
            for t in study.best_trials
        ]
        parent.log_text(pd.DataFrame(front).to_csv(index=False), "pareto_front.csv")
    states = {f"tune/{state}": float(count) for state, count in summary(study).items()}
    parent.log(
        {"tune/best_top1": best.values[0], "tune/trials": float(len(started(study))), **states},
        len(started(study)),
    )
    parent.set_tags({"best_trial": str(best.number)})
    values = {name: canonical(value) for name, value in best.params.items()}
    parent.set_parameters("best", values)
    rows = "\n".join(f"| `{name}` | {value} |" for name, value in values.items())
    parent.describe(
        f"{headline}.\n\n| parameter | value |\n|---|---|\n{rows}\n\n"
        f"Train it again:\n\n```sh\n{command}\n```\n"
    )


def winning_config(config: TuneConfig, best: FrozenTrial) -> TrainConfig:
    """What the best trial trained, refitted and registered as the user said."""
    values = suggest_config(FixedTrial(best.params), config)
    return replace(values, refit=config.refit, register=config.register)


def reproduce(config: TrainConfig) -> str:
    """Command that trains a configuration again."""
    default = asdict(TrainConfig())
    flags = [
        f"-P {name}={shlex.quote(canonical(value))}"
        for name, value in asdict(config).items()
        if value != default[name]
    ]
    return " ".join(["mlflow run . --env-manager local -e transfer", *flags])


def _find_winner(chosen: TrainConfig, best: FrozenTrial, parent: StudyRun) -> Winner | None:
    """What a process made that was killed before it could note in the study that it had."""
    found = find_tested(parent, best.number, config_digest(chosen))
    if found is None:
        return None
    version = version_of_run(chosen.register, found.run_id) if chosen.register else 0
    registered = chosen.register if version else ""
    return Winner(best.number, found.run_id, found.model_uri, found.metrics, registered, version)


def _train_winner(chosen: TrainConfig, best: FrozenTrial, parent: StudyRun) -> Winner:
    """Train, test and register the best configuration, in the run that a killed process began."""
    begun = take_unfinished(parent, best.number, config_digest(chosen), user_path(chosen.cache_dir))
    with parent.experiment():
        result = run_training(
            replace(chosen, resume=begun or ""),
            nominate=register_challenger,
            tags=tags_of_tested_run(parent, best.number),
        )
    registered = result.registered
    return Winner(
        best.number,
        result.run_id,
        result.model_uri,
        result.metrics,
        registered.name if registered else "",
        registered.version if registered else 0,
    )
