"""Cloud Functions: functions that are built from an archive, and run as services of Cloud Run."""

from __future__ import annotations

import hashlib
import re

from tests.terraform.control_plane import archives, operations, policies, roles, runtime
from tests.terraform.control_plane.apis import compute, run, storage
from tests.terraform.control_plane.errors import ApiError, exists, require
from tests.terraform.control_plane.routing import Api, Call, text
from tests.terraform.control_plane.world import (
    BUILD_REGIONS,
    Json,
    now,
    patch,
    repository_name,
    without_defaults,
)

API = Api("cloudfunctions.googleapis.com", "cloudfunctions")
_PARENT = "projects/{project}/locations/{location}"
_FUNCTION = _PARENT + "/functions/{name}"
_ID = re.compile(r"[a-z]([a-z0-9_-]{0,61}[a-z0-9])?")
_RUNTIMES = {"python310", "python311", "python312", "python313", "python314"}
_PROJECT = "//cloudresourcemanager.googleapis.com/projects/"


@API.route("POST", f"v2/{_PARENT}/functions")
def create(call: Call) -> Json:
    """Create a function: what is wrong with its build or its start fails the operation."""
    name = call.query["functionId"]
    require(_ID.fullmatch(name), f"Invalid function name: {name}")
    if f"{call.name}/{name}" in call.world.resources:
        raise exists(f"{call.path}/{name}")
    _check(call.body)
    policies.require_key(call, call.body.get("kmsKeyName"), API.service)
    function = {**call.body, "name": f"{call.path}/{name}", "createTime": now()}
    function |= {"environment": "GEN_2", "state": "FAILED"}
    call.world.create(f"{call.name}/{name}", function)
    return _deploy(call, f"{call.name}/{name}")


@API.route("PATCH", f"v2/{_FUNCTION}")
def update(call: Call) -> Json:
    """Change a function, which builds and starts it again."""
    function = call.world.get(call.name)
    changed = dict(function)
    patch(changed, call.body, call.mask)
    _check(changed)
    function.update(changed)
    return _deploy(call, call.name)


@API.route("GET", f"v2/{_FUNCTION}")
def get(call: Call) -> Json:
    """Return a function."""
    return without_defaults(call.world.get(call.name))


@API.route("DELETE", f"v2/{_FUNCTION}")
def delete(call: Call) -> Json:
    """Delete a function with its service."""
    call.world.delete(call.name)
    service = _service_name(call, call["name"])
    if service in call.world.resources:
        call.world.delete(service)
    return operations.start(call.world, _parent(call), dict)


def _parent(call: Call) -> str:
    return f"projects/{call.project.id}/locations/{call['location']}"


def _service_id(name: str) -> str:
    return name.replace("_", "-")


def _service_name(call: Call, name: str) -> str:
    return run.service_name(call.project.id, call["location"], _service_id(name))


def _check(body: Json) -> None:
    build, service = body.get("buildConfig") or {}, body.get("serviceConfig") or {}
    require(build.get("runtime") in _RUNTIMES, f"Unknown runtime: {build.get('runtime')}")
    require(build.get("entryPoint"), "A function has an entry point.")
    most = 540 if "eventTrigger" in body else 3600
    require(1 <= service.get("timeoutSeconds", 60) <= most, f"A call lasts {most} s at most.")
    concurrency = service.get("maxInstanceRequestConcurrency", 1)
    cpu = service.get("availableCpu") or ("1" if concurrency > 1 else "0.333")
    if "availableCpu" in service:
        runtime.check_size(cpu, service.get("availableMemory", "256M"), concurrency)
    secrets = [one["key"] for one in service.get("secretEnvironmentVariables", ())]
    runtime.check_names(list(service.get("environmentVariables", {})), secrets)


def _deploy(call: Call, name: str) -> Json:
    function = call.world.resources[name]

    def work() -> Json:
        function["state"] = "FAILED"
        function["updateTime"] = now()
        _build(call, function)
        _start(call, function)
        function["state"] = "ACTIVE"
        return without_defaults(function)

    return operations.start(call.world, _parent(call), work)


def _build(call: Call, function: Json) -> None:
    build = function["buildConfig"] = dict(function["buildConfig"])
    _require_build_service(call)
    source = text(build, "source", "storageSource") or {}
    archive = storage.content(call.world, source.get("bucket", ""), source.get("object", ""))
    archives.check(archive, build["entryPoint"], build.get("environmentVariables") or {})
    if not build.get("dockerRepository"):
        build["dockerRepository"] = _own_repository(call)
    build.setdefault("dockerRegistry", "ARTIFACT_REGISTRY")
    _check_builder(call, build, function.get("kmsKeyName", ""))
    build["build"] = f"projects/{call.project.number}/builds/{call.world.serial()}"
    stored = call.world.resources[storage.object_name(source["bucket"], source["object"])]
    build["source"] = {"storageSource": {"generation": stored["generation"], **source}}
    build["automaticUpdatePolicy"] = {}


