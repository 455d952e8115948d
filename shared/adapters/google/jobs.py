"""Starts a Cloud Run job for one recording, through the Cloud Run Admin API."""

from __future__ import annotations

import threading
from typing import Any

from shared.runtime.per_process import PerProcess

#: How long the API may take to accept a request, in seconds.
TIMEOUT_S = 20.0


class CloudRunJobs:
    """``ports.Jobs`` over ``projects.locations.jobs.run`` (Cloud Run Admin API v2).

    ``job`` is the full name, ``projects/…/locations/…/jobs/…``. The key is passed as an
    environment override, for which the caller needs ``run.jobs.runWithOverrides``.
    ``endpoint`` is another base address, for tests. Building the API client needs no
    network, since it carries its discovery document.
    """

    def __init__(self, job: str, *, variable: str, endpoint: str = "") -> None:
        self._job = job
        self._variable = variable
        self._endpoint = endpoint
        self._client = PerProcess(self._build)
        self._lock = threading.Lock()  # httplib2 is not safe for threads

    def start(self, key: str) -> None:
        """Request an execution and return once it is accepted."""
        override = {"containerOverrides": [{"env": [{"name": self._variable, "value": key}]}]}
        request = (
            self._client().projects().locations().jobs().run(
                name=self._job, body={"overrides": override}
            )
        )  # fmt: skip
        with self._lock:
            request.execute(num_retries=2)

    def _build(self) -> Any:
        import google.auth  # noqa: PLC0415
        import google_auth_httplib2  # noqa: PLC0415
        import httplib2  # noqa: PLC0415
        from googleapiclient.discovery import build  # noqa: PLC0415

        http: Any = httplib2.Http(timeout=TIMEOUT_S)
        options = {"api_endpoint": self._endpoint} if self._endpoint else None
        if not self._endpoint.startswith("http://"):
            scopes = ["https://www.googleapis.com/auth/cloud-platform"]
            credentials, _ = google.auth.default(scopes=scopes)
            http = google_auth_httplib2.AuthorizedHttp(credentials, http=http)
        return build(
            "run", "v2", http=http, client_options=options,
            static_discovery=True, cache_discovery=False,
        )  # fmt: skip
