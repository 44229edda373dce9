"""A promotion from beginning to end: judge, check the gates, write the receipt, move the alias.

The receipt is the evidence: who was judged on what, gate by gate, as JSON, HTML and Markdown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion

from landmark_ml.config import PromoteConfig
from landmark_ml.console import Bar, counted, listed
from landmark_ml.corrections import REJECTED, read_corrections
from landmark_ml.data import Dataset, split_digest
from landmark_ml.data.opening import open_dataset
from landmark_ml.data.places import open_gazetteer
from landmark_ml.evaluation.metrics import (
    METRICS,
    calibration_bins,
    expected_calibration_error,
    measure,
    shown,
    summary_names,
)
from landmark_ml.evaluation.significance import landmark_wins
from landmark_ml.figures.html import Picture, render
from landmark_ml.figures.results import Answer, photos_of_one, reliability_diagram
from landmark_ml.registry.candidates import Judged, find_candidates, judge_version
from landmark_ml.registry.comparison import (
    Comparison,
    Spending,
    class_losses,
    earlier_test_photos,
)
from landmark_ml.registry.gates import GateResult, check_gates, check_requirements
from landmark_ml.registry.history import (
    LONGEST_DESCRIPTION,
    ROLLED_BACK,
    AliasHistory,
    Entry,
    rolled_back,
)
from landmark_ml.tracking import run as tracking
from landmark_ml.tracking.read_runs import differing_params, find_run
from landmark_ml.tracking.run import Run

PAGE = "receipt.html"
_SCHEMA_VERSION = 2
# What `to_markdown` writes, but nothing that a person wrote under a similar heading.
_RECEIPT = re.compile(
    r"\s*^### Promotion: [^\n]*\s+Against [^\n]*\s+\| gate [^\n]*(?:\n\|[^\n]*)*", re.MULTILINE
)
_LONGEST_REASON = 1000


@dataclass(frozen=True, eq=False)
class Verdict:
    """A challenger and how it did at each gate.

    comparison, spending: with the champion on the same photos, and how often these have decided;
    None unless both could be judged.
    """

    judged: Judged
    gates: tuple[GateResult, ...]
    comparison: Comparison | None
    spending: Spending | None

    @property
    def passed(self) -> bool:
        """Whether no gate stopped it."""
        return not self.stopped_by

    @property
    def stopped_by(self) -> str:
        """Gates that stopped it, with what was measured; empty when none did."""
        stops = [gate for gate in self.gates if gate.stops]
        return "; ".join(f"{gate.name} {gate.outcome}: {gate.measured}" for gate in stops)

    @property
    def rank(self) -> tuple[float, float]:
        """Order of those that passed, the best last: gain over the champion, then speed."""
        gain = self.judged.metrics["top1"]
        if self.comparison:
            first, second = self.comparison.right
            gain = float(first.mean() - second.mean())
        return gain, -self.judged.metrics["ms_per_photo"]


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
    def judged_on(self) -> str:
        """How many photos of each kind."""
        landmarks = counted(self.photos, "landmark photo")
        return f"{landmarks} and {self.distractors:,} without a landmark"

    @property
    def conclusion(self) -> str:
        """The outcome in a sentence."""
        if self.winner:
            return f"Version {self.winner} passed every gate against {self.against}."
        tried = ", ".join(str(verdict.judged.version) for verdict in self.verdicts)
        return f"Refused: version {tried} did not pass every gate against {self.against}."


@dataclass(frozen=True, eq=False)
class PromotionResult:
    """The receipt, where it lies, the move it led to (None: refused), and what was repaired."""

    receipt: Receipt
    page: str
    location: str
    entry: Entry | None
    repaired: list[str]


def run_promotion(config: PromoteConfig) -> PromotionResult:
    """Judge challengers and champion on the same photos; the best that passes becomes champion.

    Raises ValueError when there is nothing to judge, ConflictError when the champion was moved
    meanwhile: the receipt is then logged, and nothing has changed.
    """
    with tracking.start_run(config, f"promote-{config.model}", {"kind": "promote"}) as run:
        history = AliasHistory(config.model)
        entries, since, repaired = history.read()
        back = rolled_back(entries)
        candidates = find_candidates(config.model, config.candidates, since.champion, back)
        dataset = open_dataset(config)
        run.log_manifest(dataset)
        receipt = _judge(candidates, since.champion, entries, dataset, config, run)
        mlflow.log_text(to_json(receipt), "receipt.json")
        mlflow.log_text(to_html(receipt), PAGE)
        for verdict in receipt.verdicts:
            note_on_version(receipt, verdict)
            if not verdict.passed:
                reason = verdict.stopped_by[:_LONGEST_REASON]
                history.log_refusal(verdict.judged.version, since, reason, run.run_id)
        entry = None
        if receipt.winner:
            found = receipt.verdict(receipt.winner).judged.metrics
            said = f"top-1 {found['top1']:.4f} on {found['photos']:.0f} test photos"
            reason = config.reason or said
            entry = history.move("promote", receipt.winner, since, reason, run.run_id)
            if receipt.winner in back:
                client, number = mlflow.MlflowClient(), str(receipt.winner)
                client.delete_model_version_tag(config.model, number, ROLLED_BACK)
        run.set_tags({"outcome": "passed" if entry else "refused", "winner": str(receipt.winner)})
        sections = [to_markdown(receipt, verdict) for verdict in receipt.verdicts]
        run.describe("\n\n".join([receipt.conclusion, *sections]))
        page = mlflow.get_artifact_uri(PAGE)
        return PromotionResult(receipt, page, run.location, entry, repaired)


def _judge(
    candidates: list[ModelVersion],
    champion: int,
    entries: list[Entry],
    dataset: Dataset,
    config: PromoteConfig,
    run: Run,
) -> Receipt:
    gazetteer = open_gazetteer(dataset, config.places)
    versions = list(candidates)
    if champion:
        versions.insert(0, mlflow.MlflowClient().get_model_version(config.model, str(champion)))
    decided = read_corrections(named=config.corrections).items()
    corrected = {sha256 for sha256, row in decided if row.decision != REJECTED}
    judged = [
        judge_version(version, dataset, gazetteer, config.threads, corrected)
        for version in Bar(versions, desc="judge", unit=" versions")
    ]
    best = judged.pop(0) if champion else None
    test = frozenset(photo.sha256 for photo in dataset.test)
    numbers = [int(version.version) for version in candidates]
    earlier = earlier_test_photos(entries, champion, numbers, test) if best else []
    verdicts = []
    for challenger in judged:
        installable = check_requirements(challenger.requirements, wanted=config.check_requirements)
        comparison = spending = None
        alpha = config.alpha
        if best and best.predictions and challenger.predictions:
            comparison = Comparison.of(challenger.predictions, best.predictions, corrected)
            spending = Spending.of(config.alpha, earlier, comparison.photos)
            # The best of many looks better than it is: Bonferroni.
            alpha = spending.now / len(judged)
        gates = check_gates(
            challenger, best, comparison, config, alpha=alpha, installable=installable
        )
        verdicts.append(Verdict(challenger, tuple(gates), comparison, spending))
    winner = max(
        (verdict for verdict in verdicts if verdict.passed),
        key=lambda verdict: verdict.rank,
        default=None,
    )
    return Receipt(
        name=config.model,
        at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        run_id=run.run_id,
        data=dataset.name,
        test_digest=split_digest(dataset.test, dataset.classes),
        photos=len(dataset.landmarks("test")),
        distractors=len(dataset.distractors("test")),
        champion=best,
        verdicts=tuple(verdicts),
        winner=winner.judged.version if winner else 0,
        limits=asdict(config),
    )


def explain(verdict: Verdict, receipt: Receipt) -> list[str]:
    """What was compared, what could not be checked, and what the same photos may still decide."""
    lines, comparison, champion = [], verdict.comparison, receipt.champion
    if comparison:
        shows = comparison.challenger.shows_landmark
        landmarks = len(set(comparison.challenger.labels[shows].tolist()))
        lines.append(
            f"Compared on {counted(shows.sum(), 'photo')} of {counted(landmarks, 'landmark')} that"
            f" both know and {(~shows).sum():,} of no landmark."
        )
        for names, what in (
            (comparison.added, "New, known to the challenger alone"),
            (comparison.removed, "Known to the champion alone"),
        ):
            if names:
                lines.append(f"{what}: {listed(names, 10)}.")
    for who, judged in (("challenger", verdict.judged), ("champion", champion)):
        if judged is None:
            continue
        if judged.learned:
            lines.append(
                f"Left out: {counted(judged.learned, 'test photo')} that the {who} was trained on"
                " or chosen by, or nearly the same."
            )
        if judged.learned is None:
            lines.append(f"Not checked: whether the {who} learned from some of these photos.")
    if comparison and receipt.limits.get("corrections"):
        table = corrected_photos(verdict, champion)
        right = [sum(table[side] == table["people"]) for side in ("challenger", "champion")]
        lines.append(
            f"Of {counted(len(table), 'photo')} that people corrected and neither learned, the"
            f" challenger answers {right[0]:,} as they do, the champion {right[1]:,}. The two are"
            " compared on others, because people look where the champion errs."
            if len(table)
            else "No corrected photo is known to be new to both; correct some more to compare them"
            " on those."
        )
    if spending := verdict.spending:
        used = f"{spending.uses:.1f}".removesuffix(".0")
        shared = f", shared by {count} challengers" if (count := len(receipt.verdicts)) > 1 else ""
        lines.append(
            "Earlier promotions on these photos, each counted by the share of them that it used:"
            f" {used}. So alpha is {spending.now:.2g} now{shared}, and {spending.left:.2g} is left"
            " for all later ones. New test photos renew it."
        )
        if spending.unread:
            lines.append(
                "Not checked: earlier promotions whose test photos cannot be read any more"
                f" ({spending.unread}); they count in full."
            )
    return lines


def corrected_photos(verdict: Verdict, champion: Judged | None) -> pd.DataFrame:
    """Corrected photos that neither learned: file, what people, challenger and champion say."""
    now, before = verdict.judged.corrected, champion.corrected if champion else {}
    rows = [
        (photo.path.name, *now[photo], before[photo][1])
        for photo in sorted(now.keys() & before.keys(), key=lambda photo: photo.path)
    ]
    return pd.DataFrame(rows, columns=["photo", "people", "challenger", "champion"])


def note_on_version(receipt: Receipt, verdict: Verdict) -> None:
    """Write the outcome on the version as tags and a table, readable in the MLflow UI."""
    client, number = mlflow.MlflowClient(), str(verdict.judged.version)
    tags = {
        "promotion": "passed" if verdict.passed else "refused",
        "promotion.receipt": receipt.run_id,
        "promotion.at": receipt.at,
        "promotion.against": str(receipt.champion.version) if receipt.champion else "none",
        "promotion.stopped_by": verdict.stopped_by[:_LONGEST_REASON],
    }
    for key, value in tags.items():
        client.set_model_version_tag(receipt.name, number, key, value)
    # The new receipt replaces the old one; what a person wrote around it stays.
    card = _RECEIPT.sub("", client.get_model_version(receipt.name, number).description or "")
    section = "\n\n" + to_markdown(receipt, verdict)
    text = card.rstrip()[: LONGEST_DESCRIPTION - len(section)] + section
    client.update_model_version(receipt.name, number, text[:LONGEST_DESCRIPTION])


def to_json(receipt: Receipt) -> str:
    """Receipt for programs: every number, no picture."""

    def measured(judged: Judged) -> dict[str, Any]:
        names = ("version", "run_id", "megabytes", "pickles", "requirements", "problem", "learned")
        return {name: getattr(judged, name) for name in names} | {"metrics": dict(judged.metrics)}

    challengers = []
    for verdict in receipt.verdicts:
        comparison, spending = verdict.comparison, verdict.spending
        challenger = measured(verdict.judged) | {
            "passed": verdict.passed,
            "gates": [asdict(gate) for gate in verdict.gates],
            "explained": explain(verdict, receipt),
            "landmarks": [asdict(loss) for loss in class_losses(comparison)] if comparison else [],
            "added": comparison.added if comparison else [],
            "removed": comparison.removed if comparison else [],
        }
        if spending:
            challenger["alpha"] = {**asdict(spending), "now": spending.now, "left": spending.left}
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
    sections, measured = [], set[str]()
    for verdict in receipt.verdicts:
        now, before = dict(verdict.judged.metrics), dict[str, float]()
        if verdict.comparison and receipt.champion:
            now, before = (
                measure(answers) | {"ms_per_photo": judged.metrics["ms_per_photo"]}
                for answers, judged in (
                    (verdict.comparison.challenger, verdict.judged),
                    (verdict.comparison.champion, receipt.champion),
                )
            )
        measured |= now.keys()
        rows = [
            (METRICS[name].caption, (shown(now, name), shown(before, name)))
            for name in summary_names(now)
        ]
        # What the two are called, everywhere on the page.
        champion = f"version {receipt.champion.version} (champion)" if receipt.champion else "none"
        sides = f"version {verdict.judged.version}", champion
        ids = [verdict.judged.run_id, receipt.champion.run_id if receipt.champion else ""]
        runs = {run_id: find_run(run_id) for run_id in ids if run_id}
        params = [run.data.params if run else {} for run in runs.values()]
        people = corrected_photos(verdict, receipt.champion)
        other = people[["challenger", "champion"]].ne(people["people"], axis=0).any(axis=1)
        missed = people[other].replace("", "no landmark")
        sections.append(
            {
                "verdict": verdict,
                "sides": sides,
                # A run that is gone has no page.
                "runs": [
                    (run_id, tracking.page_of(run_id, run.info.experiment_id) if run else "")
                    for run_id, run in runs.items()
                ],
                "differing": differing_params(params) if all(ids) else {},
                "rows": rows,
                "wins": landmark_wins(verdict.comparison.by_landmark(), *sides)
                if verdict.comparison
                else None,
                "missed": missed.set_axis(["photo", "people", *sides], axis=1),
                "pictures": list(_pictures(verdict, sides)),
                "explained": explain(verdict, receipt),
            }
        )
    meanings = [METRICS[name] for name in summary_names(measured)]
    return render(PAGE, receipt=receipt, sections=sections, meanings=meanings)


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
            f"Against {receipt.against} on {receipt.judged_on}, {receipt.at}."
            f" Receipt: run `{receipt.run_id}`. {' '.join(explain(verdict, receipt))}",
            "",
            "| gate | outcome | measured | asked for |",
            "|---|---|---|---|",
            *rows,
        ]
    )


def _pictures(verdict: Verdict, sides: tuple[str, str]) -> Iterator[Picture]:
    answers = [verdict.judged.predictions] if verdict.judged.predictions else []
    if comparison := verdict.comparison:
        answers = [comparison.challenger, comparison.champion]
        for heading, right, wrong in (("Photos won", 0, 1), ("Photos lost", 1, 0)):
            rows = np.flatnonzero(answers[right].correct & ~answers[wrong].correct).tolist()
            mistakes = [
                Answer(
                    path=comparison.challenger.photos[row].path,
                    label=answers[wrong].classes[answers[wrong].labels[row]],
                    said=answers[wrong].classes[answers[wrong].best[row]],
                    named=True,
                    confidence=float(answers[wrong].confidence[row]),
                )
                for row in rows
            ]
            if mistakes:
                yield Picture.of(heading, photos_of_one(mistakes, sides[right], sides[wrong]))
    for who, found in zip(sides, answers, strict=False):
        if found.shows_landmark.any():
            shows = found.shows_landmark
            confidence, correct = found.confidence[shows], found.correct[shows]
            ece = expected_calibration_error(confidence, correct)
            drawn = reliability_diagram(calibration_bins(confidence, correct), ece=ece)
            yield Picture.of(f"Calibration of {who}", drawn)
