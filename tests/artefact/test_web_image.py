"""The image of notify and dashboard, with the commands that Terraform gives the two services."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.artefact import images
from tests.artefact.archives import INFRA
from tests.artefact.deployed import DASHBOARD, NOTIFY, Deployed
from tests.artefact.images import Image
from tests.artefact.test_functions import FORGED
from tests.dockerfile import WEB
from tests.emulators import make_bucket

# The first test waits for pip.
pytestmark = pytest.mark.slow(25)


def command(service: str) -> list[str]:
    """Return the command and arguments of a service in Terraform's configuration."""
    text = (INFRA / f"{service}.tf").read_text()
    lines = re.findall(r"^ +(?:command|args) += \[(.*)\]$", text, re.MULTILINE)
    return [word for line in lines for word in re.findall(r'"([^"]+)"', line)]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, on_emulators: dict[str, str]) -> Image:
    return images.build(WEB, tmp_path_factory.mktemp("web"), on_emulators)


@pytest.fixture
def notify(image: Image) -> Iterator[Deployed]:
    threads = {"K_SERVICE": "notify", "THREADS": "80"}
    with image.serve(*command("notify"), **NOTIFY, **threads) as running:
        yield running


def test_notify_is_the_images_default(notify: Deployed) -> None:
    assert notify.get().status == 405
    assert notify.post().status == 403
    assert notify.post(headers=FORGED).status == 403


def test_slow_bodies_do_not_block_the_others(notify: Deployed) -> None:
    """functions-framework's default of 4 threads a CPU would all wait for a body here."""
    host, port = notify.url.removeprefix("http://").split(":")
    head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nslow"
    with ExitStack() as slow:
        for _ in range(40):
            connection = slow.enter_context(socket.create_connection((host, int(port)), 30))
            connection.sendall(head.encode())
        assert notify.post(headers=FORGED).status == 403


def test_the_dashboard_answers(image: Image, gcs_emulator: str) -> None:
    named = {"STORAGE_URL": f"gs://{make_bucket(gcs_emulator)}", "K_SERVICE": "dashboard"}
    with image.serve(*command("dashboard"), **(DASHBOARD | named)) as dashboard:
        # Without IAP's signed header, which needs Google's key.
        assert dashboard.get("/").status in {401, 403}


def test_it_has_no_ffmpeg_and_only_pinned_packages(image: Image) -> None:
    assert "imageio-ffmpeg" not in images.packages(image)
