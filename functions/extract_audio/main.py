"""The entry point ``extract_audio`` under functions-framework: routes, and nothing else."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING

from shared.bootstrap import Services
from shared.core.errors import ConfigurationError
from shared.runtime import logging as pipeline_logging
from shared.runtime import shutdown
from shared.runtime.per_process import PerProcess

if TYPE_CHECKING:
    from flask import Request

    from shared.service.receiver import Receiver

log = logging.getLogger(__name__)

Answer = tuple[bytes | str, int, dict[str, str]]

_ROUTES = {
    "/": "POST",
    "/dead-letter": "POST",
    "/live": "GET",
    "/ready": "GET",
    "/health": "GET",
    "/metrics": "GET",
}

try:
    _services = Services.from_environment()
    _services.push_authenticator  # noqa: B018 - a wrong setting must not start
except ConfigurationError as error:
    sys.exit(f"extract_audio cannot start:\n{error}")

# Runs before gunicorn forks: build nothing, only register the fork hook.
shutdown.listen_after_fork()


def extract_audio(request: Request) -> Answer:
    """Answer a push, a dead letter, a probe or a scrape."""
    path = request.path.rstrip("/") or "/"
    if path not in _ROUTES:
        return "", 404, {}
    if request.method != _ROUTES[path]:
        return "", 405, {"Allow": _ROUTES[path]}
    with pipeline_logging.traced(dict(request.headers), _services.settings.project):
        try:
            if path == "/live":
                return "ok\n", 200, {}
            receiver = _receiver()
            if path == "/metrics":
                from shared.service.metrics import CONTENT_TYPE  # noqa: PLC0415

                return receiver.metrics.text(), 200, {"Content-Type": CONTENT_TYPE}
            if path in ("/ready", "/health"):
                from functions.extract_audio.assembly import health_checks  # noqa: PLC0415
                from shared.service import health  # noqa: PLC0415

                state = health.check(health_checks(_services, only_ready=path == "/ready"))
                status = 200 if state["status"] == "ok" else 503
                return json.dumps(state) + "\n", status, {"Content-Type": "application/json"}
            if refused := receiver.refusal(request.headers.get("Authorization", "")):
                return "", refused, {}
            body = request.get_data(cache=False)
            receive = receiver.receive_dead if path == "/dead-letter" else receiver.receive
            return "", receive(body), {}
        except Exception:
            # Pub/Sub will redeliver; don't leak the error to the caller.
            log.exception("request failed")
            return "", 503, {}


def _build() -> Receiver:
    from functions.extract_audio.assembly import build_receiver  # noqa: PLC0415 - most of a cold start

    pipeline_logging.setup(_services.settings)
    return build_receiver(_services, cancelled=shutdown.requested.is_set)


# The first requests may come at once: two receivers would process two recordings at a time.
_receiver = PerProcess(_build)
