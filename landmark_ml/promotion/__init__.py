"""Promotion with evidence: who is judged, the gates, the receipt, and the way back."""

from landmark_ml.promotion.gates import FAILED, NOT_CHECKED, PASSED, GateResult, check_gates
from landmark_ml.promotion.judged import Judged
from landmark_ml.promotion.promoting import PromotionResult, run_promotion
from landmark_ml.promotion.receipt import Receipt, Verdict
from landmark_ml.promotion.rolling_back import RollbackResult, roll_back, tell_history

__all__ = [
    "FAILED",
    "NOT_CHECKED",
    "PASSED",
    "GateResult",
    "Judged",
    "PromotionResult",
    "Receipt",
    "RollbackResult",
    "Verdict",
    "check_gates",
    "roll_back",
    "run_promotion",
    "tell_history",
]
