"""What is done with trained models: they are judged and promoted, and answer about photos."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from landmark_ml.config.fields import (
    BELOW_ONE,
    CALIBRATED,
    PORT,
    POSITIVE,
    SHARE,
    UNIT,
    Configuration,
    at_most_1000_characters,
    no_password,
    option,
)
from landmark_ml.config.training import DataConfig

_ANSWERING = "registered model whose champion answers, or `name/3`, `name@alias`"
_as_json = partial(option, False, "print one JSON document and nothing else")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(DataConfig):
    """A model and the photos to judge it on."""

    model: str = option(
        "landmarks", "model to judge: a registered one (its champion), `name/3` or `name@alias`"
    )
    photos: str = option(
        "test",
        "the test photos of the model's own run, or all photos it did not learn from",
        ("test", "all"),
    )
    corrupted_photos: int = option(
        200, "landmark photos to judge under each corruption; 0: skip", unit="photos"
    )
    resamples: int = option(1000, "resamples of the bootstrap intervals", POSITIVE)
    json: bool = _as_json()


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Configuration):
    """Which runs to compare."""

    experiment: str = option(
        "", "MLflow experiment whose runs are compared; empty: the one this runs in"
    )
    filter: str = option("", "MLflow search string the runs must match; empty: all tested runs")
    most: int = option(20, "most runs to compare, the newest", POSITIVE, unit="runs")
    json: bool = _as_json()


@dataclass(frozen=True, kw_only=True)
class PromoteConfig(DataConfig):
    """Which versions are judged on which photos, and the gates they have to pass."""

    model: str = option("landmarks", "registered model whose champion may be replaced")
    candidates: str = option("newest", "`newest`, `newest:3`, a version number or a URI")
    reason: str = option("", "why, in your words; written to the history", at_most_1000_characters)
    alpha: float = option(
        0.05,
        "largest chance that a challenger that is no better is ever promoted on the same test"
        " photos; spent over promotions and challengers",
        SHARE,
    )
    top1_margin: float = option(
        0.03,
        "how far top-1 on the landmarks of both may fall when the challenger knows more landmarks",
        SHARE,
    )
    class_alpha: float = option(
        0.05, "family-wise error of finding a landmark worse (sign tests, Holm)", SHARE
    )
    gap_margin: float = option(0.005, "how far GAP may fall", BELOW_ONE)
    ece_margin: float = option(0.01, "how far ECE may rise", BELOW_ONE)
    false_tag_margin: float = option(
        0.01, "how far the share tagged of photos without a known landmark may rise", BELOW_ONE
    )
    min_new_found: float = option(
        0.5, "least share of the photos of new landmarks that is tagged right; 0: do not ask", UNIT
    )
    max_new_taken: float = option(
        0.01, "largest share of other photos that is tagged as a new landmark", UNIT
    )
    allow_removed: bool = option(
        False, "let a challenger pass that no longer knows some of the champion's landmarks"
    )
    max_ms: float = option(150.0, "largest median latency of one photo here", POSITIVE, unit="ms")
    max_mb: float = option(
        0.0, "largest size of the logged model; 0: 100 MB, and 20 kB for each landmark", unit="MB"
    )
    check_requirements: bool = option(True, "gate: pip can install the model's requirements")


@dataclass(frozen=True, kw_only=True)
class TeachConfig(Configuration):
    """Which landmarks a model is taught, by which photos."""

    photos: str = option("", "folder of folders named after landmarks, 1 to 50 photos in each")
    corrections: str = option(
        "",
        "in place of `photos`: files of corrections, with commas between; teaches the landmarks in"
        " them that the model does not know",
    )
    name: str = option("", "landmark that all photos in `photos` show; empty: its folders say")
    position: str = option("", "where it stands, in degrees, such as `48.8584,2.2945`")
    places: str = option(
        "", "CSV of places; empty: `places.csv` in `photos`; else the photos' own positions count"
    )
    model: str = option(
        "landmarks", "model to teach: a registered one (its champion), `name/3` or `name@alias`"
    )
    force: bool = option(False, "teach what the model takes for a landmark it knows")
    cache_dir: str = option(".cache", "folder of what was read from photos")
    threads: int = option(0, "cores to use; 0: all of them")


@dataclass(frozen=True, kw_only=True)
class RollbackConfig(Configuration):
    """Which model goes back to its champion before, and why."""

    model: str = option("landmarks", "registered model whose champion goes back")
    reason: str = option("", "why; written to the history, and required", at_most_1000_characters)


@dataclass(frozen=True, kw_only=True)
class HistoryConfig(Configuration):
    """Which model's history to print."""

    model: str = option("landmarks", "registered model whose alias history is printed")
    json: bool = _as_json()


@dataclass(frozen=True, kw_only=True)
class ServeConfig(Configuration):
    """Which model MLflow serves, and where."""

    model: str = option("landmarks", f"{_ANSWERING}, or any address that MLflow knows")
    host: str = option("127.0.0.1", "address to listen on")
    port: int = option(5001, "port to listen on", PORT)


@dataclass(frozen=True, kw_only=True)
class QueryConfig(Configuration):
    """Which photo to ask about, and whom."""

    photo: str = option("", "photo to ask about")
    url: str = option("http://127.0.0.1:5001", "address of the server that `serve` started")
    top_k: int = option(5, "candidates shown", POSITIVE)
    json: bool = _as_json()


@dataclass(frozen=True, kw_only=True)
class UiConfig(Configuration):
    """Where the MLflow UI listens."""

    host: str = option("127.0.0.1", "address to listen on")
    port: int = option(5000, "port to listen on", PORT)


