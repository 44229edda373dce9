"""The receipt of a promotion: who was judged on what, gate by gate, as JSON, HTML and Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from landmark_ml.evaluation.metrics import METRICS, shown, summary_names
from landmark_ml.figures.comparison import bootstrap_difference, class_wins
from landmark_ml.figures.html import Picture, render
from landmark_ml.figures.results import reliability_diagram
from landmark_ml.registry.gates import (
    GateResult,
    class_losses,
    compare_answers,
    compare_classes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from landmark_ml.evaluation.judge import Predictions
    from landmark_ml.registry.judged import Judged

_SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class Verdict:
    """A challenger and how it did at each gate."""

    judged: Judged
    gates: tuple[GateResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate was passed; `not checked` is not passed."""
        return all(gate.outcome == "passed" for gate in self.gates)

    @property
    def stopped_by(self) -> str:
        """Gates that were not passed, with what was measured; empty when all were."""
        stops = [gate for gate in self.gates if gate.outcome != "passed"]
        return "; ".join(f"{gate.name} {gate.outcome}: {gate.measured}" for gate in stops)


@dataclass(frozen=True, eq=False)
class Receipt:
    """The evidence of a promotion. winner: the best version that passed, 0 for none.

    at: ISO 8601, UTC. photos, distractors: test photos with and without a landmark. limits: the
    configuration of the promotion.
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
        """Verdict on one of the challengers."""
        return next(found for found in self.verdicts if found.judged.version == version)

    @property
    def against(self) -> str:
        """What the challengers were compared with."""
        return f"champion version {self.champion.version}" if self.champion else "no champion"

    @property
    def conclusion(self) -> str:
        """The outcome in a sentence."""
        if self.winner:
            return f"Version {self.winner} passed every gate against {self.against}."
        tried = ", ".join(str(verdict.judged.version) for verdict in self.verdicts)
        return f"Refused: version {tried} did not pass every gate against {self.against}."


def to_json(receipt: Receipt) -> str:
    """Receipt for programs: every number, no picture."""

    def measured(judged: Judged) -> dict[str, Any]:
        names = ("version", "run_id", "megabytes", "pickles", "requirements", "seen", "problem")
        facts = {name: getattr(judged, name) for name in names}
        return facts | {"metrics": dict(judged.metrics)}

    challengers = []
    for verdict in receipt.verdicts:
        both = _both(verdict, receipt)
        challenger = measured(verdict.judged) | {
            "passed": verdict.passed,
            "gates": [asdict(gate) for gate in verdict.gates],
            "landmarks": [asdict(loss) for loss in class_losses(*both)] if both else [],
        }
        challengers.append(challenger)
    facts = ("name", "at", "run_id", "winner", "data", "test_digest", "photos", "distractors")
    content = {
        "schema_version": _SCHEMA_VERSION,
        "conclusion": receipt.conclusion,
        **{name: getattr(receipt, name) for name in facts},
        "champion": measured(receipt.champion) if receipt.champion else None,
        "challengers": challengers,
        "limits": dict(receipt.limits),
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def to_html(receipt: Receipt) -> str:
    """Receipt as one page that needs nothing else, with the figures of each comparison."""
    before = receipt.champion.metrics if receipt.champion else {}
    sections = []
    for verdict in receipt.verdicts:
        now = verdict.judged.metrics
        rows = [
            (METRICS[name].caption, shown(now, name), shown(before, name))
            for name in summary_names(now)
        ]
        pictures = list(_pictures(verdict, receipt))
        sections.append({"verdict": verdict, "rows": rows, "pictures": pictures})
    measured = {name for verdict in receipt.verdicts for name in verdict.judged.metrics}
    meanings = [METRICS[name] for name in summary_names(measured)]
    return render("receipt.html", receipt=receipt, sections=sections, meanings=meanings)


def to_markdown(receipt: Receipt, verdict: Verdict) -> str:
    """Section for the description of a version, shown in the MLflow UI."""

    def cell(text: str) -> str:
        return text.replace("|", "\\|").replace("\n", " ")[:300]

    outcome = "passed every gate" if verdict.passed else "refused"
    rows = [
        f"| {gate.name} | {gate.outcome} | {cell(gate.measured)} | {cell(gate.asked)} |"
        for gate in verdict.gates
    ]
    return "\n".join(
        [
            f"### Promotion: {outcome}",
            "",
            f"Against {receipt.against} on {receipt.photos} landmark photos and"
            f" {receipt.distractors} without a landmark, {receipt.at}."
            f" Receipt: run `{receipt.run_id}`.",
            "",
            "| gate | outcome | measured | asked for |",
            "|---|---|---|---|",
            *rows,
        ]
    )


def _both(verdict: Verdict, receipt: Receipt) -> tuple[Predictions, Predictions] | None:
    """Answers of a challenger and of the champion, when both could be judged."""
    challenger, champion = verdict.judged.predictions, receipt.champion
    if challenger is None or champion is None or champion.predictions is None:
        return None
    return challenger, champion.predictions


def _pictures(verdict: Verdict, receipt: Receipt) -> Iterator[Picture]:
    both = _both(verdict, receipt)
    if both:
        yield Picture.of(
            "Paired bootstrap (#1: challenger, #2: champion)",
            bootstrap_difference(compare_answers(*both)),
        )
        wins = class_wins(compare_classes(*both), "the challenger", "the champion")
        yield Picture.of("Landmark by landmark", wins)
    for who, judged in (("challenger", verdict.judged), ("champion", receipt.champion)):
        if judged and judged.predictions:
            answers = judged.predictions
            shows = answers.shows_landmark
            yield Picture.of(
                f"Calibration of the {who}",
                reliability_diagram(
                    answers.confidence[shows], answers.correct[shows], ece=judged.metrics["ece"]
                ),
            )
