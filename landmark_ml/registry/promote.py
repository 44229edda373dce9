"""A promotion from beginning to end: judge, check the gates, write the receipt, move the alias."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import mlflow
from tqdm.auto import tqdm

from landmark_ml.data import split_digest
from landmark_ml.data.opening import open_dataset
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.registry.candidates import find_candidates
from landmark_ml.registry.champion import AliasHistory
from landmark_ml.registry.gates import check_gates
from landmark_ml.registry.history import counted, rolled_back
from landmark_ml.registry.judged import judge_version
from landmark_ml.registry.receipt import Receipt, Verdict, to_html, to_json, to_markdown
from landmark_ml.registry.requirements import check_requirements
from landmark_ml.tracking import run as tracking

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from landmark_ml.config import PromoteConfig
    from landmark_ml.data import Dataset
    from landmark_ml.registry.history import Entry
    from landmark_ml.tracking.run import Run

PAGE = "receipt.html"
# What `to_markdown` writes, but nothing that a person wrote under a similar heading.
_RECEIPT = re.compile(
    r"\s*^### Promotion: [^\n]*\s+Against [^\n]*\s+\| gate [^\n]*(?:\n\|[^\n]*)*", re.MULTILINE
)
_LONGEST_DESCRIPTION = 5000
_LONGEST_REASON = 1000


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
    with tracking.start_run(config, f"promote-{config.name}", {"kind": "promote"}) as run:
        history = AliasHistory(config.name)
        since, repaired = history.reconcile()
        back = rolled_back(counted(history.entries()))
        candidates = find_candidates(config.name, config.candidates, since.champion, back)
        dataset = open_dataset(config)
        run.log_manifest(dataset)
        receipt = _judge(candidates, since.champion, dataset, config, run)
        run.log_text(to_json(receipt), "receipt.json")
        run.log_text(to_html(receipt), PAGE)
        for verdict in receipt.verdicts:
            note_on_version(receipt, verdict)
            if not verdict.passed:
                reason = verdict.stopped_by[:_LONGEST_REASON]
                history.log_refusal(verdict.judged.version, since, reason, run.run_id)
        entry = None
        if receipt.winner:
            top1 = receipt.verdict(receipt.winner).judged.metrics["top1"]
            reason = config.reason or f"top-1 {top1:.4f} on {receipt.photos} test photos"
            entry = history.move("promote", receipt.winner, since, reason, run.run_id)
        run.set_tags({"outcome": "passed" if entry else "refused", "winner": str(receipt.winner)})
        sections = [to_markdown(receipt, verdict) for verdict in receipt.verdicts]
        run.describe("\n\n".join([receipt.conclusion, *sections]))
        return PromotionResult(receipt, run.artifact_uri(PAGE), run.location, entry, repaired)


def _judge(
    candidates: list[ModelVersion], champion: int, dataset: Dataset, config: PromoteConfig, run: Run
) -> Receipt:
    gazetteer = Gazetteer.of_dataset(dataset.root, config.places)
    versions = list(candidates)
    if champion:
        versions.insert(0, mlflow.MlflowClient().get_model_version(config.name, str(champion)))
    judged = [
        judge_version(version, dataset, gazetteer, config.threads)
        for version in tqdm(versions, desc="judge", unit="version", delay=1)
    ]
    best = judged.pop(0) if champion else None
    verdicts = []
    for challenger in judged:
        installable = check_requirements(challenger.requirements, wanted=config.check_requirements)
        gates = check_gates(
            challenger, best, config, challengers=len(judged), installable=installable
        )
        verdicts.append(Verdict(challenger, tuple(gates)))
    winner = max(
        (verdict.judged for verdict in verdicts if verdict.passed),
        key=lambda one: (one.metrics["top1"], -one.metrics["ms_per_photo"]),
        default=None,
    )
    return Receipt(
        name=config.name,
        at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        run_id=run.run_id,
        data=dataset.name,
        test_digest=split_digest(dataset.test, dataset.classes),
        photos=len(dataset.landmarks("test")),
        distractors=len(dataset.distractors("test")),
        champion=best,
        verdicts=tuple(verdicts),
        winner=winner.version if winner else 0,
        limits=asdict(config),
    )


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
    text = card.rstrip()[: _LONGEST_DESCRIPTION - len(section)] + section
    client.update_model_version(receipt.name, number, text[:_LONGEST_DESCRIPTION])