_MIB = 1024 * 1024
_in_the_environment = no_password(
    "give it to every worker in its environment, such as AWS_ACCESS_KEY_ID and"
    " AWS_SECRET_ACCESS_KEY"
)


@dataclass(frozen=True, kw_only=True)
class PageConfig(Configuration):
    """Where a page of ours is served, and under which names."""

    host: str = option("127.0.0.1", "address to listen on")
    port: int = option(8000, "port to listen on; 0: any free one", PORT)
    hosts: str = option(
        "localhost,127.0.0.1,[::1]",
        "hostnames the page answers to; requests for others are refused",
    )


@dataclass(frozen=True, kw_only=True)
class ReviewConfig(PageConfig):
    """Which tagged library is looked over, by whom."""

    out: str = option("tags", "folder that `tag` wrote to")
    photos: str = option("", "folder of the photo library; empty: where it was tagged")
    corrections: str = option(
        "", "CSV that decisions are added to; empty: `corrections.csv` in `out`"
    )
    by: str = option("", "who decides; empty: your user name")
    most_useful: int = option(
        0,
        "show this many photos, first the one whose correction helps a training most; 0: all,"
        " by landmark",
        unit="photos",
    )


@dataclass(frozen=True, kw_only=True)
class AppConfig(PageConfig):
    """Address, model and limits of the web app."""

    model: str = option("landmarks", "registered model whose champion answers")
    corrections: str = option(
        "",
        "CSV that the page's corrections are added to, their photos beside it; empty: nothing is"
        " stored",
    )
    mlflow_ui: str = option("", "MLflow UI that the page links to; empty: the server, or `make ui`")
    max_body: int = option(64 * _MIB, "largest request", POSITIVE, unit="bytes")
    max_photos: int = option(64, "most photos in one request", POSITIVE, unit="photos")
    max_waiting: int = option(
        256, "most photos waiting; more get status 503", POSITIVE, unit="photos"
    )
    max_memory: int = option(
        512 * _MIB, "most photo bytes held at once; more get status 503", POSITIVE, unit="bytes"
    )
    timeout: float = option(
        60.0, "longest time for a request, and for its answer", POSITIVE, unit="s"
    )
    threads: int = option(0, "cores to use; 0: all of them")
    poll: float = option(2.0, "pause between two checks for a new champion", POSITIVE, unit="s")


@dataclass(frozen=True, kw_only=True)
class _AnswerConfig(Configuration):
    """What the tagger and the cluster share."""

    model: str = option("landmarks", _ANSWERING)
    threshold: float = option(
        -1.0,
        "`landmark_score` from which a photo shows a landmark; -1: the model's own",
        CALIBRATED,
    )
    places: str = option(
        "", "CSV like `places.csv`; its places name the city of photos taken within 1 km"
    )
    language: str = option("en", "language of countries and cities, such as `de` or `pt-BR`")


_immich = partial(
    option,
    "",
    allowed=no_password("put the API key into IMMICH_API_KEY"),
)


@dataclass(frozen=True, kw_only=True)
class TagConfig(_AnswerConfig):
    """Which photo library is tagged, and what is written about it."""

    photos: str = option("", "folder of the photo library, searched to any depth, or one photo")
    immich: str = _immich(
        meaning="in place of `photos`: address of an Immich server, whose photos without a position"
        " or city are tagged there"
    )
    out: str = option("tags", "folder of the table and of the journal that a later run continues")
    sidecars: str = option(
        "none",
        "XMP sidecars beside the photos, and how they are named",
        ("none", "photo.jpg.xmp", "photo.xmp"),
    )
    corrections: str = option(
        "", "files of corrections, with commas between; also read: `corrections.csv` in `out`"
    )
    min_confidence: float = option(
        0.5, "confidence from which an answer gets into sidecars, albums and gallery", UNIT
    )
    albums: str = option(
        "none",
        "albums by country, city and landmark, as `albums.csv` or also as links",
        ("none", "list", "links"),
    )
    gallery: bool = option(False, "album pages with thumbnails: `gallery/index.html` in `out`")
    neighbours: float = option(
        0.0,
        "place photos without a position by located ones taken within so long; 0: do not",
        unit="minutes",
    )
    tag_root: str = option("Places", "first level of the hierarchical tags in sidecars")
    dry_run: bool = option(False, "only list in `out` what would be done")


@dataclass(frozen=True, kw_only=True)
class UntagConfig(Configuration):
    """From which sidecars, or which server, the tagger's words are taken out."""

    photos: str = option("", "folder of the photo library, searched to any depth, or one photo")
    immich: str = _immich(meaning="in place of `photos`: address of an Immich server")
    out: str = option("tags", "folder of `untagged.csv`, which lists what was taken out")
    dry_run: bool = option(False, "only list in `out` what would be done")


@dataclass(frozen=True, kw_only=True)
class ClusterConfig(_AnswerConfig):
    """Which photos a Ray cluster tags, and with how many workers."""

    photos: str = option(
        "",
        "folder all workers see, or an address such as `s3://bucket/photos`",
        _in_the_environment,
    )
    out: str = option(
        "tags/parts",
        "folder or address of the table; a later run continues it",
        _in_the_environment,
    )
    part_photos: int = option(
        1000, "photos per part, roughly; cannot change once `out` exists", POSITIVE, unit="photos"
    )
    workers: int = option(
        0, "Ray actors, each with its own model; 0: as many as there are free CPUs"
    )
    cpus: int = option(1, "CPUs of each worker", POSITIVE)
    reads: int = option(
        4, "files that each worker reads at once; raise it for a slow store", POSITIVE
    )
    address: str = option("", "Ray cluster to join, such as `auto`; empty: RAY_ADDRESS, else local")