def _require_build_service(call: Call) -> None:
    for service in (
        "cloudbuild.googleapis.com",
        run.API.service,
        "artifactregistry.googleapis.com",
    ):
        if service not in call.project.enabled:
            raise ApiError(400, f"{service} is not enabled in {call.project.id}.")


def _own_repository(call: Call) -> str:
    # Cloud Functions makes one where none is named, and it stays when the functions are gone.
    path = f"{_parent(call)}/repositories/gcf-artifacts"
    full = repository_name(call.project.id, call["location"], "gcf-artifacts")
    if full not in call.world.resources:
        call.world.create(full, {"name": path, "format": "DOCKER"})
    return path


def _check_builder(call: Call, build: Json, key: str) -> None:
    """Refuse a build whose account cannot log, read the source or push ("Build process")."""
    repository = f"//artifactregistry.googleapis.com/{build['dockerRepository']}"
    call.world.get(repository)
    account = build.get("serviceAccount", "")
    require(account, "The default service account of Compute Engine cannot build here.")
    runtime.check_account(call, account)
    email = account.rpartition("/")[2]
    project = f"{_PROJECT}{call.project.id}"
    require(
        call["location"] in BUILD_REGIONS,
        "Build failed: due to quota restrictions, cannot run builds in this region.",
    )
    copied = f"gcf-v2-sources-{call.project.number}-{call['location']}"
    if key:
        # "Protect your data with CMEK", Cloud Functions: the name ends with a hash of the key.
        copied += f"-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    staged = _staging_bucket(call, copied)
    objects = f"projects/_/buckets/{copied}/objects/{call['location']}/source.zip"
    may_log = policies.granted(call.world, email, roles.WRITE_LOGS, [project])
    may_push = policies.granted(call.world, email, roles.WRITE_IMAGES, [project, repository])
    may_read = policies.granted(
        call.world, email, roles.READ_OBJECTS, [project, staged], resource=objects
    )
    require(may_log, f"Build failed: {email} does not have permission to write logs.")
    require(may_push, f"Build failed: {email} may not upload to {build['dockerRepository']}.")
    message = f"Build failed: Access to bucket {copied} denied. Grant Storage Object Viewer to "
    require(may_read, message + email)


def _staging_bucket(call: Call, bucket: str) -> str:
    # Made at the first build to copy sources to; it is Google's, and stays.
    name = storage.bucket_name(bucket)
    if name not in call.world.resources:
        body = {"name": bucket, "location": call["location"]}
        storage.make_bucket(call.world, call.project, body)
    return name


def _start(call: Call, function: Json) -> None:
    name = function["name"].rpartition("/")[2]
    given = function.get("serviceConfig") or {}
    email = given.get("serviceAccountEmail", "")
    require(email, "The default service account of Compute Engine is not there.")
    runtime.check_account(call, email)
    for secret in given.get("secretEnvironmentVariables", ()):
        runtime.check_secret(call, secret["secret"], secret["version"], email)
    for volume in given.get("secretVolumes", ()):
        version = (volume.get("versions") or [{"version": "latest"}])[0]["version"]
        runtime.check_secret(call, volume["secret"], version, email)
    runtime.check_quota(
        call,
        given.get("availableCpu", "0.1666"),
        given.get("availableMemory", "256M"),
        given.get("maxInstanceCount", 100),
    )
    for interface in given.get("directVpcNetworkInterface", ()):
        compute.check_interface(call, interface)
    service_id = _service_id(name)
    url = run.service_url(call.world, call.project.id, call["location"], service_id)
    path = f"{_parent(call)}/services/{service_id}"
    function["serviceConfig"] = {
        "availableMemory": "256M",
        "availableCpu": "0.1666",
        "timeoutSeconds": 60,
        "maxInstanceCount": 100,
        "maxInstanceRequestConcurrency": 1,
        "ingressSettings": "ALLOW_ALL",
        **given,
        "environmentVariables": {
            "LOG_EXECUTION_ID": "true",
            **given.get("environmentVariables", {}),
        },
        "service": path,
        "uri": url,
        "revision": f"{service_id}-{call.world.serial()}",
        "allTrafficOnLatestRevision": True,
    }
    function["url"] = f"https://{call['location']}-{call.project.id}.cloudfunctions.net/{name}"
    full = _service_name(call, name)
    call.world.resources[full] = {
        "name": path,
        "uri": url,
        "labels": {run.MANAGED: "cloudfunctions"},
    }


operations.serve_operations(API, "v2", _PARENT)
policies.serve_policies(API, "v2", _FUNCTION, roles.FUNCTION)
