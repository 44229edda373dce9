"""The report of a study in its parent run: figures, tables, and the command that trains the best.

The figures are Optuna's, on one HTML page that needs no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import TrialState
from plotly.offline import get_plotlyjs

from landmark_ml.figures.html import render
from landmark_ml.tuning.recording import BEST_TRIAL
from landmark_ml.tuning.study import best_trial, started, summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from optuna.study import Study
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

    from landmark_ml.config import TuneConfig
    from landmark_ml.tuning.recording import StudyRun

_CAPTIONS = {"top1": "val/top1", "latency": "latency, ms", "size": "size, MB"}
_SLICES_PER_ROW = 4


def log_report(config: TuneConfig, study: Study, parent: StudyRun, command: str) -> None:
    """Log what the trials showed so far. command: trains the best configuration again.

    Raises StudyError when no trial was completed.
    """
    best, count = best_trial(study), len(started(study))
    objectives = [_CAPTIONS[name] for name in config.objectives.split(",")]
    states = summary(study)
    counts = ", ".join(f"{number} {state}" for state, number in states.items())
    headline = f"{counts}; best val/top1 {best.values[0]:.4f} in trial {best.number}"
    texts = {
        "study.html": study_page(study, objectives, headline),
        "trials.csv": study.trials_dataframe().to_csv(index=False),
        "reproduce.sh": command + "\n",
    }
    if len(objectives) > 1:
        front = [
            {"trial": t.number, **dict(zip(objectives, t.values, strict=True)), **t.params}
            for t in study.best_trials
        ]
        texts["pareto_front.csv"] = pd.DataFrame(front).to_csv(index=False)
    for path, text in texts.items():
        mlflow.MlflowClient().log_text(parent.run_id, text, path)
    totals = {"tune/best_top1": best.values[0], "tune/trials": float(count)}
    parent.log(totals | {f"tune/{state}": float(n) for state, n in states.items()}, count)
    values = {name: str(value) for name, value in best.params.items()}
    parent.set_best_params(values)
    rows = "\n".join(f"| `{name}` | {value} |" for name, value in values.items())
    note = (
        f"{headline}.\n\n| parameter | value |\n|---|---|\n{rows}\n\n"
        f"Train it again:\n\n```sh\n{command}\n```\n"
    )
    parent.set_tags({BEST_TRIAL: str(best.number), MLFLOW_RUN_NOTE: note})


def study_page(study: Study, objectives: Sequence[str], headline: str) -> str:
    """HTML page of a study: Pareto front, history, importance, parallel coordinates, slices.

    objectives: caption of each value, such as `val/top1`.
    """
    sections = []
    for title, text, figure in _figures(study, objectives):
        figure.update_layout(title=None, template="plotly_white", margin={"t": 20})
        body = figure.to_html(full_html=False, include_plotlyjs=False)
        sections.append({"title": title, "text": text, "figure": body})
    return render(
        "study.html",
        name=study.study_name,
        headline=headline,
        sections=sections,
        plotly=get_plotlyjs(),
    )


def _figures(study: Study, objectives: Sequence[str]) -> Iterator[tuple[str, str, Figure]]:
    """Title, caption and figure; figures that need more trials than there are are left out."""
    # Imports matplotlib's pyplot, which only a report needs.
    import optuna.visualization as plots  # noqa: PLC0415

    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(objectives) > 1 and done:
        front = plots.plot_pareto_front(study, target_names=list(objectives))
        yield "Pareto front", "trials that no other trial beats in both objectives", front
    seen: dict[str, set[Any]] = {}
    for trial in done:
        for name, value in trial.params.items():
            seen.setdefault(name, set()).add(value)
    varied = sorted(name for name, values in seen.items() if len(values) > 1)
    for index, objective in enumerate(objectives if len(done) > 1 else ()):

        def target(trial: FrozenTrial, index: int = index) -> float:
            return float(trial.values[index])

        # With a target, Optuna draws no line of the best and colours the best trials palest.
        shared: dict[str, Any] = {"target_name": objective}
        if len(objectives) > 1:
            shared["target"] = target
        history = plots.plot_optimization_history(study, **shared)
        yield f"Optimisation history: {objective}", "each trial, and the best so far", history
        if len({target(trial) for trial in done}) > 1:
            importances = plots.plot_param_importances(
                study,
                evaluator=FanovaImportanceEvaluator(seed=0),
                target=target,
                target_name=objective,
            )
            text = "share of the variance that a parameter explains (fANOVA)"
            yield f"Parameter importance: {objective}", text, importances
        if varied:
            lines = plots.plot_parallel_coordinate(study, params=varied, **shared)
            yield f"Parallel coordinates: {objective}", "one line per trial", lines
        for start in range(0, len(varied), _SLICES_PER_ROW):
            row = varied[start : start + _SLICES_PER_ROW]
            slices = plots.plot_slice(study, params=row, **shared)
            yield (
                f"Slices: {objective}",
                "each parameter against the value; later is darker",
                slices,
            )
    yield "Timeline", "when each trial ran and how it ended", plots.plot_timeline(study)
