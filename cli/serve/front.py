"""The one port that answers from outside: the webhook, the dashboard, health and metrics.

Everything else is refused: the other functions listen on sockets that only this user can
reach. A check of the caller's address would not do instead, since behind a reverse proxy
every request comes from this machine.
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from functions_framework import create_app
from functions_framework._http.gunicorn import GunicornApplication

import functions
from shared.runtime import unix_http

#: The environment variable with the sockets of the other functions, JSON by name.
SOCKETS = "SERVE_SOCKETS"

#: Functions that only the queue and the clock call.
INSIDE = frozenset({"/extract", "/maintain", "/compress", "/nightly"})

_PROBE_S = 6.0

StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


def run() -> None:
    """Serve on the socket that was passed, until SIGTERM."""
    sockets = {name: Path(path) for name, path in json.loads(os.environ[SOCKETS]).items()}
    folder = Path(functions.__path__[0])
    front = Front(
        notify=_loaded("notify", folder / "drive_watch/main.py"),
        dashboard=_loaded("dashboard", folder / "dashboard/main.py"),
        sockets=sockets,
    )
    server = GunicornApplication(front, "127.0.0.1", 0, False)  # type: ignore[no-untyped-call]
    server.run()


def _loaded(target: str, source: Path) -> Application:
    app: Application = create_app(target, str(source))  # type: ignore[no-untyped-call]
    return app


class Front:
    """A WSGI application over the webhook and the dashboard.

    Args:
        notify: The webhook, mounted at ``/notify``.
        dashboard: Mounted at ``/``.
        sockets: Where the other functions listen, by name.
    """

    def __init__(
        self, notify: Application, dashboard: Application, sockets: dict[str, Path]
    ) -> None:
        self._notify = notify
        self._dashboard = dashboard
        self._sockets = sockets

    def __call__(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        path = str(environ.get("PATH_INFO", "/")).rstrip("/") or "/"
        if path == "/notify":
            inner = {"SCRIPT_NAME": f"{environ.get('SCRIPT_NAME', '')}/notify", "PATH_INFO": "/"}
            return self._notify({**environ, **inner}, start)
        if path in INSIDE or path.startswith(tuple(f"{inside}/" for inside in INSIDE)):
            return _answer(start, "403 Forbidden", b"only the queue and the clock call this\n")
        if path == "/live":
            return _answer(start, "200 OK", b"ok\n")
        wants_page = "text/html" in environ.get("HTTP_ACCEPT", "")
        if path == "/ready" or (path == "/health" and not wants_page):
            return self._state(start, path)
        if path == "/metrics":
            texts = [reply.body.decode() for reply in self._extractors("/metrics")]
            status, text = _asked_inside(self._dashboard, environ)
            if status.startswith("200"):
                texts.append(text.decode())
            kind = "text/plain; version=0.0.4; charset=utf-8"
            return _answer(start, "200 OK", merged(texts).encode(), kind)
        return self._dashboard(environ, start)

    def _state(self, start: StartResponse, path: str) -> Iterable[bytes]:
        """Answer with the parts that an extractor checks, and with each process."""
        with ThreadPoolExecutor(len(self._sockets)) as pool:
            states = dict(zip(self._sockets, pool.map(_is_up, self._sockets.values()), strict=True))
        components: dict[str, Any] = {}
        for reply in self._extractors(path):
            components |= json.loads(reply.body)["components"]
        for name, is_up in states.items():
            message = "" if is_up else "does not answer; it is being restarted"
            components[name] = {"ok": is_up, "message": message}
        is_ok = all(part["ok"] for part in components.values())
        body = {"status": "ok" if is_ok else "down", "components": components}
        status = "200 OK" if is_ok else "503 Service Unavailable"
        return _answer(start, status, json.dumps(body).encode() + b"\n", "application/json")

    def _extractors(self, path: str) -> list[unix_http.Response]:
        names = [name for name in self._sockets if name.startswith("extract")]
        found = [_ask(self._sockets[name], path) for name in names]
        return [reply for reply in found if reply is not None]


def merged(texts: Sequence[str]) -> str:
    """Add up the metrics of several processes, in Prometheus's text format."""
    lines: dict[str, float | None] = {}
    for text in texts:
        for line in text.splitlines():
            if line.startswith("#"):
                lines.setdefault(line, None)
                continue
            name, _, value = line.rpartition(" ")
            before = lines.get(name)
            if before is None or name.partition("{")[0].endswith("_created"):
                lines[name] = float(value) if before is None else min(before, float(value))
            else:
                lines[name] = before + float(value)
    return "".join(
        f"{name}\n" if value is None else f"{name} {value}\n" for name, value in lines.items()
    )


def _asked_inside(app: Application, environ: dict[str, Any]) -> tuple[str, bytes]:
    """Ask a WSGI application of this process; returns its status and body."""
    statuses: list[str] = []

    def start(status: str, _headers: list[tuple[str, str]], _exc_info: object = None) -> None:
        statuses.append(status)

    parts = app(environ, start)
    try:
        body = b"".join(parts)
        return statuses[0], body
    finally:
        if close := getattr(parts, "close", None):
            close()


def _is_up(socket: Path) -> bool:
    return _ask(socket, "/live") is not None


def _ask(socket: Path, path: str) -> unix_http.Response | None:
    try:
        return unix_http.request(socket, "GET", path, timeout_s=_PROBE_S)
    except (OSError, http.client.HTTPException):
        return None


def _answer(
    start: StartResponse, status: str, body: bytes, kind: str = "text/plain; charset=utf-8"
) -> Iterable[bytes]:
    start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
