"""The figures of a study as one HTML page that needs no network."""

from __future__ import annotations

import html
import logging
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState
from plotly.offline import get_plotlyjs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna.study import Study
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

logger = logging.getLogger(__name__)

_FEWEST = 2
_SLICES_A_ROW = 4
_STYLE = (
    "body{font-family:system-ui,sans-serif;margin:2rem auto;max-width:1200px;padding:0 1rem;"
    "color:#222}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}p{color:#555}"
)


def study_page(study: Study, objectives: Sequence[str], headline: str) -> str:
    """Optuna's figures of a study: history, importance, parallel coordinates, slices, front.

    objectives: name and unit of each value, such as `val/top1`.
    """
    sections = [_section(*each) for each in _figures(study, objectives)]
    title = html.escape(f"Study {study.study_name}")
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        f"<style>{_STYLE}</style><script>{get_plotlyjs()}</script></head><body>"
        f"<h1>{title}</h1><p>{html.escape(headline)}</p>{''.join(sections)}</body></html>\n"
    )


def _figures(study: Study, objectives: Sequence[str]) -> list[tuple[str, str, Figure]]:
    """Title, what it shows, and the figure; those left out that so few trials cannot give."""
    done = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
    drawn: list[tuple[str, str, Figure]] = []
    if len(objectives) > 1 and done:
        drawn.append(
            (
                "Pareto front",
                "trials that no other beats in both",
                _plots().plot_pareto_front(study, target_names=list(objectives)),
            )
        )
    for index, name in enumerate(objectives):
        drawn += [
            (f"{title}: {name}", text, figure)
            for title, text, figure in _of_objective(study, done, index, name)
        ]
    drawn.append(
        ("Timeline", "when each trial ran and how it ended", _plots().plot_timeline(study))
    )
    return drawn


def _of_objective(
    study: Study, done: Sequence[FrozenTrial], index: int, name: str
) -> list[tuple[str, str, Figure]]:
    if len(done) < _FEWEST:
        return []
    target: Callable[[FrozenTrial], float] = lambda trial: trial.values[index]  # noqa: E731
    # Told of a target, Optuna draws no line of the best and colours the best lines palest.
    shared = {"target": target if len(study.directions) > 1 else None, "target_name": name}
    history = _plots().plot_optimization_history(study, **shared)
    figures = [("Optimisation history", "each trial, and the best so far", history)]
    if len({target(trial) for trial in done}) > 1:
        text = "share of the spread that a parameter explains (fANOVA)"
        figures.append(("Parameter importance", text, _importances(study, target, name)))
    varied = _varied(done)
    if varied:
        text = "one line a trial"
        lines = _plots().plot_parallel_coordinate(study, params=varied, **shared)
        figures.append(("Parallel coordinates", text, lines))
    for start in range(0, len(varied), _SLICES_A_ROW):
        row = varied[start : start + _SLICES_A_ROW]
        slices = _plots().plot_slice(study, params=row, **shared)
        text = "each parameter against the value, the later the trial the darker"
        figures.append(("Slices", text, slices))
    return figures


def _varied(done: Sequence[FrozenTrial]) -> list[str]:
    """Parameters that took more than one value; the others would only take room."""
    seen: dict[str, set[Any]] = {}
    for trial in done:
        for name, value in trial.params.items():
            seen.setdefault(name, set()).add(value)
    return sorted(name for name, values in seen.items() if len(values) > 1)


def _importances(study: Study, target: Callable[[FrozenTrial], float], name: str) -> Figure:
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return _plots().plot_param_importances(
        study, evaluator=evaluator, target=target, target_name=name
    )


def _section(title: str, text: str, figure: Figure) -> str:
    figure.update_layout(title=None, template="plotly_white", margin={"t": 20})
    body = figure.to_html(full_html=False, include_plotlyjs=False)
    return f"<h2>{html.escape(title)}</h2><p>{html.escape(text)}</p>{body}"


def _plots() -> Any:
    # Importing it imports pyplot, which nobody wants who only imports this module.
    import optuna.visualization  # noqa: PLC0415

    return optuna.visualization
