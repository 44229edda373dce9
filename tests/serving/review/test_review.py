"""The server of the review page: what it shows, what it stores, and whom it refuses."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from landmark_ml.config import ReviewConfig
from landmark_ml.corrections import read_corrections
from serving.review import Review, create_review
from tests.serving.review.conftest import made_up, write_tagged


def shown(client: TestClient) -> dict[str, dict[str, Any]]:
    """Photos of the page by path."""
    groups = client.get("/api/review").json()["groups"]
    return {photo["path"]: photo for group in groups for photo in group["photos"]}


def decide(client: TestClient, path: str, decision: str, right: str = "") -> None:
    body = [{"photo": shown(client)[path]["id"], "decision": decision, "right": right}]
    response = client.post("/api/review", json=body)
    assert response.status_code == 200, response.text


def test_photos_stand_by_landmark_the_least_sure_first(client: TestClient) -> None:
    page = client.get("/api/review").json()
    groups = {group["name"]: [p["path"] for p in group["photos"]] for group in page["groups"]}
    assert list(groups.items()) == [
        ("Eiffel Tower", [f"paris/tower {number}.jpg" for number in (1, 2, 0)]),
        ("Château d'If", ["castle.jpg"]),
        ("No known landmark", ["blue.jpg", "white.jpg"]),
    ]
    assert [group["place"] for group in page["groups"]] == ["Paris, France", "France", ""]
    assert page["refused"] == 1
    assert {"Eiffel Tower", "Nowhere", "Taj Mahal"} <= set(page["names"])


def test_decisions_stand_in_the_file_and_on_the_next_page(
    client: TestClient, config: ReviewConfig, tmp_path: Path
) -> None:
    decide(client, "paris/tower 0.jpg", "landmark", "Eiffel Tower")
    decide(client, "paris/tower 1.jpg", "landmark", "Tokyo Tower")
    decide(client, "castle.jpg", "rejected")
    decide(client, "white.jpg", "no_landmark")
    with (tmp_path / "tags/corrections.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    photo = tmp_path / "photos/paris/tower 1.jpg"
    assert rows[1] | {"when": ""} == {
        "sha256": hashlib.sha256(photo.read_bytes()).hexdigest(),
        "path": str(photo),
        "said": "Eiffel Tower",
        "decision": "landmark",
        "right": "Tokyo Tower",
        "by": "ann",
        "when": "",
    }
    assert [row["said"] for row in rows] == ["Eiffel Tower", "Eiffel Tower", "Château d'If", ""]
    again = TestClient(create_review(Review(config), config), base_url="http://localhost:8000")
    for client_ in (client, again):
        found = {path: (p["decision"], p["right"]) for path, p in shown(client_).items()}
        assert found["paris/tower 1.jpg"] == ("landmark", "Tokyo Tower")
        assert found["castle.jpg"] == ("rejected", "")
        assert found["blue.jpg"] == ("", "")


def test_what_is_undone_is_open_again(client: TestClient, tmp_path: Path) -> None:
    decide(client, "castle.jpg", "rejected")
    decide(client, "castle.jpg", "undone")
    assert shown(client)["castle.jpg"]["decision"] == ""
    assert read_corrections(tmp_path / "tags/corrections.csv") == {}


def test_a_decision_counts_for_the_open_photos_of_its_burst(burst: ReviewConfig) -> None:
    client = TestClient(create_review(Review(burst), burst), base_url="http://localhost:8000")
    decide(client, "second.jpg", "landmark", "Tokyo Tower")
    found = {path: photo["right"] for path, photo in shown(client).items()}
    assert found == {"first.jpg": "Tokyo Tower", "second.jpg": "Tokyo Tower", "other.jpg": ""}
    (group,) = client.get("/api/review?order=most_useful").json()["groups"]
    assert [photo["path"] for photo in group["photos"]] == ["other.jpg"]
    decide(client, "first.jpg", "no_landmark")
    assert shown(client)["second.jpg"]["decision"] == "landmark"


def test_a_rejection_counts_for_the_rejected_answer_only(
    client: TestClient, config: ReviewConfig, tmp_path: Path
) -> None:
    decide(client, "castle.jpg", "rejected")
    assert shown(client)["castle.jpg"]["decision"] == "rejected"
    # A newer model names another landmark, which nobody has looked at.
    castle = tmp_path / "photos/castle.jpg"
    found = castle.read_bytes(), made_up(("Eiffel Tower", 0.8))
    write_tagged(tmp_path / "photos", Path(config.out), {"castle.jpg": found})
    assert shown(client)["castle.jpg"]["decision"] == ""


def test_the_most_useful_are_open_ones(client: TestClient) -> None:
    decide(client, "paris/tower 1.jpg", "rejected")
    page = client.get("/api/review?order=most_useful").json()
    (group,) = page["groups"]
    found = [photo["path"] for photo in group["photos"]]
    # Two landmarks are as likely, or one as none: its correction says more than that of 95%.
    assert found[0] in ("blue.jpg", "white.jpg")
    assert sorted(found) == sorted(set(shown(client)) - {"paris/tower 1.jpg"})
    assert client.get("/api/review?order=other").status_code == 422


def test_a_configuration_asks_for_few_photos(config: ReviewConfig) -> None:
    some = Review(replace(config, most_useful=2)).describe()
    assert (some["order"], [len(group["photos"]) for group in some["groups"]]) == (
        "most_useful",
        [2],
    )


@pytest.mark.parametrize(("size", "side"), [("small", 320), ("large", 1600)])
def test_a_picture_is_small_and_says_no_position(
    size: str, side: int, client: TestClient, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    Image.new("RGB", (4000, 2000)).save(tmp_path / "photos/castle.jpg", exif=exif)
    photo = shown(client)["castle.jpg"]["id"]
    for _ in range(2):
        response = client.get(f"/api/photo/{photo}?size={size}")
        picture = Image.open(io.BytesIO(response.content))
        assert picture.size == (side, side // 2)
        assert not picture.getexif().get_ifd(0x8825)
    kept = list((tmp_path / "tags/gallery/thumbs").rglob("*.jpg"))
    assert len(kept) == (size == "small")


def test_only_photos_of_the_journal_are_given(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "photos/new.jpg").write_bytes((tmp_path / "photos/castle.jpg").read_bytes())
    known = hashlib.sha256(b"castle.jpg").hexdigest()[:16]
    assert client.get(f"/api/photo/{known}").status_code == 200
    unknown = hashlib.sha256(b"new.jpg").hexdigest()[:16]
    for name in (unknown, "castle.jpg", "..%2Fphotos%2Fcastle.jpg", "%2Fetc%2Fpasswd"):
        assert client.get(f"/api/photo/{name}").status_code == 404
    assert client.get(f"/api/photo/{known}?size=full").status_code == 422


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://stranger.test"}, 403),
        ({"Host": "stranger.test"}, 400),
        ({"Content-Type": "text/plain"}, 415),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_other_pages_can_neither_look_nor_decide(
    headers: dict[str, str], status: int, client: TestClient, tmp_path: Path
) -> None:
    photo = shown(client)["castle.jpg"]["id"]
    body = f'[{{"photo": "{photo}", "decision": "rejected"}}]'
    headers = {"Content-Type": "application/json"} | headers
    response = client.post("/api/review", content=body, headers=headers)
    # Newer versions of FastAPI read no such body at all.
    assert response.status_code == status or (status, response.status_code) == (415, 422)
    assert (tmp_path / "tags/corrections.csv").exists() == (status == 200)
    if status in (400, 403):
        for path in ("/api/review", f"/api/photo/{photo}"):
            assert client.get(path, headers=headers).status_code == status


def test_with_a_token_only_who_knows_it_sees_photos(config: ReviewConfig) -> None:
    made = create_review(Review(config), config, token="sesame")  # noqa: S106 - a test's
    client = TestClient(made, base_url="http://localhost:8000")
    assert client.get("/").status_code == 200
    assert client.get("/api/review").status_code == 401
    known = {"Authorization": "Bearer sesame"}
    assert client.get("/api/review", headers=known).status_code == 200


@pytest.mark.parametrize(
    "decision",
    [
        {"decision": "perhaps"},
        {"decision": "landmark"},
        {"decision": "rejected", "right": "Taj Mahal"},
        {"decision": "landmark", "right": "x" * 201},
    ],
)
def test_a_decision_that_cannot_be_is_refused(
    decision: dict[str, str], client: TestClient, tmp_path: Path
) -> None:
    photo = shown(client)["castle.jpg"]["id"]
    response = client.post("/api/review", json=[{"photo": photo, **decision}])
    assert response.status_code == 422
    assert client.post("/api/review", json=[{"photo": "0", **decision}]).status_code in (404, 422)
    assert not (tmp_path / "tags/corrections.csv").exists()


def test_what_cannot_be_reviewed_is_said(config: ReviewConfig, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no journal\.sqlite; tag first"):
        Review(replace(config, out=str(tmp_path)))
    (tmp_path / "photos").rename(tmp_path / "moved")
    with pytest.raises(ValueError, match="is not a folder; name where the photos are now"):
        Review(config)
    assert Review(replace(config, photos=str(tmp_path / "moved"))).root == tmp_path / "moved"
    (tmp_path / "tags/corrections.csv").write_text("a,b\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"corrections\.csv"):
        Review(replace(config, photos=str(tmp_path / "moved")))
    (tmp_path / "tags/immich.sqlite").touch()
    with pytest.raises(ValueError, match="is of an Immich server, whose photos this page cannot"):
        Review(config)
