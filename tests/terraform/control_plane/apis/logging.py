"""Cloud Logging: metrics that are counted from log entries."""

from __future__ import annotations

import re

from tests.terraform.control_plane.errors import invalid, require
from tests.terraform.control_plane.routing import Api, Call
from tests.terraform.control_plane.world import Json, World, now, without_defaults

API = Api("logging.googleapis.com", "logging")
_ID = re.compile(r"[A-Za-z0-9_.,+!*',()%/-]{1,100}")
_TYPE = "logging.googleapis.com/user/"
_UNBALANCED = "Unparseable filter: quotes or parentheses do not match."


def find_metric(world: World, project: str, metric_type: str) -> Json | None:
    """Return the log-based metric of a type, if it is one that exists."""
    name = metric_type.removeprefix(_TYPE)
    return world.resources.get(f"//{API.service}/projects/{project}/metrics/{name}")


def is_log_based(metric_type: str) -> bool:
    """Return whether a metric's type is one that logs would make."""
    return metric_type.startswith(_TYPE)


@API.route("POST", "v2/projects/{project}/metrics")
def create(call: Call) -> Json:
    """Create a metric."""
    name = call.body["name"]
    require(_ID.fullmatch(name), f"Invalid metric name: {name}")
    return without_defaults(call.world.create(f"{call.name}/{name}", _metric(call, name)))


@API.route("PUT", "v2/projects/{project}/metrics/{metric}")
def update(call: Call) -> Json:
    """Replace a metric."""
    call.world.get(call.name)
    call.world.resources[call.name] = _metric(call, call["metric"])
    return without_defaults(call.world.resources[call.name])


@API.route("GET", "v2/projects/{project}/metrics/{metric}")
def get(call: Call) -> Json:
    """Return a metric."""
    return without_defaults(call.world.get(call.name))


@API.route("DELETE", "v2/projects/{project}/metrics/{metric}")
def delete(call: Call) -> Json:
    """Delete a metric."""
    call.world.delete(call.name)
    return {}


def _metric(call: Call, name: str) -> Json:
    _check(call.body)
    given = call.body.get("metricDescriptor", {})
    descriptor = {
        "metricKind": "DELTA",
        "valueType": "INT64",
        "unit": "1",
        **given,
        "name": f"projects/{call.project.id}/metricDescriptors/{_TYPE}{name}",
        "type": f"{_TYPE}{name}",
        "description": call.body.get("description", ""),
    }
    times = {"createTime": now(), "updateTime": now()}
    return {**call.body, "name": name, "metricDescriptor": descriptor, **times}


def _check(body: Json) -> None:
    text = body.get("filter", "")
    require(text, "A metric needs a filter.")
    bare = re.sub(r'"(\\.|[^"\\])*"', "", text)
    balanced = '"' not in bare and bare.count("(") == bare.count(")")
    require(balanced, _UNBALANCED)
    descriptor = body.get("metricDescriptor", {})
    kind, values = descriptor.get("metricKind", "DELTA"), descriptor.get("valueType", "INT64")
    require(kind == "DELTA", f"Log-based metrics are DELTA, not {kind}.")
    if values == "DISTRIBUTION":
        require(body.get("valueExtractor"), "A distribution needs a value extractor.")
    elif values != "INT64":
        raise invalid(f"Log-based metrics are INT64 or DISTRIBUTION, not {values}.")
    require(values == "DISTRIBUTION" or "bucketOptions" not in body, "A counter has no buckets.")
    _check_labels(body, descriptor)


def _check_labels(body: Json, descriptor: Json) -> None:
    labels = {label["key"] for label in descriptor.get("labels", ())}
    extractors = body.get("labelExtractors", {})
    require(labels == set(extractors), "Labels and their extractors are not the same.")
    texts = [*extractors.values(), body.get("valueExtractor", "EXTRACT(x)")]
    for extractor in texts:
        sound = re.fullmatch(r"(REGEXP_)?EXTRACT\(.+\)", extractor)
        require(sound, f"Invalid extractor: {extractor}")
