"""Ask the served model about a photo, and say its answer in words."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import requests

from landmark_ml.inference.prediction import Candidate, Prediction, position_of

_TIMEOUT_SECONDS = 60


class QueryError(ValueError):
    """The server did not answer; the message says why and what to do."""


def ask(photo: Path, url: str, params: dict[str, Any] | None = None) -> Prediction:
    """Send one photo to `mlflow models serve` and return its answer.

    Raises QueryError when the server is not there, refuses or answers with something else, OSError
    when the photo cannot be read.
    """
    encoded = base64.b64encode(photo.read_bytes()).decode("ascii")
    # The cheapest form of request that carries parameters: MLflow does not build a table for it.
    payload: dict[str, Any] = {"inputs": [encoded]}
    if params:
        payload["params"] = params
    address = f"{url.rstrip('/')}/invocations"
    try:
        with open_session(address) as session:
            response = session.post(address, json=payload, timeout=_TIMEOUT_SECONDS)
    except requests.ConnectionError:
        raise QueryError(f"nothing answers at {url}; start the server with: make serve") from None
    except requests.RequestException as error:
        raise QueryError(f"asking {url} failed: {error}; check the address") from None
    if not response.ok:
        raise QueryError(f"{url} refused with status {response.status_code}: {response.text[:500]}")
    try:
        answer = response.json()["predictions"][0]
        fields = {name: answer[name] for name in Prediction.__annotations__}
    except (ValueError, KeyError, IndexError, TypeError):
        raise QueryError(
            f"{url} answered in another form than a landmark model: {response.text[:200]}"
        ) from None
    return cast(Prediction, fields)


def open_session(address: str) -> requests.Session:
    """Open a session that asks no proxy for an address on this machine.

    A company's proxy would get the photos, and cannot reach servers here.
    """
    session, host = requests.Session(), urlsplit(address).hostname or ""
    with contextlib.suppress(ValueError):
        session.trust_env = not (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    return session


def describe(photo: str, answer: Prediction) -> str:
    """Format the answer for one photo as lines of text."""
    if answer["error"] is not None:
        return f"{photo}\n  no answer   {answer['error']['code']}: {answer['error']['reason']}"
    lines = [photo]
    place = _place(answer)
    if not answer["is_landmark"]:
        lines.append(f"  landmark    none that I know (score {answer['landmark_score']:.1%})")
    elif answer["level"] == "landmark":
        lines.append(f"  landmark    {answer['landmark']}  ({answer['confidence']:.1%})")
        lines += [f"  place       {place}"] if place else []
    else:
        lines.append("  landmark    not sure which")
        lines.append(f"  place       {place}  ({answer['confidence']:.1%})")
    if position := position_of(answer):
        where = "{:.4f}, {:.4f}".format(*position)
        lines.append(f"  location    {where}  (from {answer['location_source']})")
    if answer["tags"]:
        lines.append(f"  tags        {', '.join(answer['tags'])}")
    lines.append("  candidates")
    for candidate in answer["candidates"] or []:
        place = _place(candidate)
        name = f"{candidate['landmark']} ({place})" if place else candidate["landmark"]
        lines.append(f"    {candidate['confidence']:6.1%}  {name}")
    return "\n".join(lines)


def _place(named: Prediction | Candidate) -> str:
    return ", ".join(part for part in (named["city"], named["country"]) if part)
