"""Who can call what, by the services, subscriptions and grants that the fake has."""

from __future__ import annotations

from tests.terraform.control_plane import policies, roles
from tests.terraform.control_plane.apis.run import API as RUN
from tests.terraform.control_plane.routing import text
from tests.terraform.control_plane.world import World


def public_services(world: World) -> list[str]:
    """Return the ids of the services that anybody can call without an identity."""
    return [
        name.rpartition("/")[2]
        for name in world.below(f"//{RUN.service}/")
        if "/services/" in name and world.resources[name].get("invokerIamDisabled")
    ]


def failing_pushes(world: World, project: str) -> list[str]:
    """Return the push subscriptions whose deliveries would be refused, each with the reason.

    Pub/Sub's agent signs a token as the push account, and that account must be an invoker of the
    service ("Authentication for push subscriptions", Pub/Sub).
    """
    agent = world.agent(project, "pubsub.googleapis.com")
    failing = []
    for name in world.below("//pubsub.googleapis.com/"):
        push = text(world.resources[name], "pushConfig") or {}
        if not push:
            continue
        email = push["oidcToken"]["serviceAccountEmail"]
        account = policies.account_name(email)
        services = [
            service
            for service in world.below(f"//{RUN.service}/")
            if push["oidcToken"]["audience"] in _audiences(world, service)
        ]
        if not policies.granted(world, agent, roles.SIGN_TOKENS, [account]):
            failing.append(f"{name}: {agent} cannot sign tokens as {email}")
        elif not services:
            failing.append(f"{name}: no service at {push['oidcToken']['audience']}")
        elif not policies.granted(world, email, roles.INVOKE, services):
            failing.append(f"{name}: {email} is not an invoker")
    return failing


def _audiences(world: World, service: str) -> list[str]:
    """Return the audiences that Cloud Run accepts: both addresses of a service.

    Source: "Custom audiences" and "Deterministic URL", Cloud Run.
    """
    _, project, _, region, _, name = service.removeprefix(f"//{RUN.service}/").split("/")
    number = world.project(project).number
    return [
        text(world.resources[service], "uri"),
        f"https://{name}-{number}.{region}.run.app",
    ]
