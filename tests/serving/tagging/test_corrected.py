"""A tagged library whose answers people corrected: table, sidecars and albums follow them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from landmark_ml.config import TagConfig
from landmark_ml.corrections import CORRECTIONS, Correction, append_corrections
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.inference.prediction import answer
from serving.tagging.corrected import Corrected, decisions_on
from serving.tagging.library import Tagged
from serving.tagging.xmp import Xmp
from tests.colour_artifact import CASTLE
from tests.serving.tagging.areas import CITY
from tests.serving.tagging.areas import TOWER as IN_PARIS
from tests.serving.tagging.conftest import Run
from tests.serving.tagging.tables import parquet

TOWER = "2024/paris/tower.jpg"


def decide(
    config: TagConfig, name: str, decision: str, right: str = "", *, file: str = CORRECTIONS
) -> None:
    content = (Path(config.photos) / name).read_bytes()
    sha256, said = hashlib.sha256(content).hexdigest(), parquet(config)[name]["landmark"] or ""
    row = Correction(sha256, name, said, decision, right, "ada")
    append_corrections(Path(config.out) / file, [row])


def tags(config: TagConfig, name: str) -> list[str]:
    return Xmp.parse(Path(config.photos, f"{name}.xmp").read_bytes()).items("dc:subject")


@pytest.fixture
def tagged(config: TagConfig, run: Run) -> TagConfig:
    config = replace(config, sidecars="photo.jpg.xmp", albums="list")
    run(config)
    assert "Eiffel Tower" in tags(config, TOWER)
    return config


@pytest.mark.parametrize("decision", ["rejected", "no_landmark"])
def test_a_rejected_tag_is_taken_out_and_never_comes_back(
    tagged: TagConfig, run: Run, photos: Path, decision: str
) -> None:
    (photos / "copy.jpg").write_bytes((photos / TOWER).read_bytes())
    run(tagged)
    decide(tagged, TOWER, decision)
    # Nothing is recognised again for it, and a newer version says the same.
    again = run(tagged)
    assert (again.recognised, again.corrected) == (0, 2)
    for version in (1, 2):
        result = run(tagged, version)
        for name in (TOWER, "copy.jpg"):
            row = parquet(tagged)[name]
            assert (row["landmark"], row["is_landmark"], row["country"]) == (None, False, None)
            assert row["correction"] == decision
            assert tags(tagged, name) == []
        assert result.landmarks["Eiffel Tower"] == 1
    assert TOWER not in (result.out / "albums.csv").read_text()


def test_another_answer_to_a_rejected_photo_counts(tagged: TagConfig, run: Run) -> None:
    row = Correction(parquet(tagged)[TOWER]["sha256"], TOWER, "Big Ben", "rejected")
    append_corrections(Path(tagged.out) / CORRECTIONS, [row])
    run(tagged)
    assert parquet(tagged)[TOWER]["landmark"] == "Eiffel Tower"
    assert parquet(tagged)[TOWER]["correction"] is None


def test_a_rejected_city_is_taken_out_too() -> None:
    rejected = {"a": Correction("a", "", "", "rejected")}
    metadata: Any = SimpleNamespace(classes=(), names=(), places=())
    paris = Tagged(Path("a.jpg"), answer([IN_PARIS], 0.9, 0.5, None, CITY), "a")
    find_decision = decisions_on([paris], rejected)
    (photo,) = Corrected(metadata, find_decision, Gazetteer({})).apply([paris])
    assert (photo.answer["level"], photo.answer["city"]) == (None, None)
    assert (photo.answer["tags"], photo.correction) == ([], "rejected")


def test_what_a_photo_shows_is_written(tagged: TagConfig, run: Run) -> None:
    # The label of a class means its name.
    decide(tagged, TOWER, "landmark", "chateau dif")
    run(tagged)
    row = parquet(tagged)[TOWER]
    assert (row["landmark"], row["confidence"], row["level"]) == ("Château d'If", 1.0, "landmark")
    assert (row["latitude"], row["location_source"]) == (CASTLE.latitude, "landmark")
    assert row["runners_up"][0] == "Eiffel Tower"
    assert set(tags(tagged, TOWER)) == {"Château d'If", *CASTLE.tags, "France"}


def test_a_landmark_that_no_model_knows_stands_where_the_gazetteer_says(
    tagged: TagConfig, run: Run
) -> None:
    decide(tagged, "2023/nothing.jpg", "landmark", "Machu Picchu")
    decide(tagged, "2024/paris/tower with gps.JPG", "landmark", "Our house")
    run(tagged)
    rows = parquet(tagged)
    assert rows["2023/nothing.jpg"]["country"] == "Peru"
    sidecar = Path(tagged.photos, "2023/nothing.jpg.xmp")
    assert Xmp.parse(sidecar.read_bytes()).text("Iptc4xmpCore:CountryCode") == "PE"
    # A photo's own position stays.
    own = rows["2024/paris/tower with gps.JPG"]
    assert (own["landmark"], own["latitude"], own["country"]) == ("Our house", 12, "Sudan")


def test_a_landmark_has_one_name_however_people_spell_it() -> None:
    names = ["our house", "Our House", "machu picchu"]
    decisions = {name: Correction(name, "", "", "landmark", name) for name in names}
    metadata: Any = SimpleNamespace(classes=(), names=(), places=())
    photos = [Tagged(Path(name), answer([IN_PARIS], 0.9, 0.5, None, CITY), name) for name in names]
    find_decision = decisions_on(photos, decisions)
    found = Corrected(metadata, find_decision, Gazetteer.load()).apply(photos)
    shown = [photo.answer["landmark"] for photo in found]
    assert shown == ["our house", "our house", "Machu Picchu"]


def test_an_accepted_answer_is_written_however_unsure_it_was(tagged: TagConfig, run: Run) -> None:
    strict = replace(tagged, min_confidence=1.0)
    run(strict)
    assert tags(strict, TOWER) == []
    decide(strict, TOWER, "landmark", "Eiffel Tower")
    run(strict)
    assert "Eiffel Tower" in tags(strict, TOWER)
    decide(strict, TOWER, "undone")
    run(strict)
    assert parquet(strict)[TOWER]["correction"] is None
    assert tags(strict, TOWER) == []


def test_corrections_of_another_person_count_too(tagged: TagConfig, run: Run) -> None:
    decide(tagged, TOWER, "landmark", "Nowhere")
    decide(tagged, TOWER, "no_landmark", file="bob.csv")
    run(replace(tagged, corrections=f"{tagged.out}/bob.csv"))
    assert parquet(tagged)[TOWER]["landmark"] is None
    with pytest.raises(ValueError, match=r"nobody\.csv cannot be read"):
        run(replace(tagged, corrections="nobody.csv"))


def burst(name: str, same_as: str | None = "best.jpg") -> Tagged:
    said = answer([IN_PARIS], 0.9, 0.5, None)
    return Tagged(Path(f"{name}.jpg"), said, name, same_as=same_as)


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        ({"best": "Big Ben"}, {"a": "Big Ben", "best": "Big Ben", "z": "Big Ben"}),
        ({"z": "Big Ben"}, {"a": "Big Ben", "best": "Big Ben", "z": "Big Ben"}),
        ({"a": "Big Ben", "best": "Petra"}, {"a": "Big Ben", "best": "Petra", "z": "Petra"}),
        ({"best": "Petra", "z": "Big Ben"}, {"a": "Petra", "best": "Petra", "z": "Big Ben"}),
        ({"other": "Petra"}, dict.fromkeys(("a", "best", "z"), "Eiffel Tower")),
    ],
)
def test_a_decision_counts_for_the_burst_of_its_photo(
    decisions: dict[str, str], expected: dict[str, str]
) -> None:
    rows = {name: Correction(name, "", "", "landmark", right) for name, right in decisions.items()}
    photos = [burst("a"), burst("best", None), burst("other", None), burst("z")]
    metadata: Any = SimpleNamespace(classes=(), names=(), places=())
    corrected = Corrected(metadata, decisions_on(photos, rows), Gazetteer({}))
    shown = {photo.sha256: photo for photo in corrected.apply(photos)}
    assert {name: shown[name].answer["landmark"] for name in expected} == expected
    # What has its own answer is not told to have another's.
    assert shown["z"].same_as == (None if "z" in decisions else "best.jpg")
