"""The entry point under functions-framework; the target is ``dashboard``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from shared.bootstrap import Services
from shared.core.errors import ConfigurationError
from shared.runtime import logging as pipeline_logging
from shared.runtime import shutdown
from shared.runtime.per_process import PerProcess

if TYPE_CHECKING:
    from flask import Flask, Request
    from werkzeug.wrappers import Response


try:
    _services = Services.from_environment()
except ConfigurationError as error:
    sys.exit(f"dashboard cannot start:\n{error}")

# Runs before gunicorn forks: build nothing, only register the fork hook.
shutdown.listen_after_fork()


def _build() -> Flask:
    from functions.dashboard.app import create_app  # noqa: PLC0415 - most of a cold start
    from functions.dashboard.backend import Backend  # noqa: PLC0415

    pipeline_logging.setup(_services.settings)
    # On Cloud Run only the platform reaches the server, under names that it chooses.
    on_cloud_run = bool(os.environ.get("K_SERVICE"))
    return create_app(Backend.of(_services, any_host=on_cloud_run))


_app = PerProcess(_build)


def dashboard(request: Request) -> Response:
    """Answer one request by the dashboard's own Flask app."""
    from werkzeug.wrappers import Response  # noqa: PLC0415

    with pipeline_logging.traced(dict(request.headers), _services.settings.project):
        return Response.from_app(_app().wsgi_app, request.environ)
