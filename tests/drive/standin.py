"""A stand-in in this process, asked over HTTP as any client asks it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from google.oauth2.credentials import Credentials

from cli.demo.drive_standin import DriveServer, World, discovery, serve
from shared.adapters.google.drive_client import DriveClient
from tests.drive import schema

READER = "reader@project.iam.gserviceaccount.com"
OWNER = "ana@example.com"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        return str(self.json["error"]["errors"][0]["reason"])


@dataclass(frozen=True)
class StandIn:
    """A running stand-in and its world."""

    world: World
    server: DriveServer

    def client(self, account: str = READER, *, retry_s: float = 20.0) -> DriveClient:
        """Return the pipeline's client, with a token of ``account``."""
        token = self.world.identity.issue(account)
        return DriveClient(
            "",
            lambda: Credentials(token=token),  # type: ignore[no-untyped-call]
            endpoint=self.server.endpoint,
            retry_s=retry_s,
        )

    def ask(
        self,
        path: str,
        *,
        account: str = READER,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        **parameters: Any,
    ) -> Answer:
        """Call the API; a successful answer is checked against the discovery document."""
        found = discovery.find(method, path)
        assert found, f"{method} {path} is not in the discovery document"
        query = urlencode({name: _text(value) for name, value in parameters.items()})
        request = urllib.request.Request(
            f"{self.server.endpoint}{path}?{query}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={
                "Authorization": f"Bearer {token or self.world.identity.issue(account)}",
                **(headers or {}),
            },
        )
        answer = _send(request)
        response = found[0].response
        if answer.status == 200 and response and parameters.get("alt") != "media":
            assert schema.problems(answer.json, response) == []
        return answer


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _send(request: urllib.request.Request) -> Answer:
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return Answer(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


@contextmanager
def running(world: World | None = None) -> Iterator[StandIn]:
    """Run a stand-in for as long as the context lasts."""
    world = world or World(default_account=READER)
    with serve(world) as server:
        yield StandIn(world, server)
