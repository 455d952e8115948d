"""The service's entry point under functions-framework; the target is ``extract_audio``."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.bootstrap import Services
from shared.core.errors import ConfigurationError
from shared.runtime import logging as pipeline_logging
from shared.runtime import shutdown
from shared.runtime.per_process import PerProcess

if TYPE_CHECKING:
    from flask import Request

    from functions.extract_audio.service import Service

log = logging.getLogger(__name__)

Answer = tuple[bytes | str, int, dict[str, str]]

_JSON = {"Content-Type": "application/json"}


def _configured() -> Services:
    try:
        return Services.from_environment()
    except ConfigurationError as error:
        sys.exit(f"extract_audio cannot start:\n{error}")


# Loaded in gunicorn's master: nothing is built before the fork, but the fork is told.
_services = _configured()
shutdown.listen_after_fork()


def extract_audio(request: Request) -> Answer:
    """Answer one request: a push, a dead letter, or a question about health."""
    route = _ROUTES.get((request.method, request.path.rstrip("/") or "/"))
    if route is None:
        known = {path for _, path in _ROUTES}
        return "", 405 if request.path in known else 404, {}
    with pipeline_logging.traced(dict(request.headers), _services.settings.project):
        try:
            return route(request)
        except Exception:
            # Whatever it was, the message comes again; what it met is nobody's outside.
            log.exception("not done")
            return "", 503, {}


def _build() -> Service:
    from functions.extract_audio.service import Service  # noqa: PLC0415 - most of a cold start

    pipeline_logging.setup(_services.settings)
    return Service(_services, cancelled=shutdown.requested.is_set)


# The first requests may come at once: two services would run two recordings side by side.
_service = PerProcess(_build)


def _push(request: Request) -> Answer:
    return "", _service().receive(request.get_data(cache=False)), {}


def _dead_letter(request: Request) -> Answer:
    return "", _service().receive_dead(request.get_data(cache=False)), {}


def _live(_: Request) -> Answer:
    return "ok\n", 200, {}


def _ready(_: Request) -> Answer:
    return _state(_service().ready())


def _health(_: Request) -> Answer:
    return _state(_service().health())


def _state(state: dict[str, object]) -> Answer:
    return json.dumps(state) + "\n", 200 if state["status"] == "ok" else 503, _JSON


def _metrics(_: Request) -> Answer:
    from shared.service.metrics import CONTENT_TYPE  # noqa: PLC0415

    return _service().metrics.text(), 200, {"Content-Type": CONTENT_TYPE}


_ROUTES: dict[tuple[str, str], Callable[[Request], Answer]] = {
    ("POST", "/"): _push,
    ("POST", "/dead-letter"): _dead_letter,
    ("GET", "/live"): _live,
    ("GET", "/ready"): _ready,
    ("GET", "/health"): _health,
    ("GET", "/metrics"): _metrics,
}
