"""The app in a process of its own that is told to end while a photo is on its way."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.colour_artifact import RED, colour_photo
from tests.serving.app.slow_client import slow_upload
from tests.source_tree import ROOT

pytestmark = pytest.mark.slow

PHOTO = colour_photo(RED)
LONGEST = 60.0


@pytest.fixture
def process(registered: str) -> Iterator[subprocess.Popen[str]]:
    options = ["--model", registered, "--port", "0"]
    command = [sys.executable, "-m", "experiments", "app", *options]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True
    ) as started:
        yield started
        started.kill()


def address_of(process: subprocess.Popen[str]) -> str:
    """Where it says the page is."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.match(r"the page +(http\S+)", line):
            return found[1]
    pytest.fail(f"the app ended with status {process.wait()}")


def wait_until_refused(address: str) -> None:
    """Return once the app takes no new connections."""
    host, end = urlsplit(address), time.monotonic() + LONGEST
    while time.monotonic() < end:
        try:
            socket.create_connection((host.hostname, host.port), timeout=LONGEST).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.01)
    pytest.fail("the app goes on taking connections")


def test_a_photo_on_its_way_is_answered_before_the_app_ends(
    process: subprocess.Popen[str],
) -> None:
    address = address_of(process)
    with slow_upload(address, len(PHOTO)) as upload:
        upload.send(PHOTO[:100])
        process.send_signal(signal.SIGTERM)
        wait_until_refused(address)
        # Long enough for an app that waits for nobody to be gone.
        time.sleep(1)
        upload.send(PHOTO[100:])
        response, body = upload.answer()
    assert response.status == 200
    assert json.loads(body)["photos"][0]["landmark"] == "Eiffel Tower"
    process.wait(LONGEST)
    assert process.returncode == 0
