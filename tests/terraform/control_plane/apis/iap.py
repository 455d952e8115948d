"""Identity-Aware Proxy: who may sign in to a service of Cloud Run."""

from __future__ import annotations

from tests.terraform.control_plane import policies, roles
from tests.terraform.control_plane.apis import run
from tests.terraform.control_plane.routing import Api, Call

API = Api("iap.googleapis.com", "iap")


def _check(call: Call) -> None:
    call.world.get(run.service_name(call.project.id, call["location"], call["name"]))


policies.serve_policies(
    API,
    "v1",
    "projects/{project}/iap_web/cloud_run-{location}/services/{name}",
    roles.IAP_SERVICE,
    _check,
)
