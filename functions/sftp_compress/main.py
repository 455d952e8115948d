"""The entry points under functions-framework; the targets are ``nightly`` and ``compress``."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shared.bootstrap import Services
from shared.core.errors import ConfigurationError, is_transient
from shared.core.sftp_errors import UnreachableError
from shared.runtime import logging as pipeline_logging
from shared.runtime import shutdown
from shared.runtime.per_process import PerProcess

if TYPE_CHECKING:
    from flask import Request

    from functions.sftp_compress.nightly import Nightly
    from shared.service.receiver import Receiver

log = logging.getLogger(__name__)

Answer = tuple[str, int, dict[str, str]]

try:
    # Missing SFTP settings are answered by requests instead: the first deployment creates an
    # empty secret, and would fail with a service that does not start.
    _services = Services.from_environment()
except ConfigurationError as error:
    sys.exit(f"sftp_compress cannot start:\n{error}")

# Runs before gunicorn forks: build nothing, only register the fork hook.
shutdown.listen_after_fork()


def nightly(request: Request) -> Answer:
    """Scan the SFTP server and publish what is new; answers with a summary or an error."""
    return _traced(request, _run_nightly)


def compress(request: Request) -> Answer:
    """Compress the file that a push request names."""
    return _traced(request, lambda: _receive(request.get_data(cache=False)))


def _traced(request: Request, answer: Callable[[], Answer]) -> Answer:
    if request.method != "POST":
        return "", 405, {"Allow": "POST"}
    _set_up_logging()
    with pipeline_logging.traced(dict(request.headers), _services.settings.project):
        return answer()


def _run_nightly() -> Answer:
    try:
        return _json(_nightly().run(), 200)
    except Exception as error:
        code = _code(error)
        log.exception("the nightly run failed", extra={"code": code})
        return _json({"error": {"code": code, "message": str(error)}}, 500)


def _code(error: Exception) -> str:
    """Return the stable code of an error; clients' errors have codes of their own."""
    if isinstance(error, ConfigurationError | UnreachableError):
        return str(error.code)
    return "transient" if is_transient(error) else "internal"


def _receive(body: bytes) -> Answer:
    try:
        return "", _receiver().receive(body), {}
    except Exception:
        # Pub/Sub will redeliver; don't leak the error to the caller.
        log.exception("request failed")
        return "", 503, {}


def _build_receiver() -> Receiver:
    from functions.sftp_compress.assembly import build_receiver  # noqa: PLC0415 - most of a cold start

    return build_receiver(_services, cancelled=shutdown.requested.is_set)


def _build_nightly() -> Nightly:
    from functions.sftp_compress.assembly import build_nightly  # noqa: PLC0415 - most of a cold start

    return build_nightly(_services)


# Once per process: the SFTP client silences its library's logger after this.
_set_up_logging = PerProcess(lambda: pipeline_logging.setup(_services.settings))
# The first requests may come at once: two receivers would process two files at a time.
_receiver = PerProcess(_build_receiver)
_nightly = PerProcess(_build_nightly)


def _json(body: dict[str, Any], status: int) -> Answer:
    text = json.dumps(body, ensure_ascii=False) + "\n"
    return text, status, {"Content-Type": "application/json"}
