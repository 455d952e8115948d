"""Cloud Monitoring: notification channels, alert policies, dashboards."""

from __future__ import annotations

from tests.terraform.control_plane import alerts, dashboards
from tests.terraform.control_plane.errors import ApiError, not_found, require
from tests.terraform.control_plane.routing import Api, Call
from tests.terraform.control_plane.world import Json, now, patch, without_defaults

API = Api("monitoring.googleapis.com", "monitoring")
_CHANNELS = "v3/projects/{project}/notificationChannels"
_POLICIES = "v3/projects/{project}/alertPolicies"
_DASHBOARDS = "v1/projects/{project}/dashboards"
_NEEDED = {"email": {"email_address"}, "pubsub": {"topic"}, "slack": {"channel_name"}}
_NEEDED |= {"webhook_tokenauth": {"url"}, "pagerduty": set(), "sms": {"number"}}


@API.route("POST", _CHANNELS)
def create_channel(call: Call) -> Json:
    """Create a notification channel."""
    kind = call.body.get("type", "")
    require(kind in _NEEDED, f"Unknown notification channel type: {kind}")
    missing = _NEEDED[kind] - set(call.body.get("labels", {}))
    require(not missing, f"Notification channel labels are missing: {missing}")
    return _create(call, {"enabled": True, "creationRecord": {"mutateTime": now()}})


@API.route("POST", _POLICIES)
def create_policy(call: Call) -> Json:
    """Create an alert policy."""
    alerts.check(call, call.body)
    record = {"mutateTime": now(), "mutatedBy": "deployer@example.com"}
    return _create(call, {"enabled": True, "creationRecord": record, "mutationRecord": record})


@API.route("POST", _DASHBOARDS)
def create_dashboard(call: Call) -> Json:
    """Create a dashboard."""
    dashboards.check(call.body)
    return _create(call, {"etag": call.world.etag()})


def _create(call: Call, more: Json) -> Json:
    path = f"{call.path}/{10**18 + call.world.serial()}"
    body = {**more, **call.body, "name": path}
    if "conditions" in body:
        body["conditions"] = alerts.named(call.world, path, body["conditions"])
    return without_defaults(call.world.create(f"//{API.service}/{path}", body))


@API.route("PATCH", f"{_CHANNELS}/{{id}}")
def update_channel(call: Call) -> Json:
    """Change a notification channel."""
    channel = call.world.get(call.name)
    patch(channel, call.body, call.mask or ",".join(set(call.body) - {"name"}))
    return without_defaults(channel)


@API.route("PATCH", f"{_POLICIES}/{{id}}")
def update_policy(call: Call) -> Json:
    """Change an alert policy."""
    policy = call.world.get(call.name)
    changed = dict(policy)
    patch(changed, call.body, call.mask)
    alerts.check(call, changed)
    changed["conditions"] = alerts.named(call.world, call.path, changed["conditions"])
    policy.clear()
    policy.update(changed)
    return without_defaults(policy)


@API.route("PATCH", f"{_DASHBOARDS}/{{id}}")
def update_dashboard(call: Call) -> Json:
    """Replace a dashboard, under the etag that it was read with."""
    current = call.world.get(call.name)
    if call.body.get("etag") not in {None, current["etag"]}:
        raise ApiError(409, "The etag is out of date.", "ABORTED")
    dashboards.check(call.body)
    fresh = {**call.body, "name": call.path, "etag": call.world.etag()}
    call.world.resources[call.name] = fresh
    return without_defaults(fresh)


@API.route("GET", f"{_CHANNELS}/{{id}}")
@API.route("GET", f"{_POLICIES}/{{id}}")
@API.route("GET", f"{_DASHBOARDS}/{{id}}")
def get(call: Call) -> Json:
    """Return a channel, a policy or a dashboard; zeros and falses are not written."""
    if call.name not in call.world.resources:
        raise not_found(call.path)
    return without_defaults(call.world.resources[call.name])


@API.route("DELETE", f"{_POLICIES}/{{id}}")
@API.route("DELETE", f"{_DASHBOARDS}/{{id}}")
def delete(call: Call) -> Json:
    """Delete a policy or a dashboard."""
    call.world.delete(call.name)
    return {}


@API.route("DELETE", f"{_CHANNELS}/{{id}}")
def delete_channel(call: Call) -> Json:
    """Delete a channel that no policy uses, unless forced."""
    call.world.get(call.name)
    used = [n for n, one in call.world.resources.items() if _notifies(one, call.path)]
    forced = call.query.get("force") == "true"
    require(forced or not used, f"The channel is used by {used}.")
    call.world.delete(call.name)
    return {}


def _notifies(resource: Json, channel: str) -> bool:
    return channel in resource.get("notificationChannels", ())
