"""What Cloud Monitoring refuses of an alert policy."""

from __future__ import annotations

import re
from typing import Any

from tests.terraform.control_plane.apis import logging
from tests.terraform.control_plane.apis.pubsub import seconds
from tests.terraform.control_plane.errors import ApiError, not_found, require
from tests.terraform.control_plane.routing import Call, text
from tests.terraform.control_plane.world import Json, World

_TYPE = re.compile(r'metric\.type\s*=\s*"([^"]+)"')
_RESOURCE = re.compile(r'resource\.type\s*=\s*(one_of\()?\s*"')
_KINDS = (
    "conditionThreshold",
    "conditionAbsent",
    "conditionMatchedLog",
    "conditionPrometheusQueryLanguage",
    "conditionMonitoringQueryLanguage",
    "conditionSql",
)
_COMBINERS = {"AND", "OR", "AND_WITH_MATCHING_RESOURCE"}
#: The longest absence that can be detected, 23.5 hours ("Metric-absence conditions").
_MOST_ABSENT_S = 23.5 * 3600
_TO_NUMBERS = re.compile(r"ALIGN_(PERCENTILE_\d\d|MEAN|COUNT)|REDUCE_(PERCENTILE_\d\d|MEAN|COUNT)")


def check(call: Call, policy: Json) -> None:
    """Refuse a policy with a condition that the API refuses, or channels that are not there."""
    require(policy.get("displayName"), "An alert policy needs a display name.")
    require(policy.get("combiner") in _COMBINERS, f"Invalid combiner: {policy.get('combiner')}")
    conditions = policy.get("conditions", ())
    require(1 <= len(conditions) <= 6, "An alert policy has 1 to 6 conditions.")
    for condition in conditions:
        _check_condition(call, condition)
    for channel in policy.get("notificationChannels", ()):
        if f"//monitoring.googleapis.com/{channel}" not in call.world.resources:
            raise not_found(channel)
    _check_strategy(policy, conditions)


def _check_strategy(policy: Json, conditions: Any) -> None:
    strategy = policy.get("alertStrategy") or {}
    by_log = any("conditionMatchedLog" in condition for condition in conditions)
    limited = "notificationRateLimit" in strategy
    require(by_log == limited, "A rate limit is for log matches, which need it.")
    close = strategy.get("autoClose")
    in_range = close is None or 1800 <= seconds(close) <= 7 * 86_400
    require(in_range, "Incidents close after 30 minutes to 7 days.")
    severity = policy.get("severity", "ERROR")
    require(severity in {"CRITICAL", "ERROR", "WARNING"}, f"Invalid severity: {severity}")


def _check_condition(call: Call, condition: Json) -> None:
    require(condition.get("displayName"), "A condition needs a display name.")
    kinds = [kind for kind in _KINDS if kind in condition]
    require(len(kinds) == 1, f"A condition is of one kind: {kinds}")
    body = condition[kinds[0]]
    if kinds[0] in {"conditionThreshold", "conditionAbsent"}:
        _check_series(call, body)
    if kinds[0] == "conditionAbsent":
        duration = seconds(body.get("duration", "0s"))
        message = f"The duration of an absence is 2 minutes to 23.5 hours, not {duration} s."
        require(120 <= duration <= _MOST_ABSENT_S, message)
    if kinds[0] == "conditionPrometheusQueryLanguage":
        _check_promql(body)
    if kinds[0] == "conditionMatchedLog":
        require(body.get("filter"), "A log match needs a filter.")


def _check_series(call: Call, body: Json) -> None:
    duration = seconds(body.get("duration", "0s"))
    require(duration % 60 == 0, "The duration is a multiple of a minute.")
    for key in ("aggregations", "denominatorAggregations"):
        for aggregation in body.get(key, ()):
            period = seconds(aggregation.get("alignmentPeriod", "0s"))
            require(60 <= period <= 90_000, "The alignment period is 60 seconds to 25 hours.")
            aligned = "perSeriesAligner" in aggregation
            reduced = aggregation.get("crossSeriesReducer", "REDUCE_NONE") != "REDUCE_NONE"
            require(aligned or not reduced, "A reducer needs an aligner.")
    _check_filter(call, body.get("filter", ""), body.get("aggregations", ()))
    if body.get("denominatorFilter"):
        _check_filter(call, body["denominatorFilter"], body.get("denominatorAggregations", ()))


def _check_filter(call: Call, text_: str, aggregations: Any) -> None:
    metric = _TYPE.search(text_)
    require(metric, f'must specify a restriction on "metric.type" in the filter: {text_}')
    message = f'must specify a restriction on "resource.type" in the filter: {text_}'
    require(_RESOURCE.search(text_), message)
    assert metric
    if not logging.is_log_based(metric[1]):
        return
    found = logging.find_metric(call.world, call.project.id, metric[1])
    if found is None:
        raise ApiError(404, f'Cannot find metric that matches type = "{metric[1]}".')
    if text(found, "metricDescriptor", "valueType") == "DISTRIBUTION":
        steps = " ".join(str(value) for one in aggregations for value in one.values())
        message = "A distribution is compared by a percentile, a mean or a count."
        require(_TO_NUMBERS.search(steps), message)


def _check_promql(body: Json) -> None:
    query = body.get("query", "")
    require(query.strip(), "A PromQL condition needs a query.")
    bare = re.sub(r'"(\\.|[^"\\])*"', "", query)
    for left, right in ("()", "{}", "[]"):
        require(bare.count(left) == bare.count(right), f"Unbalanced {left}{right} in {query}")
    interval = seconds(body.get("evaluationInterval", "30s"))
    require(interval >= 30 and interval % 30 == 0, "Evaluated each 30 s or a multiple of it.")
    duration = seconds(body.get("duration", "0s"))
    require(duration % 30 == 0, "The duration is a multiple of 30 s.")


def named(world: World, policy: str, conditions: list[Json]) -> list[Json]:
    """Return the conditions with names, which the API gives those that have none."""
    return [{"name": f"{policy}/conditions/{world.serial()}", **one} for one in conditions]
