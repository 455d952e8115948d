"""Cloud Scheduler: jobs that call an address by a schedule."""

from __future__ import annotations

import re
import zoneinfo

from tests.terraform.control_plane import policies
from tests.terraform.control_plane.apis.pubsub import seconds
from tests.terraform.control_plane.errors import require
from tests.terraform.control_plane.routing import Api, Call, text
from tests.terraform.control_plane.world import Json, now, without_defaults

API = Api("cloudscheduler.googleapis.com", "cloudscheduler")
_PARENT = "projects/{project}/locations/{location}"
_ID = re.compile(r"[A-Za-z\d_-]{1,500}")
_FIELD = re.compile(r"(\*|\d+(-\d+)?)(/\d+)?(,(\*|\d+(-\d+)?)(/\d+)?)*|[a-zA-Z,-]+")
_RETRIES = {"maxRetryDuration": "0s", "minBackoffDuration": "5s"}
_RETRIES |= {"maxBackoffDuration": "3600s"}
_DOUBLINGS = 5


@API.route("POST", f"v1/{_PARENT}/jobs")
def create(call: Call) -> Json:
    """Create a job."""
    path = call.body["name"]
    require(path.startswith(f"{call.path}/"), f"Invalid name: {path}")
    require(_ID.fullmatch(path.rpartition("/")[2]), f"Invalid name: {path}")
    return without_defaults(call.world.create(f"//{API.service}/{path}", _job(call, path)))


@API.route("PATCH", f"v1/{_PARENT}/jobs/{{job}}")
def update(call: Call) -> Json:
    """Replace a job's settings."""
    call.world.get(call.name)
    call.world.resources[call.name] = _job(call, call.path)
    return without_defaults(call.world.resources[call.name])


@API.route("GET", f"v1/{_PARENT}/jobs/{{job}}")
def get(call: Call) -> Json:
    """Return a job."""
    return without_defaults(call.world.get(call.name))


@API.route("DELETE", f"v1/{_PARENT}/jobs/{{job}}")
def delete(call: Call) -> Json:
    """Delete a job."""
    call.world.delete(call.name)
    return {}


@API.route("POST", f"v1/{_PARENT}/jobs/{{job}}:pause")
@API.route("POST", f"v1/{_PARENT}/jobs/{{job}}:resume")
def change_state(call: Call) -> Json:
    """Pause or resume a job."""
    job = call.world.get(call.name)
    job["state"] = "PAUSED" if call.path.endswith(":pause") else "ENABLED"
    return job


def _job(call: Call, path: str) -> Json:
    _check(call)
    job = {
        "timeZone": "UTC",
        "attemptDeadline": "180s",
        **call.body,
        "name": path,
        "state": "ENABLED",
        "userUpdateTime": now(),
        "retryConfig": {**_RETRIES, "maxDoublings": _DOUBLINGS, **call.body.get("retryConfig", {})},
    }
    if "httpTarget" in job:
        job["httpTarget"] = _target(job["httpTarget"])
    return job


def _target(target: Json) -> Json:
    headers = {"User-Agent": "Google-Cloud-Scheduler", **target.get("headers", {})}
    if "body" in target:
        headers.setdefault("Content-Type", "application/octet-stream")
    full = {"httpMethod": "POST", **target, "headers": headers}
    if "oidcToken" in full:
        full["oidcToken"] = {"audience": target["uri"], **full["oidcToken"]}
    return full


def _check(call: Call) -> None:
    body = call.body
    fields = body.get("schedule", "").split()
    sound = len(fields) == 5 and all(_FIELD.fullmatch(field) for field in fields)
    require(sound, f"Schedule or time zone is invalid: {body.get('schedule')}")
    zone = body.get("timeZone", "UTC")
    require(zone in zoneinfo.available_timezones(), f"Schedule or time zone is invalid: {zone}")
    deadline = seconds(body.get("attemptDeadline", "180s"))
    require(15 <= deadline <= 1800, "The attempt deadline is 15 seconds to 30 minutes.")
    uri = text(body, "httpTarget", "uri") or ""
    require(uri.startswith("https://"), f"Invalid uri: {uri}")
    email = text(body, "httpTarget", "oidcToken", "serviceAccountEmail")
    known = not email or policies.account_exists(call.world, email)
    require(known, f"Service account {email} does not exist.")
