"""The gazetteer covers the known classes, holds no impossible place and explains bad files."""

from __future__ import annotations

import csv
from importlib import resources
from itertools import combinations
from pathlib import Path

import pytest

from landmark_ml.geo.gazetteer import Gazetteer, GazetteerError, Place, great_circle_km

POSTCARDS = """Big Ben, Christ the Redeemer, Eiffel Tower, Golden Gate Bridge, Itsukushima Torii,
Leaning Tower of Pisa, Parthenon, Pyramids of Giza, Statue of Liberty, Stonehenge,
Sydney Opera House, Taj Mahal"""

UDACITY50 = """00.Haleakala_National_Park 01.Mount_Rainier_National_Park 02.Ljubljana_Castle
03.Dead_Sea 04.Wroclaws_Dwarves 05.London_Olympic_Stadium 06.Niagara_Falls 07.Stonehenge
08.Grand_Canyon 09.Golden_Gate_Bridge 10.Edinburgh_Castle 11.Mount_Rushmore_National_Memorial
12.Kantanagar_Temple 13.Yellowstone_National_Park 14.Terminal_Tower 15.Central_Park
16.Eiffel_Tower 17.Changdeokgung 18.Delicate_Arch 19.Vienna_City_Hall 20.Matterhorn 21.Taj_Mahal
22.Moscow_Raceway 23.Externsteine 24.Soreq_Cave 25.Banff_National_Park 26.Pont_du_Gard
27.Seattle_Japanese_Garden 28.Sydney_Harbour_Bridge 29.Petronas_Towers 30.Brooklyn_Bridge
31.Washington_Monument 32.Hanging_Temple 33.Sydney_Opera_House 34.Great_Barrier_Reef
35.Monumento_a_la_Revolucion 36.Badlands_National_Park 37.Atomium 38.Forth_Bridge
39.Gateway_of_India 40.Stockholm_City_Hall 41.Machu_Picchu 42.Death_Valley_National_Park
43.Gullfoss_Falls 44.Trevi_Fountain 45.Temple_of_Heaven 46.Great_Wall_of_China
47.Prague_Astronomical_Clock 48.Whitby_Abbey 49.Temple_of_Olympian_Zeus"""

LANDMARKS50 = """00.Palais_Justice_Aix 01.Pavillon_Noir_Aix 02.Rotonde_Aix 03.Ajanta_Caves
04.Alai_Darwaza 05.Alai_Minar 06.Alhambra 07.Angel_Falls 08.Angkor_Wat
09.Palais_des_Papes_Avignon 10.Pont_Avignon_Avignon 11.Basilica_of_Bom_Jesus
12.Brihadisvara_Temple 13.Burj_Khalifa 14.Charminar 15.Chichen_Itza 16.Chota_Imambara
17.Christ_the_Redeemer 18.Cologne_Cathedral 19.Colosseum 20.Dome_of_the_Rock 21.Eiffel_Tower
22.Forbidden_City 23.Geisel_Library 24.Golden_Gate_Bridge 25.Golden_Temple
26.Great_Wall_of_China 27.Hagia_Sophia 28.Leaning_Tower_of_Pisa 29.Machu_Picchu
30.Chateau_d_If_Marseille 31.CMA_CGM_Tower_Marseille 32.Longchamp_Marseille 33.Mount_Rushmore
34.Niagara_Falls 35.Monument_Morts_Nice 36.Place_Massena_Nice 37.Theatre_Antique_Orange
38.Palace_of_Versailles 39.Parthenon 40.Petra 41.Pyramids_of_Giza 42.Space_Needle
43.Statue_of_Liberty 44.Stonehenge 45.Sydney_Opera_House 46.Taj_Mahal
47.Bateau_Sculpture_Toulon 48.Fontaine_de_la_Federation_Toulon 49.Victoria_Memorial"""

CLASSES = [*POSTCARDS.replace("\n", " ").split(", "), *UDACITY50.split(), *LANDMARKS50.split()]

# Great Wall visitors come from Beijing, and Badaling lies 62 km from the Temple of Heaven.
CITY_RADIUS_KM = 65

HEADER = "landmark,latitude,longitude"


