"""Cloud Billing and its budgets."""

from __future__ import annotations

from tests.terraform.control_plane.errors import ApiError, not_found, require
from tests.terraform.control_plane.routing import Api, Call, text
from tests.terraform.control_plane.world import Json, patch, without_defaults

ACCOUNTS = Api("cloudbilling.googleapis.com", "cloudbilling")
BUDGETS = Api("billingbudgets.googleapis.com", "billingbudgets")
_BUDGETS = "v1/billingAccounts/{account}/budgets"
_CHANNELS = "monitoringNotificationChannels"


@ACCOUNTS.route("GET", "v1/projects/{project}/billingInfo")
def get_info(call: Call) -> Json:
    """Return which account pays for a project."""
    account = next(iter(sorted(call.world.billing_accounts)), "")
    name = f"billingAccounts/{account}" if account else ""
    return {"projectId": call.project.id, "billingAccountName": name, "billingEnabled": True}


def _check(call: Call, budget: Json) -> None:
    if call["account"] not in call.world.billing_accounts:
        raise ApiError(403, "The caller does not have permission")
    amount = budget.get("amount", {})
    require(len(amount) == 1, "A budget has one amount.")
    for rule in budget.get("thresholdRules", ()):
        require(rule.get("thresholdPercent", 0) > 0, "A threshold is above 0.")
    channels = text(budget, "notificationsRule", _CHANNELS) or ()
    require(len(channels) <= 5, "A budget has 5 notification channels at most.")
    for channel in channels:
        if f"//monitoring.googleapis.com/{channel}" not in call.world.resources:
            raise not_found(channel)


def _normal(call: Call, budget: Json) -> Json:
    # Projects come back by their number, whatever they were named by.
    scope = {"creditTypesTreatment": "INCLUDE_ALL_CREDITS", **budget.get("budgetFilter", {})}
    if "customPeriod" not in scope:
        scope.setdefault("calendarPeriod", "MONTH")
    projects = [call.world.project(p.partition("/")[2]) for p in scope.get("projects", ())]
    if projects:
        scope["projects"] = [f"projects/{project.number}" for project in projects]
    rules = [{"spendBasis": "CURRENT_SPEND", **rule} for rule in budget.get("thresholdRules", ())]
    amount = dict(budget["amount"])
    if "specifiedAmount" in amount:
        amount["specifiedAmount"] = {"currencyCode": "EUR", **amount["specifiedAmount"]}
    return {**budget, "budgetFilter": scope, "thresholdRules": rules, "amount": amount}


@BUDGETS.route("POST", _BUDGETS)
def create(call: Call) -> Json:
    """Create a budget."""
    _check(call, call.body)
    path = f"{call.path}/{call.world.serial():08d}-budget"
    budget = _normal(call, {**call.body, "name": path, "etag": call.world.etag()})
    return without_defaults(call.world.create(f"//{BUDGETS.service}/{path}", budget))


@BUDGETS.route("PATCH", f"{_BUDGETS}/{{budget}}")
def update(call: Call) -> Json:
    """Change a budget."""
    budget = call.world.get(call.name)
    patch(budget, call.body, call.mask)
    _check(call, budget)
    budget.update(_normal(call, budget))
    return without_defaults(budget)


@BUDGETS.route("GET", f"{_BUDGETS}/{{budget}}")
def get(call: Call) -> Json:
    """Return a budget."""
    return without_defaults(call.world.get(call.name))


@BUDGETS.route("DELETE", f"{_BUDGETS}/{{budget}}")
def delete(call: Call) -> Json:
    """Delete a budget."""
    call.world.delete(call.name)
    return {}
