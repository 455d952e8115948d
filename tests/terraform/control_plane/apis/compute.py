"""Compute Engine: the network of a fixed address towards the outside."""

from __future__ import annotations

import ipaddress
import re

from tests.terraform.control_plane.errors import ApiError, exists, not_found, require
from tests.terraform.control_plane.routing import Api, Call, text
from tests.terraform.control_plane.world import Json, World, now

API = Api("compute.googleapis.com", "compute")
_BASE = "https://www.googleapis.com/compute/v1/"
_REGION = "compute/v1/projects/{project}/regions/{region}"
_GLOBAL = "compute/v1/projects/{project}/global"
_ID = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_KINDS = {"networks": _GLOBAL, "subnetworks": _REGION, "addresses": _REGION, "routers": _REGION}


def full_name(link: str) -> str:
    """Return the full name of what a self link or a path such as ``projects/…`` means."""
    return f"//{API.service}/{link.partition('compute/v1/')[2] or link}"


def _there(world: World, link: str) -> Json:
    name = full_name(link)
    if name not in world.resources:
        raise ApiError(404, f"The resource '{link}' was not found")
    return world.resources[name]


def check_interface(call: Call, interface: Json) -> None:
    """Refuse direct VPC egress through a subnetwork of this project that is not there."""
    subnetwork = interface.get("subnetwork", "")
    require(subnetwork or interface.get("network"), "An interface has a network or a subnetwork.")
    if subnetwork.startswith(f"projects/{call.project.id}/"):
        found = _there(call.world, subnetwork)
        size = ipaddress.ip_network(found["ipCidrRange"]).prefixlen
        require(size <= 26, "Direct VPC egress needs a subnetwork of /26 or larger.")
        call.world.held_subnetworks.add(full_name(subnetwork))


def _operation(call: Call, target: str) -> Json:
    name = f"operation-{call.world.serial()}"
    scope = call.path.rpartition("/")[0]
    region = call.params.get("region")
    place = f"projects/{call.project.id}/regions/{region}" if region else ""
    done = {"kind": "compute#operation", "name": name, "targetLink": target, "status": "DONE"}
    if region:
        done["region"] = _BASE + place
    parent = place or f"projects/{call.project.id}/global"
    call.world.operations[f"{parent}/operations/{name}"] = done
    return {**done, "status": "RUNNING", "operationType": scope}


@API.route("GET", f"{_GLOBAL}/operations/{{operation}}")
@API.route("GET", f"{_REGION}/operations/{{operation}}")
def operation(call: Call) -> Json:
    """Answer for an operation."""
    found = call.world.operations.get(call.path)
    if found is None:
        raise not_found(call.path)
    return found


@API.route("GET", "compute/v1/projects/{project}")
def get_project(call: Call) -> Json:
    """Return the project, which the provider asks for to learn its id."""
    return {"name": call.project.id, "id": str(call.project.number)}


def create(call: Call) -> Json:
    """Create a resource."""
    name = call.body["name"]
    require(_ID.fullmatch(name), f"Invalid value for field 'resource.name': '{name}'")
    full = f"{call.name}/{name}"
    if full in call.world.resources:
        raise exists(f"{call.path}/{name}")
    body = {**call.body, **_extras(call, name)}
    _links(call, body)
    call.world.create(full, body)
    return _operation(call, body["selfLink"])


def _extras(call: Call, name: str) -> Json:
    kind = call.path.rpartition("/")[2]
    serial = call.world.serial()
    extras: Json = {
        "id": str(10**18 + serial),
        "creationTimestamp": now(),
        "selfLink": f"{_BASE}{call.path}/{name}",
        "fingerprint": call.world.etag(),
    }
    if "region" in call.params:
        extras["region"] = f"{_BASE}projects/{call.project.id}/regions/{call['region']}"
    if kind == "addresses":
        extras |= {"address": f"203.0.113.{serial % 250 + 1}", "status": "RESERVED"}
        extras |= {"addressType": "EXTERNAL", "networkTier": "PREMIUM", "labelFingerprint": "x"}
    if kind == "networks":
        extras["routingConfig"] = {"routingMode": "REGIONAL", "bgpBestPathSelectionMode": "LEGACY"}
        extras["networkFirewallPolicyEnforcementOrder"] = "AFTER_CLASSIC_FIREWALL"
    if kind == "subnetworks":
        extras |= _subnetwork(call)
    return extras