@pytest.fixture(scope="module")
def built_in() -> Gazetteer:
    return Gazetteer.load()


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    text = (resources.files("landmark_ml.geo") / "gazetteer.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@pytest.fixture(scope="module")
def places(built_in: Gazetteer, rows: list[dict[str, str]]) -> list[Place]:
    found = [built_in.find(row["landmark"]) for row in rows]
    return [place for place in found if place is not None]


def write(folder: Path, *lines: str) -> Path:
    path = folder / "places.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def position(gazetteer: Gazetteer, label: str) -> tuple[float, float]:
    place = gazetteer.find(label)
    assert place is not None, label
    return place.latitude, place.longitude


@pytest.mark.parametrize("folder", CLASSES)
def test_every_class_has_a_place_under_folder_name_and_label(
    built_in: Gazetteer, folder: str
) -> None:
    place = built_in.find(folder)
    assert place is not None
    label = folder.partition(".")[2].replace("_", " ") or folder
    assert built_in.find(label) == place


def test_aliases_lead_to_the_same_place(built_in: Gazetteer, rows: list[dict[str, str]]) -> None:
    for row in rows:
        for alias in filter(None, row["aliases"].split(";")):
            assert built_in.find(alias) == built_in.find(row["landmark"]), alias


def test_places_are_distinct_and_carry_four_to_eight_tags(places: list[Place]) -> None:
    assert len({place.name for place in places}) == len(places)
    assert len({(place.latitude, place.longitude) for place in places}) == len(places)
    for place in places:
        assert 4 <= len(set(place.tags)) == len(place.tags) <= 8, place.name
        assert all(tag and tag == tag.strip().lower() for tag in place.tags), place.name


def test_a_country_and_its_code_go_together(places: list[Place]) -> None:
    pairs = {(place.country, place.country_code) for place in places}
    assert all(country and code for country, code in pairs)
    assert len({country for country, _ in pairs}) == len(pairs)
    assert len({code for _, code in pairs}) == len(pairs)


def test_landmarks_of_one_city_lie_close_together(places: list[Place]) -> None:
    cities = [place for place in places if place.city is not None]
    assert len(cities) >= len(places) - 2
    for a, b in combinations(cities, 2):
        if (a.city, a.country) == (b.city, b.country):
            apart = great_circle_km((a.latitude, a.longitude), (b.latitude, b.longitude))
            assert apart < CITY_RADIUS_KM, (a.name, b.name)


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        ("Parthenon", "Temple of Olympian Zeus", (0.5, 0.8)),
        ("Alai Darwaza", "Alai Minar", (0.1, 0.25)),
        ("Palais des Papes", "Pont d'Avignon", (0.2, 0.6)),
        ("Eiffel Tower", "Palace of Versailles", (13, 15)),
        ("Bateau Sculpture Toulon", "Fontaine de la Federation Toulon", (0.2, 0.5)),
        ("Pyramids of Giza", "Petra", (400, 440)),
        ("Eiffel Tower", "Big Ben", (338, 343)),
    ],
)
def test_known_neighbours_stand_as_far_apart_as_on_the_map(
    built_in: Gazetteer, one: str, other: str, km: tuple[float, float]
) -> None:
    apart = great_circle_km(position(built_in, one), position(built_in, other))
    assert km[0] < apart < km[1]


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        ("Eiffel Tower", "eiffel tower|  16.Eiffel_Tower |16 - Eiffel-Tower|16_EIFFEL_TOWER"),
        ("Eiffel Tower", "16 Eiffel Tower|Tour Eiffel"),
        ("Wrocław's Dwarves", "Wrocław's Dwarves|Wroclaws Dwarves|WROC\u0141AW\u2019S DWARVES"),
        ("Château d'If", "Chateau d If|Cha\u0302teau d\u2019If"),
        ("Mount Rushmore National Memorial", "Mount Rushmore|Mount Rushmore National Memorial"),
        ("Fontaine de la Rotonde", "Rotonde Aix|fontaine de la rotonde"),
    ],
)
def test_find_sees_through_spelling(built_in: Gazetteer, name: str, spellings: str) -> None:
    places = [built_in.find(spelling) for spelling in spellings.split("|")]
    assert [place and place.name for place in places] == [name] * len(places)


def test_places_csv_adds_a_landmark_with_the_required_columns_only(tmp_path: Path) -> None:
    gazetteer = Gazetteer.load(write(tmp_path, HEADER, "Old Mill,-12.5,170", "", " , , "))
    expected = Place("Old Mill", None, None, None, -12.5, 170.0, ())
    assert gazetteer.find("3.Old_Mill") == expected
    assert gazetteer.find("Eiffel Tower") is not None


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (["03.Old_Mill,1,1", "4_Inn,2,2"], ["Old Mill", "Inn"]),
        (["7 World Trade Center,1,1", "1 World Trade Center,2,2"], None),
        (["किला,1,1", "काला,2,2"], None),
    ],
    ids=["class numbers", "numbers in names", "vowel signs"],
)
def test_labels_in_places_csv_are_told_apart(
    tmp_path: Path, rows: list[str], labels: list[str] | None
) -> None:
    gazetteer = Gazetteer.load(write(tmp_path, HEADER, *rows))
    labels = labels or [row.partition(",")[0] for row in rows]
    assert [position(gazetteer, label) for label in labels] == [(1, 1), (2, 2)]


