"""IAM: service accounts and who may act as them."""

from __future__ import annotations

import re

from tests.terraform.control_plane import policies, roles
from tests.terraform.control_plane.errors import exists, require
from tests.terraform.control_plane.policies import account_name
from tests.terraform.control_plane.routing import Api, Call
from tests.terraform.control_plane.world import Json, patch

API = Api("iam.googleapis.com", "iam")
_PATH = "projects/{project}/serviceAccounts/{email}"
_ID = re.compile(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])")


@API.route("POST", "v1/projects/{project}/serviceAccounts")
def create(call: Call) -> Json:
    """Create an account."""
    account_id = call.body["accountId"]
    require(_ID.fullmatch(account_id), f"Invalid account id {account_id}: 6 to 30 of a-z, 0-9, -.")
    email = f"{account_id}@{call.project.id}.iam.gserviceaccount.com"
    if account_name(email) in call.world.resources:
        raise exists(email)
    given = call.body.get("serviceAccount", {})
    require(len(given.get("displayName", "")) <= 100, "The display name is too long.")
    require(len(given.get("description", "").encode()) <= 256, "The description is too long.")
    unique = f"1{call.world.serial():020d}"
    account = {
        **given,
        "name": f"projects/{call.project.id}/serviceAccounts/{email}",
        "projectId": call.project.id,
        "uniqueId": unique,
        "oauth2ClientId": unique,
        "email": email,
        "etag": call.world.etag(),
    }
    return call.world.create(account_name(email), account)


@API.route("GET", f"v1/{_PATH}")
def get(call: Call) -> Json:
    """Return an account."""
    return call.world.get(account_name(call["email"]))


@API.route("PATCH", f"v1/{_PATH}")
def update(call: Call) -> Json:
    """Change an account."""
    account = call.world.get(account_name(call["email"]))
    patch(account, call.body["serviceAccount"], call.mask)
    return account


@API.route("DELETE", f"v1/{_PATH}")
def delete(call: Call) -> Json:
    """Delete an account; policies that name it keep a trace."""
    call.world.delete(account_name(call["email"]))
    policies.forget_account(call.world, call["email"])
    return {}


policies.serve_policies(API, "v1", _PATH, roles.ACCOUNT)
