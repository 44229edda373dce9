"""The review page: what the tagger said of a library, to be accepted or corrected by people.

`serve_review` runs it on a port; `create_review` builds the ASGI application alone. Decisions go to
`landmark_ml.corrections`, which the tagger, teaching and training read.
"""

from __future__ import annotations

import getpass
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, Field
from scipy.sparse import csr_array
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from landmark_ml.config import ReviewConfig, user_path
from landmark_ml.corrections import (
    CORRECTIONS,
    MAX_NAME,
    Choice,
    Correction,
    append_corrections,
    read_corrections,
)
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.inference.photos import PhotoError
from serving.app.application import Metrics, guarded
from serving.app.server import listening
from serving.tagging.corrected import decisions_on
from serving.tagging.gallery import GALLERY, THUMBNAILS, find_or_make_thumbnail, thumbnail
from serving.tagging.immich import CHANGES
from serving.tagging.journal import Journal
from serving.tagging.library import Tagged, printable
from serving.tagging.tagger import JOURNAL

_LARGE_SIDE = 1600
_SECONDS_TO_END = 10
_MOST_USEFUL = 100
"""Photos that the page offers in this order where nobody says how many."""
_AT_ONCE = 1000


class Proposal(NamedTuple):
    """What accepting an answer means: the photo shows `landmark`, or none where that is empty.

    id: of the photo on the page, whose number would change while the tagger finds more. confidence:
    of `landmark`; None for no landmark. doubt: the larger, the sooner people should look.
    """

    id: str
    photo: Tagged
    landmark: str
    place: str
    confidence: float | None
    doubt: float

    @property
    def candidates(self) -> list[tuple[str, float]]:
        """Names and confidences, best first."""
        found = self.photo.answer["candidates"] or []
        return [(one["landmark"], one["confidence"]) for one in found]


def propose(photo: Tagged) -> Proposal:
    """Turn an answer into a proposal; where it names a city or country, into its best landmark."""
    answer, known = photo.answer, hashlib.sha256(os.fsencode(photo.path)).hexdigest()[:16]
    if not answer["is_landmark"] or not answer["candidates"]:
        return Proposal(known, photo, "", "", None, answer["landmark_score"] or 0.0)
    best = answer["candidates"][0]
    place = ", ".join(filter(None, (best["city"], best["country"])))
    sure = best["confidence"]
    return Proposal(known, photo, best["landmark"], place, sure, 1 - sure)


Order = Literal["least_sure", "most_useful"]
Group = tuple[str, str, list[Proposal]]
"""Title, place and photos."""


def least_sure(proposals: Iterable[Proposal]) -> list[Group]:
    """Group photos by landmark: the most doubtful landmark first, photos without one last."""
    groups: dict[str, list[Proposal]] = {}
    for proposal in sorted(proposals, key=lambda proposal: -proposal.doubt):
        groups.setdefault(proposal.landmark, []).append(proposal)
    none = groups.pop("", [])
    ranked = sorted(groups.values(), key=lambda group: -sum(photo.doubt for photo in group))
    found = [(group[0].landmark, group[0].place, group) for group in ranked]
    return [*found, ("No known landmark", "", none)] if none else found


def most_useful(answers: Sequence[Sequence[tuple[str, float]]], count: int) -> list[int]:
    """At most count of the answers, by number: first the one whose correction helps most.

    answers: of each photo the likeliest landmarks and their probabilities, best first; what is left
    of 1 counts as one more outcome, that it is none of them. Asked about are photos whose two
    likeliest outcomes are near each other (margin sampling: Scheffer et al., Active hidden Markov
    models for information extraction, 2001) and whose outcomes are unlike those of all photos
    chosen before (as in Sener and Savarese, Active learning for convolutional neural networks: a
    core-set approach, ICLR 2018, with the Hellinger distance of outcomes). So of a burst of photos
    one is asked about, and no landmark takes all the places.
    """
    numbers: dict[str, int] = {"": 0}
    rows, columns, chances = list[int](), list[int](), list[float]()
    margins = np.ones(len(answers))
    for row, answer in enumerate(answers):
        outcomes = {**dict(answer), "": max(0.0, 1 - sum(chance for _, chance in answer))}
        rows += [row] * len(outcomes)
        columns += [numbers.setdefault(name, len(numbers)) for name in outcomes]
        chances += outcomes.values()
        best, second = sorted([0.0, *outcomes.values()])[:-3:-1]
        margins[row] = best - second
    shape = len(answers), len(numbers)
    roots = csr_array((np.sqrt(chances), (rows, columns)), shape=shape)
    # How much a photo would teach, and how unlike all chosen before it is, at most 1.
    worth, unlike, chosen = 1 - margins, np.ones(len(answers)), list[int]()
    while len(chosen) < min(count, len(answers)):
        gain = worth * unlike
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        likeness = roots @ roots[[chosen[-1]]].toarray()[0]
        unlike = np.minimum(unlike, np.maximum(1 - likeness, 0))
    return chosen


class Decision(BaseModel):
    """What a person decided on a photo of the page."""

    photo: str
    decision: Choice
    right: str = Field("", max_length=MAX_NAME)


