"""The entry points under functions-framework: ``notify`` (public) and ``maintain``."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from shared.runtime import shutdown
from shared.runtime.per_process import PerProcess

if TYPE_CHECKING:
    from flask import Request

    from functions.drive_watch.watch import Watch

log = logging.getLogger(__name__)

Answer = tuple[str, int, dict[str, str]]

#: Drive's notifications have less than 100 bytes, and ours to ``maintain`` no more.
MAX_BODY = 16 * 1024

_JSON = {"Content-Type": "application/json"}

# Loaded in gunicorn's master: nothing is built before the fork, but the fork is told.
shutdown.listen_after_fork()


def notify(request: Request) -> Answer:
    """Answer a notification of Drive: 204, 403 for a forged one, 500 when the drain failed."""
    if refused := _refused(request):
        return refused
    from functions.drive_watch.notify import receive  # noqa: PLC0415

    try:
        return "", receive(_watch(), request.headers), {}
    except Exception:
        # Drive tries again after 500, 502, 503 and 504; what it met is nobody's outside.
        log.exception("not drained")
        return "", 500, {}


def maintain(request: Request) -> Answer:
    """Do what is due by the clock, and answer with a JSON summary."""
    if refused := _refused(request):
        return refused
    try:
        wanted = _wanted(request.get_data(cache=False))
    except ValueError as error:
        return json.dumps({"error": str(error)}) + "\n", 400, _JSON
    try:
        return _maintain(wanted)
    except Exception:
        log.exception("not maintained")
        return "", 500, {}


def _refused(request: Request) -> Answer | None:
    if request.path != "/":
        return "", 404, {}
    if request.method != "POST":
        return "", 405, {"Allow": "POST"}
    if (request.content_length or 0) > MAX_BODY:
        return "", 413, {}
    return None


def _wanted(body: bytes) -> dict[str, object]:
    wanted = json.loads(body or b"{}")
    if not isinstance(wanted, dict) or wanted.keys() - {"only", "full"}:
        raise ValueError('the body is {}, {"only": "requeue"} or {"full": true}')
    if wanted.get("only", "requeue") != "requeue" or type(wanted.get("full", True)) is not bool:
        raise ValueError('"only" is "requeue", "full" is true or false')
    return wanted


def _maintain(wanted: dict[str, object]) -> Answer:
    from functions.drive_watch.maintain import Maintenance  # noqa: PLC0415

    watch = _watch()
    maintenance = Maintenance(watch, watch.budget())
    if "only" in wanted:
        summary = maintenance.requeue()
    else:
        summary = maintenance.run(full=bool(wanted.get("full")))
    text = json.dumps(asdict(summary)) + "\n"
    return text, 500 if maintenance.has_failed else 200, _JSON


def _build() -> Watch:
    from functions.drive_watch.watch import Watch  # noqa: PLC0415
    from shared.bootstrap import Services  # noqa: PLC0415
    from shared.runtime import logging as pipeline_logging  # noqa: PLC0415

    services = Services.from_environment()
    pipeline_logging.setup(services.settings)
    return Watch(services, cancelled=shutdown.requested.is_set)


_watch = PerProcess(_build)
