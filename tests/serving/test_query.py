"""Asking about photos from the command line: what is sent, what is shown, what goes wrong."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from experiments.query import main
from landmark_ml.config import QueryConfig
from landmark_ml.inference.prediction import Area, Prediction, answer, candidate, refused
from tests.colour_artifact import TOWER as PLACE

TOWER = candidate("Eiffel Tower", 0.9, asdict(PLACE))
NOWHERE = candidate("Château d'If", 0.05, None)


@dataclass
class Answers:
    """What the server answers next, and the bodies it was sent."""

    url: str = ""
    status: int = 200
    body: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)

    def set(self, *predictions: Prediction) -> None:
        self.body = json.dumps({"predictions": predictions})


@pytest.fixture
def server() -> Iterator[Answers]:
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            answers.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            found = self.path == "/invocations"
            body = answers.body.encode()
            self.send_response(answers.status if found else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        answers.url = f"http://127.0.0.1:{http.server_port}"
        yield answers
        http.shutdown()
        thread.join()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "tower.jpg"
    path.write_bytes(b"\xff\xd8 bytes of a photo")
    return path


def test_a_landmark_is_shown_with_its_place(
    server: Answers, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.set(answer([TOWER, NOWHERE], 0.95, 0.5, None))
    assert main(QueryConfig(photo=str(photo), url=f"{server.url}/", top_k=2)) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        str(photo),
        "  landmark    Eiffel Tower  (90.0%)",
        "  place       Paris, France",
        "  location    48.8584, 2.2945  (from landmark)",
        "  tags        tower, paris",
        "  candidates",
        "     90.0%  Eiffel Tower (Paris, France)",
        "      5.0%  Château d'If",
    ]
    assert shown.err == ""
    (sent,) = server.asked
    assert sent["params"] == {"top_k": 2}
    assert [base64.b64decode(image) for image in sent["inputs"]] == [photo.read_bytes()]


def test_the_answer_is_printed_as_json(
    server: Answers, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer([TOWER, NOWHERE], 0.95, 0.5, None)
    server.set(found)
    assert main(QueryConfig(photo=str(photo), url=server.url, json=True)) == 0
    assert json.loads(capsys.readouterr().out) == found


def test_a_photo_for_this_machine_goes_to_no_proxy(
    server: Answers, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server.set(answer([TOWER], 0.95, 0.5, None))
    assert main(QueryConfig(photo=str(photo), url=server.url)) == 0
    assert (
        main(QueryConfig(photo=str(photo), url=server.url.replace("127.0.0.1", "localhost"))) == 0
    )


def test_an_uncertain_landmark_is_shown_as_its_city(
    server: Answers, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    area = Area("city", 0.7, "Marseille", "France", 43.3, 5.4, ("marseille",))
    server.set(answer([TOWER], 0.95, 0.5, None, area))
    assert main(QueryConfig(photo=str(photo), url=server.url)) == 0
    assert capsys.readouterr().out.splitlines()[1:5] == [
        "  landmark    not sure which",
        "  place       Marseille, France  (70.0%)",
        "  location    43.3000, 5.4000  (from city)",
        "  tags        marseille",
    ]


def test_no_landmark_is_no_failure(
    server: Answers, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.set(answer([TOWER], 0.125, 0.5, (12.0, 34.0)))
    assert main(QueryConfig(photo=str(photo), url=server.url)) == 0
    shown = capsys.readouterr().out
    assert "none that I know (score 12.5%)" in shown
    assert "12.0000, 34.0000  (from exif)" in shown
    assert "tags" not in shown


def test_a_refused_photo_is_a_failure(
    server: Answers, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.set(refused("truncated", "pixels are missing: copy it again"))
    assert main(QueryConfig(photo=str(photo), url=server.url)) == 1
    line = "  no answer   truncated: pixels are missing: copy it again"
    assert capsys.readouterr().out.splitlines() == [str(photo), line]


def test_a_missing_photo_is_named(server: Answers, photo: Path) -> None:
    with pytest.raises(OSError, match=r"nowhere\.jpg"):
        main(QueryConfig(photo=str(photo.with_name("nowhere.jpg")), url=server.url))
    with pytest.raises(ValueError, match=r"name one: photo=photo\.jpg"):
        main(QueryConfig(url=server.url))


@pytest.mark.skipif(os.name != "posix", reason="names are text here")
def test_a_name_that_is_no_text_is_shown_all_the_same(
    server: Answers, photo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    odd = photo.rename(photo.with_name(os.fsdecode(b"odd\xff.jpg")))
    server.set(answer([TOWER], 0.95, 0.5, None))
    assert main(QueryConfig(photo=str(odd), url=server.url)) == 0
    assert capfd.readouterr().out.splitlines()[0] == f"{photo.parent}/odd\\xff.jpg"


def test_nobody_at_the_address(photo: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as http:
        url = f"http://127.0.0.1:{http.server_port}"
    with pytest.raises(ValueError, match=f"^nothing answers at {url}; start .*: make serve$"):
        main(QueryConfig(photo=str(photo), url=url))


def test_an_invalid_address_is_reported(photo: Path) -> None:
    with pytest.raises(ValueError, match="check the address"):
        main(QueryConfig(photo=str(photo), url="localhost"))


def test_the_reason_of_a_refusal_is_shown(server: Answers, photo: Path) -> None:
    server.status, server.body = 400, '{"message": "top_k is 9; give fewer"}'
    with pytest.raises(ValueError, match=r"refused with status 400.*top_k is 9; give fewer"):
        main(QueryConfig(photo=str(photo), url=server.url, top_k=9))


@pytest.mark.parametrize(
    "body",
    [
        "<html>hello</html>",
        "[]",
        '{"predictions": []}',
        '{"predictions": [0.5]}',
        '{"predictions": [{"landmark": "Eiffel Tower"}]}',
    ],
)
def test_another_service_is_told_from_a_landmark_model(
    body: str, server: Answers, photo: Path
) -> None:
    server.body = body
    with pytest.raises(ValueError, match="answered in another form than a landmark model"):
        main(QueryConfig(photo=str(photo), url=server.url))


@pytest.mark.skipif(which("curl") is None, reason="curl is not installed")
def test_the_curl_command_of_the_readme_sends_a_photo_of_any_size(
    server: Answers, tmp_path: Path
) -> None:
    # Longer than one argument of a command may be.
    content = bytes(range(256)) * 2048
    (tmp_path / "photo.jpg").write_bytes(content)
    server.set(answer([TOWER], 0.95, 0.5, None))
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"```sh\n(printf .*?)```", readme, re.DOTALL)
    command = command.replace("http://127.0.0.1:5001", server.url)
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True, timeout=30)  # noqa: S603, S607
    (asked,) = server.asked
    assert base64.b64decode(asked["inputs"][0]) == content
    assert asked["params"] == {"top_k": 3}
