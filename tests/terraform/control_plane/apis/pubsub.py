"""Pub/Sub: topics and subscriptions."""

from __future__ import annotations

import re

from tests.terraform.control_plane import policies, roles
from tests.terraform.control_plane.errors import not_found, require
from tests.terraform.control_plane.routing import Api, Call, text
from tests.terraform.control_plane.world import Json, patch, without_defaults

API = Api("pubsub.googleapis.com", "pubsub")
_TOPIC = "projects/{project}/topics/{topic}"
_SUBSCRIPTION = "projects/{project}/subscriptions/{subscription}"
_ID = re.compile(r"[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
_WEEK = "604800s"
_MONTH = "2678400s"


def seconds(duration: str) -> float:
    """Return how long a duration such as ``600s`` is."""
    require(re.fullmatch(r"\d+(\.\d+)?s", duration), f"Invalid duration: {duration}")
    return float(duration[:-1])


def _check_id(name: str) -> None:
    require(_ID.fullmatch(name) and not name.startswith("goog"), f"Invalid resource name: {name}")


def _topic(call: Call, path: str) -> Json:
    name = f"//{API.service}/{path}"
    if name not in call.world.resources:
        raise not_found(path)
    return call.world.resources[name]


@API.route("PUT", f"v1/{_TOPIC}")
def create_topic(call: Call) -> Json:
    """Create a topic."""
    _check_id(call["topic"])
    policies.require_key(call, call.body.get("kmsKeyName"), API.service)
    return call.world.create(call.name, {**call.body, "name": call.path, "state": "ACTIVE"})


@API.route("PATCH", f"v1/{_TOPIC}")
def update_topic(call: Call) -> Json:
    """Change a topic."""
    patch(call.world.get(call.name), call.body["topic"], call.mask)
    return call.world.get(call.name)


@API.route("DELETE", f"v1/{_TOPIC}")
def delete_topic(call: Call) -> Json:
    """Delete a topic; its subscriptions stay, without one."""
    call.world.delete(call.name)
    for name in call.world.below(f"//{API.service}/projects/"):
        if call.world.resources[name].get("topic") == call.path:
            call.world.resources[name]["topic"] = "_deleted-topic_"
    return {}


@API.route("PUT", f"v1/{_SUBSCRIPTION}")
def create_subscription(call: Call) -> Json:
    """Create a subscription."""
    _check_id(call["subscription"])
    subscription = {
        "ackDeadlineSeconds": 10,
        "messageRetentionDuration": _WEEK,
        "expirationPolicy": {"ttl": _MONTH},
        "pushConfig": {},
        **call.body,
        "name": call.path,
        "state": "ACTIVE",
    }
    _topic(call, str(subscription.get("topic")))
    _check(call, subscription)
    return without_defaults(call.world.create(call.name, subscription))


@API.route("PATCH", f"v1/{_SUBSCRIPTION}")
def update_subscription(call: Call) -> Json:
    """Change a subscription."""
    subscription = call.world.get(call.name)
    changed = dict(subscription)
    patch(changed, call.body["subscription"], call.mask)
    _check(call, changed)
    subscription.clear()
    subscription.update(changed)
    return without_defaults(subscription)


@API.route("GET", f"v1/{_TOPIC}")
@API.route("GET", f"v1/{_SUBSCRIPTION}")
def get(call: Call) -> Json:
    """Return a topic or a subscription."""
    return without_defaults(call.world.get(call.name))


@API.route("DELETE", f"v1/{_SUBSCRIPTION}")
def delete(call: Call) -> Json:
    """Delete a subscription."""
    call.world.delete(call.name)
    return {}


def _check(call: Call, subscription: Json) -> None:
    deadline = subscription["ackDeadlineSeconds"]
    require(10 <= deadline <= 600, f"Invalid ack deadline {deadline}: 10 to 600 seconds.")
    kept = seconds(subscription["messageRetentionDuration"])
    require(600 <= kept <= 31 * 86_400, "Messages are kept for 10 minutes to 31 days.")
    ttl = text(subscription, "expirationPolicy", "ttl")
    require(not ttl or seconds(ttl) >= 86_400, "Subscriptions expire after a day at least.")
    _check_retries(subscription.get("retryPolicy"))
    _check_dead_letters(call, subscription.get("deadLetterPolicy"))
    _check_push(call, subscription)


def _check_retries(policy: Json | None) -> None:
    if policy is None:
        return
    least = seconds(policy.get("minimumBackoff", "10s"))
    most = seconds(policy.get("maximumBackoff", "600s"))
    require(0 <= least <= most <= 600, "Backoffs are 0 to 600 seconds, the least first.")


def _check_dead_letters(call: Call, policy: Json | None) -> None:
    if not policy:
        return
    _topic(call, policy["deadLetterTopic"])
    attempts = policy.get("maxDeliveryAttempts", 5)
    require(5 <= attempts <= 100, f"Invalid maximum of delivery attempts {attempts}: 5 to 100.")


def _check_push(call: Call, subscription: Json) -> None:
    push = subscription["pushConfig"]
    if not push:
        return
    endpoint = push.get("pushEndpoint", "")
    require(endpoint.startswith("https://"), f"Invalid push endpoint: {endpoint}")
    exactly = subscription.get("enableExactlyOnceDelivery")
    require(not exactly, "Push subscriptions are not delivered exactly once.")
    email = text(push, "oidcToken", "serviceAccountEmail")
    known = not email or policies.account_exists(call.world, email)
    require(known, f"Service account {email} does not exist.")


policies.serve_policies(API, "v1", _TOPIC, roles.TOPIC)
policies.serve_policies(API, "v1", _SUBSCRIPTION, roles.SUBSCRIPTION)
