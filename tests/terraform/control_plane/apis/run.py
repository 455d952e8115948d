"""Cloud Run: services and jobs, and who may call or start them."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.terraform.control_plane import operations, policies, roles, runtime
from tests.terraform.control_plane.apis.pubsub import seconds
from tests.terraform.control_plane.errors import ApiError, require
from tests.terraform.control_plane.routing import Api, Call, text
from tests.terraform.control_plane.world import Json, World, now, without_defaults

API = Api("run.googleapis.com", "run")
_PARENT = "projects/{project}/locations/{location}"
_ID = re.compile(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?")
_OURS = ("name", "uid", "createTime", "creator", "generation")
_Complete = Callable[[Call, Json], Json]

#: The label that Cloud Functions puts on the services of its functions.
MANAGED = "goog-managed-by"


def service_name(project: str, location: str, service: str) -> str:
    """Return the full name of a service."""
    return f"//{API.service}/projects/{project}/locations/{location}/services/{service}"


def service_url(world: World, project: str, location: str, service: str) -> str:
    """Return the address at which a service answers."""
    return f"https://{service}-{world.project(project).number}.{location}.run.app"


@API.route("POST", f"v2/{_PARENT}/services")
def create_service(call: Call) -> Json:
    """Create a service."""
    return _create(call, call.query["serviceId"], _service)


@API.route("POST", f"v2/{_PARENT}/jobs")
def create_job(call: Call) -> Json:
    """Create a job."""
    return _create(call, call.query["jobId"], _job)


@API.route("PATCH", f"v2/{_PARENT}/services/{{name}}")
def update_service(call: Call) -> Json:
    """Replace a service's settings."""
    return _update(call, _service)


@API.route("PATCH", f"v2/{_PARENT}/jobs/{{name}}")
def update_job(call: Call) -> Json:
    """Replace a job's settings."""
    return _update(call, _job)


@API.route("GET", f"v2/{_PARENT}/services/{{name}}")
@API.route("GET", f"v2/{_PARENT}/jobs/{{name}}")
def get(call: Call) -> Json:
    """Return a service or a job."""
    return without_defaults(call.world.get(call.name))


@API.route("DELETE", f"v2/{_PARENT}/services/{{name}}")
@API.route("DELETE", f"v2/{_PARENT}/jobs/{{name}}")
def delete(call: Call) -> Json:
    """Delete a service or a job."""
    call.world.delete(call.name)
    return operations.start(call.world, _parent(call), dict)


def _parent(call: Call) -> str:
    return f"projects/{call.project.id}/locations/{call['location']}"


def _create(call: Call, name: str, complete: _Complete) -> Json:
    require(_ID.fullmatch(name), f"Invalid name: {name}")
    full = f"{call.name}/{name}"
    if full in call.world.resources:
        raise ApiError(409, f"Resource '{name}' already exists.")
    policies.require_key(call, _key(call.body), API.service)
    ours = {
        "name": f"{call.path}/{name}",
        "uid": f"uid-{call.world.serial()}",
        "createTime": now(),
        "creator": "deployer@example.com",
        "generation": "1",
    }

    def work() -> Json:
        return without_defaults(call.world.create(full, complete(call, ours)))

    return operations.start(call.world, _parent(call), work)


def _update(call: Call, complete: _Complete) -> Json:
    current = call.world.get(call.name)
    ours = {key: current[key] for key in _OURS}
    ours["generation"] = str(int(ours["generation"]) + 1)

    def work() -> Json:
        call.world.resources[call.name] = complete(call, ours)
        return without_defaults(call.world.resources[call.name])

    return operations.start(call.world, _parent(call), work)


def _key(body: Json) -> str | None:
    key = text(body, "template", "encryptionKey")
    key = key or text(body, "template", "template", "encryptionKey")
    return str(key) if key else None


def _ready(ours: Json) -> Json:
    return {
        "launchStage": "GA",
        "updateTime": now(),
        "observedGeneration": ours["generation"],
        "terminalCondition": {"type": "Ready", "state": "CONDITION_SUCCEEDED"},
        "etag": f'"{ours["uid"]}-{ours["generation"]}"',
    }


def _service(call: Call, ours: Json) -> Json:
    template = {
        "timeout": "300s",
        "maxInstanceRequestConcurrency": 80,
        **call.body["template"],
    }
    runtime.check_template(call, template)
    _check_iap(call)
    require(seconds(template["timeout"]) <= 3600, "A request lasts 3600 seconds at most.")
    template["scaling"] = {"maxInstanceCount": 100, **template.get("scaling", {})}
    template["containers"] = [_serving(one) for one in template["containers"]]
    name = ours["name"].rpartition("/")[2]
    url = service_url(call.world, call.project.id, call["location"], name)
    traffic = [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}]
    return {
        "ingress": "INGRESS_TRAFFIC_ALL",
        "traffic": traffic,
        "trafficStatuses": traffic,
        "scaling": {},
        **_ready(ours),
        **call.body,
        **ours,
        "template": template,
        "uri": url,
        "urls": [url],
        "latestReadyRevision": f"{ours['name']}/revisions/{name}-{ours['generation']}",
        "latestCreatedRevision": f"{ours['name']}/revisions/{name}-{ours['generation']}",
    }


def _check_iap(call: Call) -> None:
    """Refuse IAP where it cannot work ("Configure IAP for Cloud Run", known limitations)."""
    if not call.body.get("iapEnabled"):
        return
    require(call.world.domain, "IAP on Cloud Run requires a project in an organization.")
    enabled = call.world.answers(call.project, "iap.googleapis.com")
    require(enabled, "The IAP API (iap.googleapis.com) is not enabled.")
    require(not call.body.get("invokerIamDisabled"), "IAP needs the invoker IAM check.")


def _sized(container: Json) -> Json:
    resources = dict(container.get("resources") or {})
    resources["limits"] = {"cpu": "1000m", "memory": "512Mi", **resources.get("limits", {})}
    return {**container, "resources": resources}


def _serving(container: Json) -> Json:
    probe: Json = {"timeoutSeconds": 240, "periodSeconds": 240, "failureThreshold": 1}
    probe["tcpSocket"] = {"port": 8080}
    sized = _sized(container)
    if "resources" not in container:
        sized["resources"]["startupCpuBoost"] = True
    return {
        "ports": [{"name": "http1", "containerPort": 8080}],
        "startupProbe": probe,
        **sized,
    }


def _job(call: Call, ours: Json) -> Json:
    execution = call.body["template"]
    task = {"timeout": "600s", "maxRetries": 3, **execution["template"]}
    runtime.check_template(call, task)
    require(seconds(task["timeout"]) <= 7 * 86_400, "A task lasts 7 days at most.")
    task["containers"] = [_sized(one) for one in task["containers"]]
    template = {"taskCount": 1, **execution, "template": task}
    return {**_ready(ours), **call.body, **ours, "template": template}


operations.serve_operations(API, "v2", _PARENT)
policies.serve_policies(API, "v2", f"{_PARENT}/services/{{name}}", roles.SERVICE)
policies.serve_policies(API, "v2", f"{_PARENT}/jobs/{{name}}", roles.JOB)
