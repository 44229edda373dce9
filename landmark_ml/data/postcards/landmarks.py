"""The table of postcard landmarks: what draws each and where it may stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from landmark_ml.data.postcards.monuments import golden_gate_bridge, itsukushima_torii, parthenon
from landmark_ml.data.postcards.palaces import sydney_opera_house, taj_mahal
from landmark_ml.data.postcards.stones import pyramids_of_giza, stonehenge
from landmark_ml.data.postcards.towers import (
    big_ben,
    christ_the_redeemer,
    eiffel_tower,
    leaning_tower,
    statue_of_liberty,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from landmark_ml.data.postcards.pen import Pen


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to draw: its width in heights, the ground it stands on, what may be centred."""

    draw: Callable[[Pen], None]
    width: float
    grounds: tuple[str, ...]
    mirrors: bool = True
    focus: tuple[float, ...] = (0.0,)


SUBJECTS: dict[str, Subject] = {
    "Big Ben": Subject(big_ben, 0.5, ("plaza", "water", "grass")),
    "Christ the Redeemer": Subject(christ_the_redeemer, 1.0, ("forest", "water"), mirrors=False),
    "Eiffel Tower": Subject(eiffel_tower, 0.45, ("grass", "plaza", "water")),
    "Golden Gate Bridge": Subject(
        golden_gate_bridge, 3.0, ("water",), focus=(-0.8, -0.5, 0.0, 0.5, 0.8)
    ),
    "Itsukushima Torii": Subject(itsukushima_torii, 1.4, ("water", "water", "sand")),
    "Leaning Tower of Pisa": Subject(leaning_tower, 0.4, ("grass", "plaza")),
    "Parthenon": Subject(parthenon, 2.1, ("sand", "grass", "rock"), focus=(0.0, 0.2)),
    "Pyramids of Giza": Subject(pyramids_of_giza, 2.8, ("sand",), focus=(-0.1, 0.4)),
    "Statue of Liberty": Subject(
        statue_of_liberty, 0.55, ("water", "plaza", "grass"), mirrors=False
    ),
    "Stonehenge": Subject(stonehenge, 2.6, ("grass", "grass", "snow"), focus=(-0.5, 0.0, 0.5)),
    "Sydney Opera House": Subject(sydney_opera_house, 2.4, ("water",), focus=(-0.2, 0.1)),
    "Taj Mahal": Subject(taj_mahal, 2.0, ("grass", "water", "plaza")),
}
