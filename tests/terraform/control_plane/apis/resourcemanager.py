"""Resource Manager: the project itself, its policy and audit configuration."""

from __future__ import annotations

from tests.terraform.control_plane import policies, roles
from tests.terraform.control_plane.errors import require
from tests.terraform.control_plane.routing import Api, Call
from tests.terraform.control_plane.world import Json

API = Api("cloudresourcemanager.googleapis.com", "cloudresourcemanager")
_LOG_TYPES = {"ADMIN_READ", "DATA_READ", "DATA_WRITE"}


@API.route("GET", "v1/projects/{project}")
def get_project(call: Call) -> Json:
    """Describe a project."""
    return {
        "projectId": call.project.id,
        "projectNumber": str(call.project.number),
        "name": call.project.id,
        "lifecycleState": "ACTIVE",
        "createTime": "2026-01-01T00:00:00Z",
    }


@API.route("POST", "v1/projects/{project}:getIamPolicy")
def get_policy(call: Call) -> Json:
    """Return the project's policy."""
    return policies.read(call.world, call.name)


@API.route("POST", "v1/projects/{project}:setIamPolicy")
def set_policy(call: Call) -> Json:
    """Replace the project's policy."""
    policy = call.body["policy"]
    for config in policy.get("auditConfigs", ()):
        kinds = {log["logType"] for log in config["auditLogConfigs"]}
        require(kinds <= _LOG_TYPES, f"Invalid audit log types: {kinds}")
    return policies.write(call.world, call.name, roles.PROJECT, policy)
