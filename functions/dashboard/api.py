"""The JSON API. ``openapi.json`` describes it, and a test compares the two."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from functions.dashboard import listing, metrics, parameters
from functions.dashboard.context import context, is_unavailable
from functions.dashboard.links import LIFETIMES
from functions.dashboard.listing import MAX_LIMIT, Filters
from functions.dashboard.media import audio_of
from functions.dashboard.problems import ProblemError
from functions.dashboard.retrying import retry, retry_failed
from shared.core import untrusted_json
from shared.core.ports import Op
from shared.core.records import COLLECTION, Recording, Status
from shared.core.times import format_time

blueprint = Blueprint("api", __name__)

#: How far back a poll looks again, for workers whose clocks are behind ours.
_OVERLAP = timedelta(seconds=10)

#: How many changes one poll returns, the latest ones.
_MAX_CHANGES = 50

_HEALTH_STALE_S = 60.0


def as_json(recording: Recording) -> dict[str, Any]:
    """Return a recording's document with times as RFC 3339 text."""
    return {name: _plain(value) for name, value in recording.to_document().items()}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return format_time(value)
    return value


@blueprint.get("/api/recent")
def recent() -> Response:
    """Return the recordings that changed last."""
    filters = parameters.filters(request.args)
    return _page(Filters(status=filters.status, source=filters.source))


@blueprint.get("/api/failed")
def failed() -> Response:
    """Return the recordings that failed."""
    filters = parameters.filters(request.args)
    return _page(Filters(status=Status.FAILED.value, source=filters.source, code=filters.code))


@blueprint.get("/api/search")
def search() -> Response:
    """Return the recordings that have all words of ``q``, by their start."""
    filters = parameters.filters(request.args)
    if not filters.q:
        raise ProblemError(400, "q is missing: the words to search for")
    return _page(filters)


def _page(filters: Filters) -> Response:
    limit = parameters.limit(request.args)
    found = listing.page(context().documents, filters, request.args.get("cursor", ""), limit)
    return jsonify(
        recordings=[as_json(recording) for recording in found.recordings], cursor=found.cursor
    )


@blueprint.get("/api/recordings/<key>")
def recording(key: str) -> Response:
    """Return one recording's document."""
    return jsonify(as_json(context().recording(key)))


@blueprint.get("/api/health")
def health() -> tuple[Response, int]:
    """Return a light and a message for each component; 503 when one is down."""
    state = context().monitor.health()
    return jsonify(state), 200 if state["status"] == "ok" else 503


@blueprint.get("/api/stats")
def stats() -> Response:
    """Return counts, the queue, failures by code, and the last days."""
    figures = context().stats
    counts = figures.counts()
    oldest = figures.oldest_waiting()
    return jsonify(
        counts=counts,
        queue={"depth": counts[Status.QUEUED], "oldest_queued_at": _plain(oldest)},
        failures=figures.failures(),
        days=figures.days(),
    )


@blueprint.get("/api/events")
def events() -> Response:
    """Return what changed since a time, with an entity tag: 304 when nothing has.

    ``counts`` is empty while the tracker cannot be read.

    Polled rather than streamed: a stream would occupy one of few server threads for each
    open page, and Cloud Run and proxies cut long answers anyway.
    """
    since = _since(request.args["since"]) if "since" in request.args else None
    recordings: list[Recording] = []
    try:
        counts = context().stats.counts()
        if since:
            changed = context().documents.find(
                COLLECTION,
                ("updated_at", Op.GT, since - _OVERLAP),
                order_by="updated_at",
                descending=True,
                limit=_MAX_CHANGES,
            )
            recordings = [Recording.from_document(read.document) for read in changed]
    except Exception as error:
        if not is_unavailable(error):
            raise
        # Without the tracker the page still has to learn that it is down.
        counts = {}
    latest = max([one.updated_at for one in recordings if one.updated_at], default=None)
    if since and (latest is None or latest < since):
        latest = since
    state = context().monitor.health(stale_s=_HEALTH_STALE_S)
    answer = jsonify(
        since=_plain(latest or context().tracker.clock()),
        changed=[
            {
                "key": one.key,
                "status": one.status.value,
                "progress": one.progress,
                "updated_at": _plain(one.updated_at),
            }
            for one in recordings
        ],
        health={name: one["light"] for name, one in state["components"].items()},
        counts=counts,
    )
    answer.headers["Cache-Control"] = "private, no-cache"
    answer.set_etag(hashlib.sha256(answer.get_data()).hexdigest()[:32])
    answer.make_conditional(request)
    return answer