def test_places_csv_replaces_the_built_in_place(tmp_path: Path) -> None:
    columns = "landmark,aliases,latitude,longitude,city,tags"
    row = "Victoria Memorial,Old Vic; Vic,51.5019,-0.1406,London,statue"
    gazetteer = Gazetteer.load(write(tmp_path, columns, row))
    place = gazetteer.find("Victoria Memorial")
    assert place == Place("Victoria Memorial", "London", None, None, 51.5019, -0.1406, ("statue",))
    assert gazetteer.find("vic") == place


def test_byte_order_mark_quotes_and_windows_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "places.csv"
    text = '"Landmark",latitude,longitude,city,tags\r\nMill,1,2,"Bath, Somerset","a;B ; c;b"\r\n'
    path.write_bytes(text.encode("utf-8-sig"))
    place = Gazetteer.load(path).find("Mill")
    assert place is not None
    assert place.city == "Bath, Somerset"
    assert place.tags == ("a", "b", "c")


@pytest.mark.parametrize(
    ("lines", "where", "reason"),
    [
        (["landmark,latitude", "Mill,1"], "1, column longitude", "missing"),
        ([], "1, column landmark", "missing"),
        (["landmark;latitude;longitude"], "1, column landmark", "commas"),
        ([f"{HEADER},tag", "Mill,1,2,x"], "1, column tag", "unknown"),
        ([f"{HEADER},latitude", "Mill,1,2,3"], "1, column latitude", "doubled"),
        ([HEADER, "Mill,95,2"], "2, column latitude", "95"),
        ([HEADER, "Mill,1,2", "Inn,1,-180.5"], "3, column longitude", "-180.5"),
        ([HEADER, "Mill,nan,2"], "2, column latitude", "nan"),
        ([HEADER, 'Mill,"48,85",2'], "2, column latitude", "48,85"),
        ([HEADER, "Mill,north,2"], "2, column latitude", "north"),
        ([HEADER, "Mill,48,85,2"], "2, column longitude", "4 fields"),
        ([HEADER, "Mill,48"], "2, column longitude", "2 fields"),
        ([HEADER, ",1,2"], "2, column landmark", "no letter"),
        ([HEADER, "Old Mill,1,2", "Inn,1,2", "3.old_mill,3,4"], "4, column landmark", "line 2"),
        ([f"{HEADER},aliases", "Mill,1,2,", "Inn,1,2,Pub;Mill"], "3, column aliases", "line 2"),
        ([f"{HEADER},country_code", "Mill,1,2,UK!"], "2, column country_code", "UK!"),
        ([HEADER, "Mill,1,2", '"Inn,1,2'], "3", "quotes"),
    ],
)
def test_a_bad_places_csv_is_refused_with_file_line_and_column(
    tmp_path: Path, lines: list[str], where: str, reason: str
) -> None:
    path = write(tmp_path, *lines)
    with pytest.raises(GazetteerError) as refusal:
        Gazetteer.load(path)
    assert str(refusal.value).startswith(f"{path}, line {where}: ")
    assert reason in str(refusal.value)


def test_a_places_csv_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "places.csv"
    path.write_bytes(f"{HEADER}\nMüll,1,2\n".encode("latin-1"))
    with pytest.raises(GazetteerError, match=r"places\.csv, line 2: not UTF-8"):
        Gazetteer.load(path)


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        ((48.8566, 2.3522), (51.5074, -0.1278), 343.6),
        ((52.5, 13.4), (52.5, 13.4), 0),
        ((0, 0), (0, 180), 20015.1),
        ((90, 0), (-90, 77), 20015.1),
        ((0, 179.5), (0, -179.5), 111.2),
        ((40.7128, -74.0060), (-33.8688, 151.2093), 15988),
    ],
)
def test_great_circle_distances(a: tuple[float, float], b: tuple[float, float], km: float) -> None:
    assert great_circle_km(a, b) == pytest.approx(km, rel=1e-3, abs=0.1)
    assert great_circle_km(b, a) == pytest.approx(great_circle_km(a, b))


TOWER = Place("Eiffel Tower", "Paris", "France", "FR", 48.8584, 2.2945)
SHOWN = Gazetteer({"Tour Eiffel": TOWER, "Iron Lady": TOWER})


def test_classes_are_shown_by_the_name_of_their_place() -> None:
    assert SHOWN.shown_names(["Tour Eiffel", "Nowhere"]) == ["Eiffel Tower", "Nowhere"]


def test_two_classes_of_one_place_keep_their_own_names() -> None:
    classes = ["Tour Eiffel", "Iron Lady", "Tower Bridge"]
    assert SHOWN.shown_names(classes) == classes
