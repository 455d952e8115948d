"""Secret Manager: secrets, their versions, and who may read them."""

from __future__ import annotations

import base64
import binascii
import re

from tests.terraform.control_plane import policies, roles
from tests.terraform.control_plane.errors import ApiError, invalid, not_found, require
from tests.terraform.control_plane.routing import Api, Call
from tests.terraform.control_plane.world import Json, World, now, patch

API = Api("secretmanager.googleapis.com", "secretmanager")
_SECRET = "projects/{project}/secrets/{secret}"
_VERSION = _SECRET + "/versions/{version}"
_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")


def secret_name(project: str, secret: str) -> str:
    """Return the full name of a secret."""
    return f"//{API.service}/projects/{project}/secrets/{secret}"


@API.route("POST", "v1/projects/{project}/secrets")
def create(call: Call) -> Json:
    """Create a secret."""
    secret = call.query["secretId"]
    require(_ID.fullmatch(secret), f"Invalid secret id: {secret}")
    replication = call.body.get("replication") or {}
    require(len(replication) == 1, "A secret is replicated automatically or by the user.")
    for replica in replication.get("userManaged", {}).get("replicas", ()):
        key = replica.get("customerManagedEncryption", {}).get("kmsKeyName")
        policies.require_key(call, key, API.service)
    body = {
        **call.body,
        "name": f"projects/{call.project.number}/secrets/{secret}",
        "createTime": now(),
        "etag": call.world.etag(),
    }
    return call.world.create(secret_name(call.project.id, secret), body)


@API.route("GET", f"v1/{_SECRET}")
@API.route("GET", f"v1/{_VERSION}")
def get(call: Call) -> Json:
    """Return a secret or a version."""
    return call.world.get(call.name)


@API.route("PATCH", f"v1/{_SECRET}")
def update(call: Call) -> Json:
    """Change a secret."""
    patch(call.world.get(call.name), call.body, call.mask)
    return call.world.get(call.name)


@API.route("DELETE", f"v1/{_SECRET}")
def delete(call: Call) -> Json:
    """Delete a secret with its versions."""
    call.world.delete(call.name)
    for version in call.world.below(f"{call.name}/versions/"):
        call.world.delete(version)
    return {}


@API.route("POST", f"v1/{_SECRET}:addVersion")
def add_version(call: Call) -> Json:
    """Add a version with the payload."""
    secret = call.world.get(call.name)
    data = call.body.get("payload", {}).get("data", "")
    try:
        payload = base64.b64decode(data, validate=True)
    except binascii.Error:
        raise invalid("The payload is no base64.") from None
    require(0 < len(payload) <= 65_536, "A payload has 1 byte to 64 KiB.")
    number = len(call.world.below(f"{call.name}/versions/")) + 1  # destroyed ones stay
    version = f"{call.name}/versions/{number}"
    call.world.contents[version] = payload
    body = {
        "name": f"{secret['name']}/versions/{number}",
        "createTime": now(),
        "state": "ENABLED",
        "etag": call.world.etag(),
    }
    return call.world.create(version, body)


@API.route("GET", f"v1/{_VERSION}:access")
def access(call: Call) -> Json:
    """Return a version's payload."""
    version = call.world.get(call.name)
    if version["state"] != "ENABLED":
        raise ApiError(400, f"{call.name} is not enabled.", "FAILED_PRECONDITION")
    data = base64.b64encode(call.world.contents[call.name]).decode()
    return {"name": version["name"], "payload": {"data": data}}


@API.route("POST", f"v1/{_VERSION}:enable")
@API.route("POST", f"v1/{_VERSION}:disable")
@API.route("POST", f"v1/{_VERSION}:destroy")
def change_state(call: Call) -> Json:
    """Enable, disable or destroy a version; a destroyed one stays, without its payload."""
    version = call.world.get(call.name)
    verb = call.path.partition(":")[2]
    version["state"] = {"enable": "ENABLED", "disable": "DISABLED", "destroy": "DESTROYED"}[verb]
    if verb == "destroy":
        call.world.contents.pop(call.name, None)
    return version


def check_readable(world: World, project: str, secret: str, version: str, email: str) -> None:
    """Refuse what would mount a version that is not there, or that the account cannot read."""
    path = secret.rpartition("/")[2]
    name = secret_name(project, path)
    versions = world.below(f"{name}/versions/")
    wanted = versions if version == "latest" else [f"{name}/versions/{version}"]
    if not any(world.resources.get(one, {}).get("state") == "ENABLED" for one in wanted):
        raise not_found(f"{name}/versions/{version}")
    holders = [name, f"//cloudresourcemanager.googleapis.com/projects/{project}"]
    if not policies.granted(world, email, roles.READ_SECRET, holders):
        message = f"Permission denied on secret {name} for {email}: it needs Secret Accessor."
        raise ApiError(403, message)


policies.serve_policies(API, "v1", _SECRET, roles.SECRET)
