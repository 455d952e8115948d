"""IAM policies: read, modify, write under an etag; and who may do what by them."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable, Collection

from tests.terraform.control_plane import roles
from tests.terraform.control_plane.errors import ApiError, invalid, not_found, require
from tests.terraform.control_plane.routing import Api, Call
from tests.terraform.control_plane.world import Json, World

_OTHERS = re.compile(
    r"(allUsers|allAuthenticatedUsers)$|(user|group):[^@\s]+@[^@\s]+$|domain:[^@\s]+$"
    r"|project(Owner|Editor|Viewer):[a-z0-9-]+$|deleted:"
    r"|principal(Set)?://iam\.googleapis\.com/"
)
_CLAUSE = re.compile(r'resource\.name(?: == "([^"]*)"|\.startsWith\("([^"]*)"\))')


def read(world: World, name: str) -> Json:
    """Return a resource's policy, with the etag that its next write must bring."""
    return world.policies.setdefault(name, {"version": 1, "etag": world.etag()})


def write(world: World, name: str, kind: str, policy: Json) -> Json:
    """Replace a resource's policy; 409 when it has changed since it was read."""
    current = read(world, name)
    if policy.get("etag") not in {None, "", current["etag"]}:
        message = "There were concurrent policy changes. Please retry the whole read-modify-write."
        raise ApiError(409, message, "ABORTED")
    before = {(b["role"], m) for b in current.get("bindings", ()) for m in b["members"]}
    for binding in policy.get("bindings", ()):
        _check(world, kind, binding)
        for member in binding["members"]:
            if (binding["role"], member) not in before:
                world.granted_at[name, binding["role"], member] = time.monotonic()
    fresh = {**copy.deepcopy(policy), "etag": world.etag(), "version": policy.get("version", 1)}
    world.policies[name] = {key: value for key, value in fresh.items() if value != []}
    return world.policies[name]


def _check(world: World, kind: str, binding: Json) -> None:
    role = binding["role"]
    kinds = roles.GRANTABLE.get(role)
    if kinds is None:
        raise invalid(f"Role ({role}) does not exist in the resource's hierarchy.")
    require(kind in kinds, f"Role {role} is not supported for this resource.")
    conditional = binding.get("condition")
    require(not (conditional and role in roles.PRIMITIVE), f"{role} takes no conditions.")
    for member in binding["members"]:
        _check_member(world, member)


def _check_member(world: World, member: str) -> None:
    if member.startswith("serviceAccount:"):
        email = member.removeprefix("serviceAccount:")
        require(account_exists(world, email), f"Service account {email} does not exist.")
        return
    require(_OTHERS.match(member), f"Invalid member: {member}.")
    _check_domain(world, member)


def _check_domain(world: World, member: str) -> None:
    """Refuse members from outside the organisation.

    Source: "Domain-restricted sharing", cloud.google.com/resource-manager/docs/organization-policy/
    restricting-domains; it applies to allUsers too.
    """
    outside = member in {"allUsers", "allAuthenticatedUsers"} or (
        member.startswith(("user:", "group:", "domain:"))
        and not member.endswith((f"@{world.domain}", f"domain:{world.domain}"))
    )
    if world.domain and outside:
        message = (
            "One or more users named in the policy do not belong to a permitted customer,"
            " perhaps due to an organization policy."
        )
        raise ApiError(400, message, "FAILED_PRECONDITION")


def account_exists(world: World, email: str) -> bool:
    """Return whether a service account or a service agent has the address."""
    if any(email in project.agents for project in world.projects.values()):
        return True
    return account_name(email) in world.resources


def account_name(email: str) -> str:
    """Return the full name of a service account by its address."""
    project = email.partition("@")[2].removesuffix(".iam.gserviceaccount.com")
    return f"//iam.googleapis.com/projects/{project}/serviceAccounts/{email}"


def forget_account(world: World, email: str) -> None:
    """Turn an account that is gone into what policies show of it from then on."""
    member = f"serviceAccount:{email}"
    for policy in world.policies.values():
        for binding in policy.get("bindings", ()):
            if member in binding["members"]:
                binding["members"].remove(member)
                binding["members"].append(f"deleted:{member}?uid={world.serial()}")


def granted(
    world: World,
    email: str,
    wanted: Collection[str],
    names: Collection[str],
    resource: str = "",
) -> bool:
    """Return whether an account has one of the roles on one of the names (a resource, its project).

    ``resource`` is the name that conditions see; a condition that is more than names joined by
    ``||`` counts as not met.
    """
    for name in names:
        for binding in world.policies.get(name, {}).get("bindings", ()):
            role, member = binding["role"], f"serviceAccount:{email}"
            matches = role in wanted and member in binding["members"]
            if (
                matches
                and _effective(world, name, role, member)
                and _met(binding.get("condition"), resource)
            ):
                return True
    return False


def _effective(world: World, name: str, role: str, member: str) -> bool:
    """Return whether a grant has spread ("Access change propagation", IAM: 2 to 7 minutes)."""
    since = world.granted_at.get((name, role, member), 0)
    return time.monotonic() >= since + world.slow_grants.get(role, 0)


def _met(condition: Json | None, resource: str) -> bool:
    if not condition:
        return True
    for clause in condition["expression"].split("||"):
        match = _CLAUSE.fullmatch(clause.strip())
        if match and (resource == match[1] or (match[2] and resource.startswith(match[2]))):
            return True
    return False


def require_key(call: Call, key: str | None, service: str) -> None:
    """Refuse what is to be encrypted by a key that the service's agent cannot use."""
    if not key:
        return
    name = f"//cloudkms.googleapis.com/{key}"
    if key not in call.world.keys:
        raise not_found(name)
    agent = call.world.agent(call.project.id, service)
    may = granted(call.world, agent, roles.USE_KEY, [name])
    require(may, f"Service account {agent} lacks cloudkms.cryptoKeyVersions.useToEncrypt on {key}.")


def serve_policies(
    api: Api,
    version: str,
    pattern: str,
    kind: str,
    check: Callable[[Call], None] | None = None,
) -> None:
    """Let an API answer ``getIamPolicy`` and ``setIamPolicy`` for a kind of resource."""
    there = check or (lambda call: call.world.get(call.name) and None)

    def get(call: Call) -> Json:
        there(call)
        return read(call.world, call.name)

    def put(call: Call) -> Json:
        there(call)
        return write(call.world, call.name, kind, call.body["policy"])

    api.route("GET", f"{version}/{pattern}:getIamPolicy")(get)
    api.route("POST", f"{version}/{pattern}:getIamPolicy")(get)
    api.route("POST", f"{version}/{pattern}:setIamPolicy")(put)
