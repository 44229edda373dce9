"""A promotion from beginning to end: judge, check the gates, write the receipt, move the alias."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import mlflow
from tqdm.auto import tqdm

from landmark_ml.data import NOT_A_LANDMARK, split_digest
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
    from landmark_ml.registry.judged import Judged
    from landmark_ml.tracking.run import Run

PAGE = "receipt.html"
_JSON = "receipt.json"
# What `to_markdown` writes, and nothing that a person wrote under a heading like it.
_RECEIPT = re.compile(
    r"\s*^### Promotion: [^\n]*\s+Against [^\n]*\s+\| gate [^\n]*(?:\n\|[^\n]*)*", re.MULTILINE
)
_LONGEST_DESCRIPTION = 5000


@dataclass(frozen=True, eq=False)
class PromotionResult:
    """The receipt, where it lies, the move it led to (None: refused), and what was repaired."""

    receipt: Receipt
    page: str
    location: str
    entry: Entry | None
    repaired: list[str]


def run_promotion(config: PromoteConfig) -> PromotionResult:
    """Judge the challengers and the champion on the same photos; the best that passes takes over.

    Raises ValueError when there is nobody or nothing to judge, ConflictError when the champion
    was moved meanwhile: the receipt then stands, and nothing has changed.
    """
    with tracking.start_run(config, f"promote-{config.name}", {"kind": "promote"}) as run:
        history = AliasHistory(config.name)
        since, repaired = history.reconcile()
        back = rolled_back(counted(history.entries()))
        candidates = find_candidates(config.name, config.candidates, since.champion, back)
        dataset = open_dataset(config)
        run.log_manifest(dataset)
        receipt = _judge(candidates, since, dataset, config, run)
        run.log_text(to_json(receipt), _JSON)
        run.log_text(to_html(receipt), PAGE)
        for verdict in receipt.verdicts:
            _sign(receipt, verdict)
        entry = _conclude(history, since, receipt, config, run)
        return PromotionResult(receipt, run.artifact_uri(PAGE), run.location, entry, repaired)


def _judge(
    candidates: list[ModelVersion],
    since: Entry,
    dataset: Dataset,
    config: PromoteConfig,
    run: Run,
) -> Receipt:
    gazetteer = Gazetteer.of_dataset(dataset.root, config.places)
    versions = list(candidates)
    if since.champion:
        champion = mlflow.MlflowClient().get_model_version(config.name, str(since.champion))
        versions.insert(0, champion)
    judged = [
        judge_version(version, dataset, gazetteer, config.threads)
        for version in tqdm(versions, desc="judge", unit="version", delay=1)
    ]
    best = judged.pop(0) if since.champion else None
    verdicts = tuple(_check(one, best, config, len(judged)) for one in judged)
    passed = [verdict.judged for verdict in verdicts if verdict.passed]
    winner = max(passed, key=_merit).version if passed else 0
    return Receipt(
        name=config.name,
        at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        run_id=run.run_id,
        data=dataset.name,
        test_digest=split_digest(dataset.test, dataset.classes),
        photos=len(dataset.landmarks("test")),
        distractors=sum(photo.label == NOT_A_LANDMARK for photo in dataset.test),
        champion=best,
        verdicts=verdicts,
        winner=winner,
        limits=asdict(config),
    )


def _check(
    challenger: Judged, champion: Judged | None, config: PromoteConfig, challengers: int
) -> Verdict:
    installable = check_requirements(challenger.requirements, wanted=config.check_requirements)
    gates = check_gates(
        challenger, champion, config, challengers=challengers, installable=installable
    )
    return Verdict(challenger, tuple(gates))


def _merit(judged: Judged) -> tuple[float, float]:
    return judged.metrics["top1"], -judged.metrics["ms_per_photo"]


def _sign(receipt: Receipt, verdict: Verdict) -> None:
    """Leave the outcome on the version, readable in the MLflow UI."""
    client, number = mlflow.MlflowClient(), str(verdict.judged.version)
    tags = {
        "promotion": "passed" if verdict.passed else "refused",
        "promotion.receipt": receipt.run_id,
        "promotion.at": receipt.at,
        "promotion.against": str(receipt.champion.version) if receipt.champion else "none",
        "promotion.stopped_by": verdict.stopped_by[:1000],
    }
    for key, value in tags.items():
        client.set_model_version_tag(receipt.name, number, key, value)
    # A receipt takes the place of the one before; what a person wrote around that stays.
    card = _RECEIPT.sub("", client.get_model_version(receipt.name, number).description or "")
    section = "\n\n" + to_markdown(receipt, verdict)
    text = card.rstrip()[: _LONGEST_DESCRIPTION - len(section)] + section
    client.update_model_version(receipt.name, number, text[:_LONGEST_DESCRIPTION])


def _conclude(
    history: AliasHistory, since: Entry, receipt: Receipt, config: PromoteConfig, run: Run
) -> Entry | None:
    """Move the alias, or write the refusals down, and say so on the run."""
    entry = None
    for verdict in receipt.verdicts:
        if not verdict.passed:
            reason, version = verdict.stopped_by[:1000], verdict.judged.version
            history.log_refusal(version, since, reason, run.run_id)
    if receipt.winner:
        metrics = receipt.verdict(receipt.winner).judged.metrics
        reason = config.reason or f"top-1 {metrics['top1']:.4f} on {receipt.photos} test photos"
        entry = history.move("promote", receipt.winner, since, reason, run.run_id)
    run.set_tags({"outcome": "passed" if entry else "refused", "winner": str(receipt.winner)})
    sections = [to_markdown(receipt, verdict) for verdict in receipt.verdicts]
    run.describe("\n\n".join([receipt.conclusion, *sections]))
    return entry