def _subnetwork(call: Call) -> Json:
    network = ipaddress.ip_network(call.body["ipCidrRange"])
    require(network.prefixlen <= 29, "A subnetwork is /29 or larger.")
    extras = {
        "gatewayAddress": str(network[1]),
        "purpose": "PRIVATE",
        "privateIpv6GoogleAccess": "DISABLE_GOOGLE_ACCESS",
        "stackType": "IPV4_ONLY",
    }
    if call.body.get("logConfig"):
        extras["enableFlowLogs"] = call.body["logConfig"].get("enable", True)
    return extras


def _links(call: Call, body: Json) -> None:
    # What another resource is named by comes back as a self link, once it is there.
    if body.get("network"):
        body["network"] = _there(call.world, body["network"])["selfLink"]
    for nat in body.get("nats", ()):
        nat["natIps"] = [_there(call.world, ip)["selfLink"] for ip in nat.get("natIps", ())]
        for part in nat.get("subnetworks", ()):
            part["name"] = _there(call.world, part["name"])["selfLink"]
        nat.setdefault("endpointTypes", ["ENDPOINT_TYPE_VM"])
        nat.setdefault("type", "PUBLIC")
        _check_nat(nat)


def _check_nat(nat: Json) -> None:
    manual = nat.get("natIpAllocateOption") == "MANUAL_ONLY"
    require(bool(nat["natIps"]) == manual, "Addresses of a NAT are given by hand, or are not.")
    defaults: Json = {
        "udpIdleTimeoutSec": 30,
        "icmpIdleTimeoutSec": 30,
        "tcpTimeWaitTimeoutSec": 120,
    }
    defaults |= {"tcpEstablishedIdleTimeoutSec": 1200, "tcpTransitoryIdleTimeoutSec": 30}
    defaults |= {"minPortsPerVm": 64, "autoNetworkTier": "PREMIUM"}
    for field, value in defaults.items():
        nat.setdefault(field, value)


def update(call: Call) -> Json:
    """Merge a patch into a resource."""
    resource = call.world.get(call.name)
    merged = {**resource, **call.body}
    _links(call, merged)
    resource.update(merged)
    resource["fingerprint"] = call.world.etag()
    return _operation(call, resource["selfLink"])


def set_labels(call: Call) -> Json:
    """Replace an address's labels."""
    resource = call.world.get(call.name.removesuffix("/setLabels"))
    resource["labels"] = call.body.get("labels", {})
    return _operation(call, resource["selfLink"])


def get(call: Call) -> Json:
    """Return a resource."""
    if call.name not in call.world.resources:
        raise ApiError(404, f"The resource '{call.path}' was not found")
    return call.world.resources[call.name]


def delete(call: Call) -> Json:
    """Delete a resource that no other uses."""
    link = get(call)["selfLink"]
    used = [name for name, one in call.world.resources.items() if _uses(one, link)]
    if call.name in call.world.held_subnetworks:
        used.append(f"{call.path.rpartition('/subnetworks')[0]}/addresses/serverless-ipv4-1")
    if used:
        message = f"The resource '{link}' is already being used by '{used[0]}'"
        raise ApiError(400, message, "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE")
    call.world.delete(call.name)
    return _operation(call, link)


def _uses(resource: Json, link: str) -> bool:
    nats = resource.get("nats") or ()
    named = [resource.get("network")]
    named += [ip for nat in nats for ip in nat.get("natIps", ())]
    named += [part["name"] for nat in nats for part in nat.get("subnetworks", ())]
    path = link.removeprefix(_BASE)
    template: Json = resource.get("template") or {}
    service = resource.get("serviceConfig") or {}
    task: Json = template.get("template") or template
    interfaces = text(task, "vpcAccess", "networkInterfaces") or []
    interfaces = [*interfaces, *service.get("directVpcNetworkInterface", ())]
    return link in named or any(one.get("subnetwork") in {path, link} for one in interfaces)


for _kind, _scope in _KINDS.items():
    API.route("POST", f"{_scope}/{_kind}")(create)
    API.route("GET", f"{_scope}/{_kind}/{{name}}")(get)
    API.route("PATCH", f"{_scope}/{_kind}/{{name}}")(update)
    API.route("DELETE", f"{_scope}/{_kind}/{{name}}")(delete)
API.route("POST", f"{_REGION}/addresses/{{name}}/setLabels")(set_labels)
