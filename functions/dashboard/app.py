"""The dashboard's Flask app."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, render_template, request, url_for
from jinja2 import StrictUndefined
from markupsafe import Markup
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from functions.dashboard import api, media, pages, problems, security, texts
from functions.dashboard.backend import Backend
from functions.dashboard.context import Context, is_unavailable
from functions.dashboard.problems import ProblemError
from shared.core.counts import counted
from shared.core.times import format_time

log = logging.getLogger(__name__)

_GOOGLE_STORAGE = "https://storage.googleapis.com"


def create_app(backend: Backend) -> Flask:
    """Return the dashboard over ``backend``: a plain WSGI app."""
    # Not /static: functions-framework's own Flask app answers there, and finds nothing.
    app = Flask(__name__, static_url_path="/assets")
    app.config["MAX_CONTENT_LENGTH"] = 256 * 1024
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    with app.app_context():
        Context.of(backend).install()
    for blueprint in (pages.blueprint, api.blueprint, media.blueprint):
        app.register_blueprint(blueprint)
    _add_template_helpers(app)
    _add_guards(app, backend)
    _add_error_handlers(app)
    return app


def _add_template_helpers(app: Flask) -> None:
    versions: dict[str, str] = {}
    for path in sorted(Path(str(app.static_folder)).iterdir()):
        versions[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()[:12]

    def asset(name: str) -> str:
        return url_for("static", filename=name, v=versions[name])

    app.jinja_env.globals.update(
        asset=asset,
        csrf_token=security.csrf_token,
        counted=counted,
        title_of=pages.title_of,
        STATUS=texts.STATUS,
        SOURCE=texts.SOURCE,
        COMPONENT=texts.COMPONENT,
    )
    app.jinja_env.filters.update(
        duration=texts.duration,
        clock=texts.clock,
        size=texts.size,
        percent=texts.percent,
        reason=texts.reason,
        advice=texts.advice,
        sentence=texts.sentence,
        time=_time,
        since=_since,
    )


def _time(when: datetime | None) -> Markup:
    """Return a time as an element that the script shows in the viewer's zone."""
    if when is None:
        return Markup("–")
    if when.tzinfo is None:  # as the recording's name gives it
        return Markup('<time datetime="{}" data-named>{:%-d %b %Y, %H:%M}</time>').format(
            when.isoformat(timespec="minutes"), when
        )
    return _element(when, f"{when.astimezone(UTC):%-d %b %Y, %H:%M} UTC", "time")


def _since(when: datetime | None) -> Markup:
    """Return how long ago a time was, as an element that the script keeps current."""
    if when is None:
        return Markup("–")
    return _element(when, f"{when.astimezone(UTC):%-d %b %Y, %H:%M} UTC", "since")


def _element(when: datetime, text: str, kind: str) -> Markup:
    stamp = format_time(when, "seconds")
    name = {"time": "data-time", "since": "data-since"}[kind]
    return Markup('<time datetime="{}" {}>{}</time>').format(stamp, name, text)


def _add_guards(app: Flask, backend: Backend) -> None:
    iap = security.IapVerifier(backend.iap_audience) if backend.iap_audience else None
    remote = backend.storage.url("x").startswith("gs://")
    media_origins = _GOOGLE_STORAGE if remote else ""

    @app.before_request
    def guard() -> None:
        if iap:
            g.user = iap.check(request.headers.get(security.IAP_HEADER, ""))
        else:
            security.check_host(backend.hosts)
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            security.check_same_origin()

    @app.after_request
    def finish(response: Response) -> Response:
        security.set_cookie(response)
        security.harden(response, media_origins)
        return response


def _add_error_handlers(app: Flask) -> None:
    @app.errorhandler(ProblemError)
    def problem(error: ProblemError) -> Response:
        return _answer(error.status, error.detail, error.headers)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> BaseResponse:
        headers = {
            name: value
            for name, value in error.get_headers(request.environ)
            if name in ("Allow", "Retry-After")
        }
        if error.response is not None:
            return error.get_response(request.environ)
        return _answer(error.code or 500, error.description or "", headers)

    @app.errorhandler(Exception)
    def failure(error: Exception) -> Response:
        log.exception("a request failed")
        if is_unavailable(error):
            return _answer(503, "A component does not answer. Try again in a moment.", {})
        return _answer(500, "This is a bug. The log has the details.", {})


def _answer(status: int, detail: str, headers: dict[str, str]) -> Response:
    wants_json = request.path.startswith("/api/") or request.path == "/metrics"
    best = request.accept_mimetypes.best_match(["text/html", problems.CONTENT_TYPE])
    if wants_json or best != "text/html":
        return problems.response(status, detail, headers)
    try:
        page: Any = render_template("error.html", status=status, detail=detail)
    except Exception:
        log.exception("the error page failed")
        return problems.response(status, detail, headers)
    return Response(page, status=status, headers=headers)
