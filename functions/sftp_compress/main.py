"""The entry points under functions-framework; the targets are ``nightly`` and ``compress``."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING

from shared.bootstrap import Services
from shared.core.errors import ConfigurationError, is_transient
from shared.core.sftp_errors import UnreachableError
from shared.runtime import logging as pipeline_logging
from shared.runtime import shutdown
from shared.runtime.per_process import PerProcess

if TYPE_CHECKING:
    from flask import Request

    from shared.service.receiver import Receiver

log = logging.getLogger(__name__)

Answer = tuple[str, int, dict[str, str]]

try:
    # Missing SFTP settings are answered by requests instead: the first deployment creates an
    # empty secret, and would fail with a service that does not start.
    _services = Services.from_environment()
    _services.push_authenticator  # noqa: B018 - a wrong setting must not start
except ConfigurationError as error:
    sys.exit(f"sftp_compress cannot start:\n{error}")

# Runs before gunicorn forks: build nothing, only register the fork hook.
shutdown.listen_after_fork()


def nightly(request: Request) -> Answer:
    """Scan the SFTP server and publish what is new; answers with a summary or an error."""
    if request.method != "POST":
        return "", 405, {"Allow": "POST"}
    _set_up_logging()
    with pipeline_logging.traced(dict(request.headers), _services.settings.project):
        status = 200
        try:
            from functions.sftp_compress import assembly  # noqa: PLC0415 - most of a cold start

            body = assembly.build_nightly(_services).run()
        except Exception as error:
            if isinstance(error, ConfigurationError | UnreachableError):
                code = str(error.code)
            else:
                code = "transient" if is_transient(error) else "internal"
            log.exception("the nightly run failed", extra={"code": code})
            status, body = 500, {"error": {"code": code, "message": str(error)}}
    text = json.dumps(body, ensure_ascii=False) + "\n"
    return text, status, {"Content-Type": "application/json"}


def compress(request: Request) -> Answer:
    """Compress the file that a push request names."""
    if request.method != "POST":
        return "", 405, {"Allow": "POST"}
    _set_up_logging()
    with pipeline_logging.traced(dict(request.headers), _services.settings.project):
        try:
            receiver = _receiver()
            if refused := receiver.refusal(request.headers.get("Authorization", "")):
                return "", refused, {}
            return "", receiver.receive(request.get_data(cache=False)), {}
        except Exception:
            # Pub/Sub will redeliver; don't leak the error to the caller.
            log.exception("request failed")
            return "", 503, {}


def _build_receiver() -> Receiver:
    from functions.sftp_compress.assembly import build_receiver  # noqa: PLC0415 - most of a cold start

    return build_receiver(_services, cancelled=shutdown.requested.is_set)


# Once per process: the SFTP client silences its library's logger after this.
_set_up_logging = PerProcess(lambda: pipeline_logging.setup(_services.settings))
# The first requests may come at once: two receivers would process two files at a time.
_receiver = PerProcess(_build_receiver)
