"""The entry points under functions-framework: ``notify`` (public) and ``maintain``."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from shared.core import untrusted_json
from shared.core.errors import CancelledError
from shared.runtime import request_limits, shutdown
from shared.runtime.per_process import PerProcess

if TYPE_CHECKING:
    from flask import Request

    from functions.drive_watch.watch import Watch

log = logging.getLogger(__name__)

Answer = tuple[str, int, dict[str, str]]

#: Drive's notifications and our calls of ``maintain`` have less than 100 bytes.
MAX_BODY = 16 * 1024

_JSON = {"Content-Type": "application/json"}

# Runs before gunicorn forks: build nothing, only set limits and register the fork hook.
request_limits.limit_requests(unread="notify", max_body=MAX_BODY)
shutdown.listen_after_fork()


def notify(request: Request) -> Answer:
    """Answer a notification of Drive: 204, 403 for a forged one, 500 when the drain failed."""
    if refused := _refused(request):
        return refused
    from functions.drive_watch.notify import receive  # noqa: PLC0415 - most of a cold start

    try:
        return "", receive(_watch(), request.headers), {}
    except CancelledError:
        log.info("drain stopped on request")
        return "", 500, {}  # Drive notifies again
    except Exception:
        # Drive retries after 500, 502, 503 and 504; don't leak the error to the caller.
        log.exception("not drained")
        return "", 500, {}


def maintain(request: Request) -> Answer:
    """Do what is due on the schedule, and answer with a JSON summary."""
    if refused := _refused(request):
        return refused
    try:
        wanted = _wanted(request.get_data(cache=False))
    except ValueError as error:
        return json.dumps({"error": str(error)}) + "\n", 400, _JSON
    from functions.drive_watch.maintain import Maintenance  # noqa: PLC0415 - most of a cold start

    try:
        watch = _watch()
        maintenance = Maintenance(watch, watch.budget())
        if "only" in wanted:
            summary = maintenance.requeue()
        else:
            summary = maintenance.run(full=bool(wanted.get("full")))
    except Exception:
        log.exception("not maintained")
        return "", 500, {}
    status = 500 if maintenance.has_failed else 200
    return json.dumps(asdict(summary)) + "\n", status, _JSON


def _refused(request: Request) -> Answer | None:
    """Return the answer to a request that is not read."""
    if request.path != "/":
        return "", 404, {}
    if request.method != "POST":
        return "", 405, {"Allow": "POST"}
    if (request.content_length or 0) > MAX_BODY:
        return "", 413, {}
    return None


def _wanted(body: bytes) -> dict[str, object]:
    wanted = untrusted_json.parse(body or b"{}")
    if not isinstance(wanted, dict) or wanted.keys() - {"only", "full"}:
        raise ValueError('the body must be {}, {"only": "requeue"} or {"full": true}')
    if wanted.get("only", "requeue") != "requeue" or type(wanted.get("full", True)) is not bool:
        raise ValueError('"only" must be "requeue", "full" must be true or false')
    return wanted


def _build() -> Watch:
    from functions.drive_watch.assembly import build_watch  # noqa: PLC0415 - most of a cold start
    from shared.bootstrap import Services  # noqa: PLC0415
    from shared.runtime import logging as pipeline_logging  # noqa: PLC0415

    services = Services.from_environment()
    pipeline_logging.setup(services.settings)
    return build_watch(services, cancelled=shutdown.requested.is_set)


_watch = PerProcess(_build)
