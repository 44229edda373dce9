"""PhotoPrism's vision API, as it publishes it: the request for labels, and the answer it reads.

It sends one photo a request, whole or as up to three crops.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any, TypedDict, cast

from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from serving.app.answering import Upload
from serving.app.answers import Answers

LABELS_PATH = "/api/v1/vision/labels"
_PRIORITIES = {"landmark": 5, "city": 0, "country": -1}
"""On PhotoPrism's scale of -2 to 5; it makes titles of the label with the highest one."""
_MAX_VALUES = 10_000


class LabelsRequest(BaseModel):
    """Ask for the labels of a photo; PhotoPrism's other fields have no effect."""

    id: str | None = Field(None, max_length=255, description="comes back with the answer")
    images: list[str] = Field([], description="data URLs with base64; all show the same photo")


class Label(TypedDict):
    """What a photo shows."""

    name: Annotated[str, "the landmark, its city or its country"]
    source: Annotated[str, "always `image`: PhotoPrism's word for labels that a model found"]
    priority: Annotated[int, "PhotoPrism makes titles of the label with the highest one"]
    confidence: Annotated[float, "probability of the answer, 0 to 1"]
    topicality: Annotated[float, "as `confidence`"]
    categories: Annotated[list[str], "of a landmark its tags, else empty"]


class Labels(TypedDict):
    """Labels of one photo."""

    labels: Annotated[list[Label], "the finest one first; none for a photo without a landmark"]


class LabelsModel(TypedDict):
    """The version that answers, in PhotoPrism's words."""

    type: Annotated[str, "always `labels`"]
    name: Annotated[str, "registered model"]
    version: Annotated[str, "its version"]


class LabelsAnswer(TypedDict):
    """Answer to one request of PhotoPrism."""

    id: Annotated[str | None, "the request's `id`"]
    code: Annotated[int, "status, 200"]
    model: Annotated[LabelsModel, "the version that answered"]
    result: Annotated[Labels, "what the photo shows"]


class LabelsProblem(TypedDict):
    """Why a request of PhotoPrism got no answer."""

    code: Annotated[int, "status"]
    error: Annotated[str, "what is wrong and what to do"]


def read_images(uploads: Sequence[Upload], max_images: int) -> list[Upload]:
    """Decode the images of a request for labels, each under the `id` of the request.

    uploads: the body. Raises HTTPException: 413 for too many images, 400 for a request that cannot
    be read or that names an address.
    """
    body = uploads[0].photo
    try:
        # A short text of many empty lists would fill the memory; base64 holds none of these signs.
        if sum(map(body.count, (b",", b"[", b"{"))) > _MAX_VALUES:
            raise HTTPException(400, f"the JSON has over {_MAX_VALUES:,} values; send images alone")
        request = LabelsRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        reason = f"{where} cannot be read: {first['msg']}; send JSON with a list of `images`"
        raise HTTPException(400, reason) from None
    if not request.images:
        raise HTTPException(400, "the request has no images; send at least one")
    if len(request.images) > max_images:
        raise HTTPException(413, f"the request has more than {max_images} images; send fewer")
    photos = []
    for number, address in enumerate(request.images, start=1):
        kind, _, coded = address.partition(";base64,")
        try:
            if not kind.startswith("data:"):
                raise ValueError("this server opens no address")
            photos.append(Upload(request.id, base64.b64decode(coded, validate=True)))
        except ValueError as error:
            fix = "set FileScheme: data and RequestFormat: vision in PhotoPrism's vision.yml"
            reason = f"image {number} is no data URL with base64: {error}; {fix}"
            raise HTTPException(400, reason) from None
    return photos


def label_photo(answers: Answers) -> LabelsAnswer:
    """Turn the answers for the images of one photo into its labels, by the surest of them.

    Raises HTTPException for an image that was refused.
    """
    for number, photo in enumerate(answers["photos"], start=1):
        if refusal := photo["error"]:
            raise HTTPException(400, f"image {number}: {refusal['reason']} ({refusal['code']})")
    surest = max(answers["photos"], key=lambda photo: (bool(photo["level"]), photo["confidence"]))
    labels: dict[str, Label] = {}
    for level, priority in _PRIORITIES.items():
        # Singapore is a city and a country.
        if (name := cast("dict[str, Any]", surest)[level]) and name not in labels:
            labels[name] = Label(
                name=name,
                source="image",
                priority=priority,
                confidence=surest["confidence"] or 0.0,
                topicality=surest["confidence"] or 0.0,
                categories=(surest["tags"] or []) if level == "landmark" else [],
            )
    model = answers["model"]
    return LabelsAnswer(
        id=surest["name"],
        code=200,
        model=LabelsModel(type="labels", name=model["name"], version=str(model["version"])),
        result=Labels(labels=list(labels.values())),
    )
