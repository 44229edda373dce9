"""The receipt of a promotion: who was judged on what, gate by gate, as JSON, HTML and Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from landmark_ml.evaluation.metrics import METRICS, shown, summary_names
from landmark_ml.evaluation.significance import differences_by_class
from landmark_ml.figures.comparison import bootstrap_difference, class_wins
from landmark_ml.figures.confidence import reliability_diagram
from landmark_ml.figures.html import Picture, render
from landmark_ml.registry.gates import PASSED, GateResult, class_losses, compare_answers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd
    from matplotlib.figure import Figure

    from landmark_ml.evaluation.predictions import Predictions
    from landmark_ml.registry.judged import Judged

_SCHEMA_VERSION = 1
_TEMPLATE = "receipt.html"


@dataclass(frozen=True, eq=False)
class Verdict:
    """A challenger and how it did at each gate."""

    judged: Judged
    gates: tuple[GateResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate was passed; one that was not checked was not."""
        return all(gate.outcome == PASSED for gate in self.gates)

    @property
    def stopped_by(self) -> str:
        """Gates that were not passed, with what was measured; empty when all were."""
        stops = [gate for gate in self.gates if gate.outcome != PASSED]
        return "; ".join(f"{gate.name} {gate.outcome}: {gate.measured}" for gate in stops)


@dataclass(frozen=True, eq=False)
class Receipt:
    """All that a promotion rests on. winner: the version that passed and is best, 0 for none.

    at: ISO 8601, UTC. limits: the gates' configuration. Photos are those of the test side.
    """

    name: str
    at: str
    run_id: str
    data: str
    test_digest: str
    photos: int
    distractors: int
    champion: Judged | None
    verdicts: tuple[Verdict, ...]
    winner: int
    limits: Mapping[str, Any]

    def verdict(self, version: int) -> Verdict:
        """Verdict over one of the challengers."""
        return next(found for found in self.verdicts if found.judged.version == version)

    @property
    def conclusion(self) -> str:
        """The outcome in a sentence."""
        against = f"champion version {self.champion.version}" if self.champion else "no champion"
        if self.winner:
            return f"Version {self.winner} passed every gate against {against}."
        tried = ", ".join(str(verdict.judged.version) for verdict in self.verdicts)
        return f"Refused: version {tried} did not pass every gate against {against}."


def to_json(receipt: Receipt) -> str:
    """Receipt for programs: every number, no picture."""
    champion = receipt.champion
    content = {
        "schema_version": _SCHEMA_VERSION,
        "conclusion": receipt.conclusion,
        **{key: getattr(receipt, key) for key in ("name", "at", "run_id", "winner")},
        **{key: getattr(receipt, key) for key in ("data", "test_digest", "photos", "distractors")},
        "champion": _measured(champion) if champion else None,
        "challengers": [
            _measured(verdict.judged)
            | {"passed": verdict.passed, "gates": [asdict(gate) for gate in verdict.gates]}
            | {"landmarks": _losses(verdict.judged, champion)}
            for verdict in receipt.verdicts
        ],
        "limits": dict(receipt.limits),
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def to_html(receipt: Receipt) -> str:
    """Receipt as one page that needs nothing else, with the figures of each comparison."""
    sections = [
        {"verdict": verdict, "rows": _metric_rows(verdict.judged, receipt.champion)}
        | {"pictures": list(_pictures(verdict.judged, receipt.champion))}
        for verdict in receipt.verdicts
    ]
    measured = {name for verdict in receipt.verdicts for name in verdict.judged.metrics}
    meanings = [METRICS[name] for name in summary_names(measured)]
    return render(_TEMPLATE, receipt=receipt, sections=sections, meanings=meanings)


def to_markdown(receipt: Receipt, verdict: Verdict) -> str:
    """Section for the description of a version, shown in the MLflow UI."""
    outcome = "passed every gate" if verdict.passed else "refused"
    against = f"champion version {receipt.champion.version}" if receipt.champion else "no champion"
    rows = [
        f"| {gate.name} | {gate.outcome} | {_cell(gate.measured)} | {_cell(gate.asked)} |"
        for gate in verdict.gates
    ]
    return "\n".join(
        [
            f"### Promotion: {outcome}",
            "",
            f"Against {against} on {receipt.photos} test photos of landmarks and"
            f" {receipt.distractors} of none, {receipt.at}. Receipt: run `{receipt.run_id}`.",
            "",
            "| gate | outcome | measured | asked for |",
            "|---|---|---|---|",
            *rows,
        ]
    )


def _measured(judged: Judged) -> dict[str, Any]:
    names = ("version", "run_id", "megabytes", "pickles", "requirements", "seen", "problem")
    return {name: getattr(judged, name) for name in names} | {"metrics": dict(judged.metrics)}


def _losses(challenger: Judged, champion: Judged | None) -> list[dict[str, Any]]:
    both = _both(challenger, champion)
    return [asdict(loss) for loss in class_losses(*both)] if both else []


def _metric_rows(challenger: Judged, champion: Judged | None) -> list[tuple[str, str, str]]:
    before = champion.metrics if champion else {}
    return [
        (METRICS[name].caption, shown(challenger.metrics, name), shown(before, name))
        for name in summary_names(challenger.metrics)
    ]


def _pictures(challenger: Judged, champion: Judged | None) -> Iterator[Picture]:
    for heading, figure in _figures(challenger, champion):
        yield Picture.of(heading, figure)


def _figures(challenger: Judged, champion: Judged | None) -> Iterator[tuple[str, Figure]]:
    both = _both(challenger, champion)
    if both:
        gap = compare_answers(*both)
        yield (
            "Paired bootstrap (#1: challenger, #2: champion)",
            bootstrap_difference(gap.resampled, (gap.low, gap.high), gap.difference),
        )
        wins = class_wins(_wins(*both), "the challenger", "the champion")
        yield "Landmark by landmark", wins
    for who, judged in (("challenger", challenger), ("champion", champion)):
        if judged and judged.predictions:
            answers = judged.predictions
            shows = answers.shows_landmark
            yield (
                f"Calibration of the {who}",
                reliability_diagram(
                    answers.confidence[shows], answers.correct[shows], ece=judged.metrics["ece"]
                ),
            )


def _both(challenger: Judged, champion: Judged | None) -> tuple[Predictions, Predictions] | None:
    if champion is None or champion.predictions is None or challenger.predictions is None:
        return None
    return challenger.predictions, champion.predictions


def _wins(challenger: Predictions, champion: Predictions) -> pd.DataFrame:
    shows = challenger.shows_landmark
    landmarks = [challenger.classes[label] for label in challenger.labels[shows]]
    return differences_by_class(landmarks, challenger.correct[shows], champion.correct[shows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:300]
