"""The entry points under functions-framework; the targets are ``nightly`` and ``compress``."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shared.bootstrap import Services
from shared.core.errors import ConfigurationError
from shared.runtime import logging as pipeline_logging
from shared.runtime import shutdown
from shared.runtime.per_process import PerProcess

if TYPE_CHECKING:
    from flask import Request

    from shared.service.receiver import Receiver

log = logging.getLogger(__name__)

Answer = tuple[str, int, dict[str, str]]

_JSON = {"Content-Type": "application/json"}


def _configured() -> Services:
    # What is not set yet is told by an answer instead: the first deployment makes an empty
    # secret, and would fail with a service that does not start.
    try:
        return Services.from_environment()
    except ConfigurationError as error:
        sys.exit(f"sftp_compress cannot start:\n{error}")


# Loaded in gunicorn's master: nothing is built before the fork, but the fork is told.
_services = _configured()
shutdown.listen_after_fork()


def nightly(request: Request) -> Answer:
    """Look at the SFTP server and publish what is new; answers with a summary or an error."""
    return _answered(request, _run)


def compress(request: Request) -> Answer:
    """Compress the file that a push request names."""
    return _answered(request, lambda: _receive(request.get_data(cache=False)))


def _answered(request: Request, answer: Callable[[], Answer]) -> Answer:
    if request.method != "POST":
        return "", 405, {}
    with pipeline_logging.traced(dict(request.headers), _services.settings.project):
        return answer()


def _run() -> Answer:
    from functions.sftp_compress.nightly import Nightly  # noqa: PLC0415 - most of a cold start

    pipeline_logging.setup(_services.settings)
    try:
        return _json(Nightly.of(_services).run(), 200)
    except Exception as error:
        code = str(getattr(error, "code", "internal"))
        log.exception("the nightly run failed", extra={"code": code})
        return _json({"error": {"code": code, "message": str(error)}}, 500)


def _receive(body: bytes) -> Answer:
    try:
        return "", _receiver().receive(body), {}
    except Exception:
        # Whatever it was, the message comes again; what it met is nobody's outside.
        log.exception("not done")
        return "", 503, {}


def _build() -> Receiver:
    from functions.sftp_compress.worker import CompressionWorker  # noqa: PLC0415 - most of a cold start
    from shared.core.message import Source  # noqa: PLC0415
    from shared.service.receiver import Receiver  # noqa: PLC0415

    pipeline_logging.setup(_services.settings)
    cancelled = shutdown.requested.is_set
    return Receiver(
        source=Source.SFTP,
        tracker=_services.tracker,
        # Only now: without a server there is no worker, but poison is still told from the rest.
        work=lambda delivery: CompressionWorker.of(_services).process(
            delivery.item, published_at=delivery.published_at, cancelled=cancelled
        ),
        cancelled=cancelled,
    )


_receiver = PerProcess(_build)


def _json(body: dict[str, Any], status: int) -> Answer:
    return json.dumps(body, ensure_ascii=False) + "\n", status, _JSON
