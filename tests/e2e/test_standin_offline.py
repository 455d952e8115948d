"""What uses the stand-in of Drive asks no other machine."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from google.auth.transport.requests import AuthorizedSession

from cli.demo.drive_standin.identity import LOOPBACK_ONLY
from shared.adapters.google.drive_auth import drive_credentials
from tests.drive.rig import credentials
from tests.drive.standin import running


@pytest.mark.parametrize("is_confined", [True, False])
def test_google_auth_stays_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_confined: bool
) -> None:
    """Unconfined, google-auth looks for iamcredentials: if that ends, this test can go."""
    asked: set[str] = set()
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: object, **more: object) -> object:
        asked.add(host)
        if host != "127.0.0.1":
            raise socket.gaierror(f"{host} is not this machine")
        return resolve(host, *arguments, **more)  # type: ignore[arg-type]

    for name in LOOPBACK_ONLY:
        monkeypatch.delenv(name, raising=False)
    with running() as standin:
        path = credentials(standin, tmp_path)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
        for name, value in LOOPBACK_ONLY.items() if is_confined else ():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        before = set(threading.enumerate())
        session = AuthorizedSession(drive_credentials())  # type: ignore[no-untyped-call]
        answer = session.get(f"{standin.server.endpoint}files", timeout=30)
        assert answer.status_code == 200
        for thread in set(threading.enumerate()) - before:
            if "Refresh" in type(thread).__name__:
                thread.join()
    assert asked == {"127.0.0.1"} | (set() if is_confined else {"iamcredentials.googleapis.com"})
