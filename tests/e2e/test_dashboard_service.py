"""The dashboard under functions-framework, over SQLite and a directory."""

from __future__ import annotations

import http.client
import json
import os
import re
from collections.abc import Iterator

import pytest

from shared.core.records import Status
from tests.browser.site import Site
from tests.services import Service, start_function, until


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Recordings whose audio is a few bytes: nothing here plays it."""
    folder = tmp_path_factory.mktemp("dashboard")
    clip, picture = folder / "clip.mp3", folder / "clip.png"
    clip.write_bytes(bytes(range(256)) * 40)
    picture.write_bytes(b"\x89PNG")
    return Site(folder, clip, picture, 40.0)


@pytest.fixture(scope="module")
def service(site: Site) -> Iterator[Service]:
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(site.folder),
        "STORAGE_URL": str(site.folder / "audio"),
        "TRACKER_URL": f"sqlite:///{site.folder / 'tracker.db'}",
        **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
    }
    service = start_function(
        "dashboard",
        "dashboard",
        directory=site.folder,
        env=env,
        is_up=lambda service: service.get("/api/stats").status == 200,
    )
    try:
        yield service
    finally:
        service.close()


class Client:
    """Requests as they go over the wire, with any headers."""

    def __init__(self, service: Service) -> None:
        self.port = service.port

    def ask(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, names)
        answer = connection.getresponse()
        try:
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()


@pytest.fixture
def client(service: Service) -> Client:
    return Client(service)


def test_every_page_is_served_with_its_files(site: Site, client: Client) -> None:
    key = site.add("Weekly sync").key
    for path in ("/", "/recordings", f"/recordings/{key}", "/nightly", "/health"):
        status, headers, page = client.ask("GET", path, Accept="text/html")
        assert status == 200, path
        assert "default-src 'none'" in headers["content-security-policy"]
        for asset in re.findall(r'(?:href|src)="(/assets/[^"]+)"', page.decode()):
            assert client.ask("GET", asset)[0] == 200


def test_audio_by_ranges(site: Site, client: Client) -> None:
    key = site.add("Weekly sync").key
    status, headers, part = client.ask("GET", f"/audio/{key}", Range="bytes=5-9")
    assert (status, part) == (206, bytes([5, 6, 7, 8, 9]))
    assert headers["content-range"] == "bytes 5-9/10240"
    assert client.ask("HEAD", f"/audio/{key}")[1]["content-length"] == "10240"
    assert client.ask("GET", f"/audio/{key}", Range="bytes=99999-")[0] == 416


def test_a_retry_needs_the_token_of_a_page(site: Site, client: Client) -> None:
    key = site.add("Review", Status.FAILED).key
    body = json.dumps({"keys": [key]}).encode()
    origin = f"http://127.0.0.1:{client.port}"
    sent = {"Content_Type": "application/json", "Origin": origin}
    assert client.ask("POST", "/api/retry", body, **sent)[0] == 403
    cookie = client.ask("GET", "/health", Accept="text/html")[1]["set-cookie"].partition(";")[0]
    sent |= {"Cookie": cookie, "X_CSRF_Token": cookie.partition("=")[2]}
    assert client.ask("POST", "/api/retry", body, **{**sent, "Origin": "http://x"})[0] == 403
    status, _, answer = client.ask("POST", "/api/retry", body, **sent)
    assert (status, json.loads(answer)["queued"]) == (200, [key])
    found = site.tracker.get(key)
    assert found is not None
    assert found.status is Status.QUEUED


def test_other_hosts_are_refused(client: Client) -> None:
    assert client.ask("GET", "/", Host="rebound.example:80")[0] == 421


def test_health_has_a_light_for_each_component(client: Client) -> None:
    status, _, body = client.ask("GET", "/api/health")
    components = json.loads(body)["components"]
    assert status == 200
    assert {name: one["light"] for name, one in components.items()} == {
        "ffmpeg": "green",
        "storage": "green",
        "tracker": "green",
        "queue": "green",
        "temporary space": "green",
        "drive": "grey",
        "sftp": "grey",
    }


def test_health_turns_red_when_storage_goes_and_green_again(site: Site, client: Client) -> None:
    folder, away = site.folder / "audio", site.folder / "away"
    folder.rename(away)
    try:
        until(lambda: client.ask("GET", "/api/health")[0] == 503)
        message = json.loads(client.ask("GET", "/api/health")[2])["components"]["storage"][
            "message"
        ]
        assert message == f"{folder} is gone: it was removed, renamed or unmounted"
    finally:
        away.rename(folder)  # fails if a directory was made in its place
    until(lambda: client.ask("GET", "/api/health")[0] == 200)
