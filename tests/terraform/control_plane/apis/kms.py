"""Cloud KMS: who may use a key, which exists outside of the configuration."""

from __future__ import annotations

from tests.terraform.control_plane import policies, roles
from tests.terraform.control_plane.errors import not_found
from tests.terraform.control_plane.routing import Api, Call

API = Api("cloudkms.googleapis.com", "cloudkms")


def _there(call: Call) -> None:
    if call.name.removeprefix("//cloudkms.googleapis.com/") not in call.world.keys:
        raise not_found(call.name)


policies.serve_policies(
    API,
    "v1",
    "projects/{project}/locations/{location}/keyRings/{ring}/cryptoKeys/{key}",
    roles.KEY,
    _there,
)