class Review:
    """The photos of a tagged library, and the decisions on them.

    Raises ValueError when `out` holds no journal, when its library is not there, or for a
    corrections file that cannot be read.
    """

    def __init__(self, config: ReviewConfig) -> None:
        self._out = user_path(config.out)
        if not (self._out / JOURNAL).is_file():
            raise ValueError(f"out={self._out} holds no {JOURNAL}; tag first: make tag photos=…")
        with Journal(self._out / JOURNAL, again=False) as journal:
            root = user_path(config.photos) if config.photos else journal.root
        if (self._out / CHANGES).is_file():
            raise ValueError(
                f"out={self._out} is of an Immich server, whose photos this page cannot show;"
                " correct them in Immich: the tagger leaves what you change"
            )
        if root is None or not root.is_dir():
            raise ValueError(f"photos={root} is not a folder; name where the photos are now")
        self.root = root.resolve()
        self.corrections = (
            user_path(config.corrections) if config.corrections else self._out / CORRECTIONS
        )
        self._by, self._most_useful = config.by or getpass.getuser(), config.most_useful
        self._photos: dict[str, Tagged] = {}
        self.describe()

    def describe(self, order: Order | None = None) -> dict[str, Any]:
        """All that the page shows: groups of photos in order, and what is decided on each.

        order: by landmark, the least sure first, or without groups those that are open and most
        useful to correct; None: as the configuration says.
        """
        order = order or ("most_useful" if self._most_useful else "least_sure")
        most = self._most_useful or _MOST_USEFUL
        with Journal(self._out / JOURNAL, again=False) as journal:
            answered = list(journal.answers())
        proposals = [propose(photo) for photo in answered if photo.answer["error"] is None]
        decided = read_corrections(self.corrections) if self.corrections.exists() else {}
        find_decision = decisions_on(answered, decided)
        names = {name for proposal in proposals for name, _ in proposal.candidates}
        names |= {place.name for place in Gazetteer.load().places()}
        names |= {decision.right for decision in decided.values() if decision.right}
        self._photos = {proposal.id: proposal.photo for proposal in proposals}

        if order == "least_sure":
            groups = least_sure(proposals)
        else:
            waiting = [proposal for proposal in proposals if not find_decision(proposal.photo)]
            chosen = most_useful([proposal.candidates for proposal in waiting], most)
            groups = [("Most useful to correct", "", [waiting[number] for number in chosen])]

        def shown(proposal: Proposal) -> dict[str, Any]:
            photo, decision = proposal.photo, find_decision(proposal.photo)
            return {
                "id": proposal.id,
                "path": printable(photo.path),
                "burst": photo.burst,
                "said": photo.answer["landmark"] or "",
                "proposal": proposal.landmark,
                "confidence": proposal.confidence,
                "candidates": proposal.candidates,
                "decision": decision.decision if decision else "",
                "right": decision.right if decision else "",
            }

        return {
            "library": printable(Path(self.root.name or self.root)),
            "corrections": printable(self.corrections),
            "order": order,
            "orders": {"least_sure": "Least sure first", "most_useful": f"{most:,} most useful"},
            "refused": len(answered) - len(proposals),
            "names": sorted(names, key=str.casefold),
            "groups": [
                {"name": name, "place": place, "photos": [shown(photo) for photo in photos]}
                for name, place, photos in groups
            ],
        }

    def decide(self, decisions: Sequence[Decision]) -> None:
        """Store decisions on photos as the tagger saw them.

        Raises HTTPException for a photo that is not of the library or a decision that cannot be,
        OSError where the disk refuses; nothing is stored then.
        """
        rows = []
        for decision in decisions:
            photo = self._find(decision.photo)
            path, said = printable(self.root / photo.path), photo.answer["landmark"] or ""
            row = photo.sha256, path, said, decision.decision, decision.right.strip(), self._by
            rows.append(Correction(*row))
        try:
            append_corrections(self.corrections, rows)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    def picture(self, photo: str, size: str) -> Response:
        """JPEG of a photo. Raises HTTPException for one that is not of the library, or unreadable.

        size: `small`, kept among the gallery's thumbnails, or `large`.
        """
        path, headers = self._find(photo).path, {"Cache-Control": "private, max-age=600"}
        folder = self._out / GALLERY / THUMBNAILS
        try:
            if size == "large":
                content = thumbnail(self.root / path, _LARGE_SIDE)
                return Response(content, media_type="image/jpeg", headers=headers)
            name = find_or_make_thumbnail(path, self.root, folder)
            return FileResponse(folder / name, headers=headers)
        except (PhotoError, OSError) as error:
            raise HTTPException(404, "the photo cannot be read") from error

    def _find(self, photo: str) -> Tagged:
        # No path of a client is ever opened: a photo is asked for by what stands in the journal.
        if photo not in self._photos:
            raise HTTPException(404, "there is no such photo; load the page again")
        return self._photos[photo]


def create_review(review: Review, config: ReviewConfig, *, token: str = "") -> FastAPI:
    """Build the ASGI application of the page. token: what /api requires; empty: none."""
    app = FastAPI(title="landmark-ml review", openapi_url=None)

    @app.get("/api/review")
    def photos(order: Order | None = None) -> Response:
        return JSONResponse(review.describe(order))

    @app.get("/api/photo/{photo}")
    def picture(photo: str, size: Literal["small", "large"] = "small") -> Response:
        return review.picture(photo, size)

    @app.post("/api/review")
    def decide(
        request: Request, decisions: Annotated[list[Decision], Field(max_length=_AT_ONCE)]
    ) -> Response:
        # A page of another site can send a form or plain text unasked, but not this type.
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise HTTPException(415, "send decisions as application/json")
        review.decide(decisions)
        return JSONResponse({"stored": len(decisions)})

    return guarded(app, {"/": "review.html"}, config, token, Metrics())


def serve_review(config: ReviewConfig, started: Callable[[str], None]) -> None:
    """Serve the page until SIGINT or SIGTERM; started: called with its address.

    Raises as `Review` and `listening` do.
    """
    review = Review(config)
    with listening(config) as (run, token):
        run(create_review(review, config, token=token), started, _SECONDS_TO_END)