def _since(text: str) -> datetime:
    try:
        since = datetime.fromisoformat(text)
        if since.tzinfo is None or not 1970 < since.year < 9999:
            raise ValueError("no zone")
    except ValueError:
        raise ProblemError(400, "since must be a time that an answer returned") from None
    return since


@blueprint.post("/api/refresh-url")
def refresh_url() -> Response:
    """Return a link to the audio of ``key`` that works for a day or a week."""
    body = _body()
    key = _text(body, "key")
    lifetime = body.get("lifetime", "day")
    if not isinstance(lifetime, str) or lifetime not in LIFETIMES:
        raise ProblemError(400, f"lifetime must be one of {', '.join(LIFETIMES)}")
    found, audio = audio_of(key)
    url, expires = context().links.make(found, audio, LIFETIMES[lifetime])
    return jsonify(url=url, expires_at=_plain(expires))


@blueprint.post("/api/retry")
def retry_recordings() -> BaseResponse:
    """Queue recordings again: those of ``keys``, or all that FAILED with ``code``."""
    body = _body()
    if request.is_json and len(body) > 1:
        raise ProblemError(400, "give keys or a code, and nothing else")
    if "code" in body:
        code = parameters.filters({"code": _text(body, "code")}).code
        outcome = retry_failed(context(), code)
    else:
        keys = body.get("keys")
        if isinstance(keys, str) and not request.is_json:
            keys = [keys]  # a form with one
        if not isinstance(keys, list) or not keys or len(keys) > MAX_LIMIT:
            raise ProblemError(400, f"keys must be a list of 1 to {MAX_LIMIT} keys, or give a code")
        outcome = retry(context(), [_checked_key(key) for key in keys])
    if not request.is_json:
        # Back to the page whose form this was, with a notice of what was done.
        came_from = urlsplit(request.referrer or "")
        own = came_from.netloc == request.host and came_from.path.startswith("/")
        path = came_from.path if own and not came_from.path.startswith("//") else "/"
        kept = [part for part in came_from.query.split("&") if part and own]
        kept = [part for part in kept if not part.startswith(("retried=", "refused=", "more="))]
        kept.append(f"retried={len(outcome.queued)}")
        if outcome.refused:
            kept.append(f"refused={len(outcome.refused)}")
        if outcome.more:
            kept.append("more=1")
        return redirect(f"{path}?{'&'.join(kept)}", 303)
    if not outcome.queued and len(outcome.refused) == 1:
        if outcome.refused[0]["reason"] == "unknown":
            raise ProblemError(404, "there is no recording with this key")
        raise ProblemError(409, "a worker is processing this recording now")
    return jsonify(outcome.as_json())


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise ProblemError(400, f"{name} is missing")
    return _checked_key(value)


def _checked_key(key: object) -> str:
    if not isinstance(key, str) or not parameters.is_key(key):
        raise ProblemError(400, "a key has letters, digits, '.', '_' and '-' only")
    return key


def _body() -> Mapping[str, Any]:
    """Return the fields of a JSON object or a form."""
    if request.mimetype in ("application/x-www-form-urlencoded", "multipart/form-data"):
        form = request.form
        return {name: form.getlist(name) if name == "keys" else form[name] for name in form}
    if not request.is_json:
        raise ProblemError(415, "send application/json")
    try:
        body = untrusted_json.parse(request.get_data())
    except ValueError:
        raise ProblemError(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise ProblemError(400, "the body is not a JSON object")
    return body


@blueprint.get("/api/openapi.json")
def openapi() -> Response:
    """Return the description of this API."""
    text = resources.files("functions.dashboard").joinpath("openapi.json").read_bytes()
    return Response(text, content_type="application/json")


@blueprint.get("/metrics")
def prometheus() -> Response:
    """Return the figures for Prometheus."""
    return Response(metrics.text(context()), content_type=metrics.CONTENT_TYPE)
