"""Service Usage: which APIs a project has enabled."""

from __future__ import annotations

import re

from tests.terraform.control_plane import operations
from tests.terraform.control_plane.errors import ApiError, require
from tests.terraform.control_plane.routing import Api, Call
from tests.terraform.control_plane.world import Json, Project

API = Api("serviceusage.googleapis.com", "serviceusage")
_NAME = re.compile(r"[a-z][a-z0-9-]*(\.[a-z0-9-]+)*\.googleapis\.com")


def _service(project: Project, name: str) -> Json:
    state = "ENABLED" if name in project.enabled else "DISABLED"
    return {"name": f"projects/{project.number}/services/{name}", "state": state}


@API.route("GET", "v1/projects/{project}/services")
def list_services(call: Call) -> Json:
    """List the enabled ones, which is the only filter that is asked for."""
    require(call.query.get("filter") == "state:ENABLED", "Only state:ENABLED can be listed.")
    return {"services": [_service(call.project, name) for name in sorted(call.project.enabled)]}


@API.route("GET", "v1/projects/{project}/services/{service}")
def get_service(call: Call) -> Json:
    """Return whether one is enabled."""
    return _service(call.project, call["service"])


@API.route("POST", "v1/projects/{project}/services/{service}:enable")
def enable(call: Call) -> Json:
    """Enable one."""
    return _enable(call, [call["service"]])


@API.route("POST", "v1/projects/{project}/services:batchEnable")
def enable_many(call: Call) -> Json:
    """Enable at most 20."""
    names = call.body["serviceIds"]
    require(len(names) <= 20, "At most 20 services can be enabled at once.")
    return _enable(call, names)


def _enable(call: Call, names: list[str]) -> Json:
    for name in names:
        if not _NAME.fullmatch(name):
            raise ApiError(403, f"Not found or permission denied for service: {name}.")
        call.world.enable(call.project, name)
    services = [_service(call.project, name) for name in names]
    return _done(call, {"services": services})


@API.route("POST", "v1/projects/{project}/services/{service}:disable")
def disable(call: Call) -> Json:
    """Disable one."""
    call.project.enabled.discard(call["service"])
    return _done(call, {"service": _service(call.project, call["service"])})


def _done(call: Call, response: Json) -> Json:
    name = f"operations/acf.{call.world.serial()}"
    call.world.operations[name] = {"name": name, "done": True, "response": response}
    return {"name": name}


API.route("GET", "v1/operations/{operation}")(operations.find)
