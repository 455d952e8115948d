"""Artifact Registry: repositories of images."""

from __future__ import annotations

import re

from tests.terraform.control_plane import operations, policies, roles
from tests.terraform.control_plane.errors import exists, not_found, require
from tests.terraform.control_plane.routing import Api, Call
from tests.terraform.control_plane.world import Json, World, now, patch, repository_name

API = Api("artifactregistry.googleapis.com", "artifactregistry")
_PARENT = "projects/{project}/locations/{location}"
_REPOSITORY = _PARENT + "/repositories/{repository}"
_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_IMAGE = re.compile(r"([a-z0-9-]+)-docker\.pkg\.dev/([^/]+)/([^/]+)/[^@]+@sha256:[0-9a-f]{64}")


@API.route("POST", f"v1/{_PARENT}/repositories")
def create(call: Call) -> Json:
    """Create a repository."""
    repository = call.query["repository_id"]
    require(_ID.fullmatch(repository), f"Invalid repository id: {repository}")
    name = repository_name(call.project.id, call["location"], repository)
    if name in call.world.resources:
        raise exists(name)
    policies.require_key(call, call.body.get("kmsKeyName"), API.service)
    parent = call.path.removesuffix("/repositories")
    body = {
        "mode": "STANDARD_REPOSITORY",
        **call.body,
        "name": f"{call.path}/{repository}",
        "createTime": now(),
        "updateTime": now(),
        "registryUri": f"{call['location']}-docker.pkg.dev/{call.project.id}/{repository}",
        "vulnerabilityScanningConfig": {"enablementState": "SCANNING_DISABLED"},
    }
    return operations.start(call.world, parent, lambda: call.world.create(name, body))


@API.route("GET", f"v1/{_REPOSITORY}")
def get(call: Call) -> Json:
    """Return a repository."""
    return call.world.get(call.name)


@API.route("PATCH", f"v1/{_REPOSITORY}")
def update(call: Call) -> Json:
    """Change a repository."""
    patch(call.world.get(call.name), call.body, call.mask)
    return call.world.get(call.name)


@API.route("DELETE", f"v1/{_REPOSITORY}")
def delete(call: Call) -> Json:
    """Delete a repository with its images."""
    repository = call.world.get(call.name)
    call.world.delete(call.name)
    prefix = f"{repository['registryUri']}/"
    call.world.images -= {image for image in call.world.images if image.startswith(prefix)}
    return operations.start(call.world, call.path.partition("/repositories")[0], dict)


def check_image(world: World, image: str) -> None:
    """Refuse an image of a known project that is not there; others' images are taken on trust."""
    match = _IMAGE.fullmatch(image)
    known = match and any(match[2] == project for project in world.projects)
    if known and image not in world.images:
        raise not_found(f"Image '{image}' not found.")
    require(known or "/" in image, f"Invalid image: {image}")


operations.serve_operations(API, "v1", _PARENT)
policies.serve_policies(API, "v1", _REPOSITORY, roles.REPOSITORY)
