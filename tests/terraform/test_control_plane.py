"""The fake of Google's control plane refuses what the real one refuses, and keeps what it keeps."""

from __future__ import annotations

from typing import Any

import pytest

from tests.terraform.client import (
    ACCOUNTS,
    BUCKETS,
    DIGEST,
    PROJECT,
    REGION,
    SERVICE,
    SOURCES,
    TOPICS,
    WORKER,
    Client,
    Json,
    bucket,
    policy_of,
    scaled_service,
    secret_of,
    service_of,
)
from tests.terraform.control_plane import policies
from tests.terraform.control_plane.world import FIRST_SERVICES


def _subscription(**more: Any) -> Json:
    return {"topic": f"{PROJECT}/topics/recordings", **more}


def _job(**more: Any) -> Json:
    target = {"uri": "https://maintain.example.com"}
    job = {"name": f"{REGION}/jobs/maintain", "schedule": "*/15 * * * *", "timeZone": "Etc/UTC"}
    return {**job, "httpTarget": target, **more}


def _metric(**descriptor: Any) -> Json:
    return {"name": "audio", "filter": "severity=ERROR", "metricDescriptor": descriptor}


def _alert(kind: str, **condition: Any) -> Json:
    series = 'metric.type="run.googleapis.com/request_count" resource.type="cloud_run_revision"'
    body = {"filter": series, "duration": "300s", **condition}
    one = {"displayName": "one", kind: body}
    return {"displayName": "alert", "combiner": "OR", "conditions": [one]}


_SUBSCRIPTION = f"pubsub/v1/{PROJECT}/subscriptions/push"
_JOBS = f"cloudscheduler/v1/{REGION}/jobs"
_METRICS = f"logging/v2/{PROJECT}/metrics"
_ALERTS = f"monitoring/v3/{PROJECT}/alertPolicies"
_PROJECT = f"cloudresourcemanager/v1/{PROJECT}:setIamPolicy"
_USER_METRIC = 'metric.type="logging.googleapis.com/user/none" resource.type="global"'

_NO_CHANNEL = f"{PROJECT}/notificationChannels/1"

#: What is asked for, and the code and a word of the refusal.
REFUSED: dict[str, tuple[str, str, Json, int, str]] = {
    "account id too short": ("POST", ACCOUNTS, {"accountId": "short"}, 400, "6 to 30"),
    "account id too long": ("POST", ACCOUNTS, {"accountId": "a" * 31}, 400, "6 to 30"),
    "account twice": ("POST", ACCOUNTS, {"accountId": "worker"}, 409, "exists"),
    "member that is not there": (
        "POST",
        f"{TOPICS}/recordings:setIamPolicy",
        policy_of("roles/pubsub.publisher", "serviceAccount:no@my-project.iam.gserviceaccount.com"),
        400,
        "does not exist",
    ),
    "a grant to everybody": (
        "POST",
        f"{TOPICS}/recordings:setIamPolicy",
        policy_of("roles/pubsub.publisher", "allUsers"),
        400,
        "do not belong to a permitted customer",
    ),
    "a grant outside of the organisation": (
        "POST",
        f"{TOPICS}/recordings:setIamPolicy",
        policy_of("roles/pubsub.publisher", "group:all@elsewhere.example"),
        400,
        "do not belong to a permitted customer",
    ),
    "more vCPUs than the quota": (
        "POST",
        SERVICE,
        scaled_service(instances=10, cpu="4", memory="2Gi"),
        3,
        "Max instances must be set to 5 or fewer to set the requested total CPU",
    ),
    "more memory than the quota": (
        "POST",
        SERVICE,
        scaled_service(instances=20, cpu="1", memory="4Gi"),
        3,
        "Max instances must be set to 10 or fewer to set the requested total memory",
    ),
    "IAP before its API is enabled": (
        "POST",
        SERVICE,
        {**service_of(), "iapEnabled": True},
        3,
        "iap.googleapis.com",
    ),
    "Pub/Sub's agent before it is made": (
        "POST",
        f"{TOPICS}/recordings:setIamPolicy",
        policy_of(
            "roles/pubsub.publisher",
            "serviceAccount:service-100000000001@gcp-sa-pubsub.iam.gserviceaccount.com",
        ),
        400,
        "does not exist",
    ),
    "unknown role": (
        "POST",
        f"{TOPICS}/recordings:setIamPolicy",
        policy_of("roles/pubsub.publish", "allUsers"),
        400,
        "pubsub.publish",
    ),
    "role of another kind": (
        "POST",
        f"{TOPICS}/recordings:setIamPolicy",
        policy_of("roles/run.invoker", "allUsers"),
        400,
        "not supported",
    ),
    "policy of a service that is not there": (
        "POST",
        f"run/v2/{REGION}/services/no:setIamPolicy",
        policy_of("roles/run.invoker", "allUsers"),
        404,
        "services/no",
    ),
    "subscription of no topic": (
        "PUT",
        _SUBSCRIPTION,
        {"topic": f"{PROJECT}/topics/no"},
        404,
        "topics/no",
    ),
    "no dead-letter topic": (
        "PUT",
        _SUBSCRIPTION,
        _subscription(deadLetterPolicy={"deadLetterTopic": f"{PROJECT}/topics/no"}),
        404,
        "topics/no",
    ),
    "too many deliveries": (
        "PUT",
        _SUBSCRIPTION,
        _subscription(
            deadLetterPolicy={
                "deadLetterTopic": f"{PROJECT}/topics/recordings",
                "maxDeliveryAttempts": 101,
            }
        ),
        400,
        "5 to 100",
    ),
    "ack deadline": ("PUT", _SUBSCRIPTION, _subscription(ackDeadlineSeconds=601), 400, "600"),
    "push without TLS": (
        "PUT",
        _SUBSCRIPTION,
        _subscription(pushConfig={"pushEndpoint": "http://example.com"}),
        400,
        "push endpoint",
    ),
    "attempt deadline": ("POST", _JOBS, _job(attemptDeadline="1801s"), 400, "30 minutes"),
    "time zone": ("POST", _JOBS, _job(timeZone="Europe/Nowhere"), 400, "time zone"),
    "schedule": ("POST", _JOBS, _job(schedule="* * * *"), 400, "Schedule"),
    "gauge from logs": ("POST", _METRICS, _metric(metricKind="GAUGE"), 400, "GAUGE"),
    "distribution of nothing": (
        "POST",
        _METRICS,
        _metric(metricKind="DELTA", valueType="DISTRIBUTION"),
        400,
        "extractor",
    ),
    "alert on no metric": (
        "POST",
        _ALERTS,
        _alert("conditionThreshold", filter=_USER_METRIC),
        404,
        "user/none",
    ),
    "alert on any resource": (
        "POST",
        _ALERTS,
        _alert("conditionThreshold", filter='metric.type="run.googleapis.com/request_count"'),
        400,
        "resource.type",
    ),
    "absence of a day": (
        "POST",
        _ALERTS,
        _alert("conditionAbsent", duration="86400s"),
        400,
        "23.5 hours",
    ),
    "channel that is not there": (
        "POST",
        _ALERTS,
        {
            **_alert("conditionThreshold"),
            "notificationChannels": [f"{PROJECT}/notificationChannels/1"],
        },
        404,
        "notificationChannels/1",
    ),
    "bucket name": ("POST", BUCKETS, bucket("My_Bucket"), 400, "Invalid bucket name"),
    "bucket taken": ("POST", BUCKETS, bucket(SOURCES), 409, "not available"),
    "bucket with objects": ("DELETE", f"storage/storage/v1/b/{SOURCES}", {}, 409, "not empty"),
    "soft delete of a day": (
        "POST",
        BUCKETS,
        bucket("my-project-audio", softDeletePolicy={"retentionDurationSeconds": "86400"}),
        400,
        "7 to 90",
    ),
    "image that is not there": (
        "POST",
        SERVICE,
        service_of(image=f"europe-west1-docker.pkg.dev/my-project/audio-pipeline/x@{DIGEST}"),
        5,
        "not found",
    ),
    "memory for four CPU": (
        "POST",
        SERVICE,
        service_of(resources={"limits": {"cpu": "4", "memory": "1Gi"}}),
        3,
        "2048",
    ),
    "variable of the platform": (
        "POST",
        SERVICE,
        service_of(env=[{"name": "PORT", "value": "1"}]),
        3,
        "PORT",
    ),
    "policy out of date": (
        "POST",
        _PROJECT,
        policy_of("roles/viewer", "user:a@example.com", etag="old"),
        409,
        "concurrent",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses(client: Client, case: str) -> None:
    method, path, body, code, word = REFUSED[case]

    refused, message = client.refused(method, path, body)

    assert (refused, word in message) == (code, True), message


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (ACCOUNTS, {"accountId": "worker"}),
        (_JOBS, _job()),
        (_METRICS, _metric()),
        (_ALERTS, _alert("conditionThreshold")),
        (f"secretmanager/v1/{PROJECT}/secrets?secretId=x", secret_of()),
        (f"run/v2/{REGION}/services?serviceId=x", service_of()),
        (BUCKETS, bucket("my-project-audio")),
        (f"compute/compute/v1/{PROJECT}/global/networks", {"name": "net"}),
    ],
)
def test_an_api_is_refused_until_it_is_enabled(fresh: Client, path: str, body: Json) -> None:
    status, answer = fresh.ask("POST", path, body)

    assert status == 403
    assert answer["error"]["details"][0]["reason"] == "SERVICE_DISABLED"


def test_the_first_three_apis_are_enabled(fresh: Client) -> None:
    listed = fresh.do("GET", f"serviceusage/v1/{PROJECT}/services?filter=state:ENABLED")["services"]

    assert {one["name"].rpartition("/")[2] for one in listed} == FIRST_SERVICES


def test_creating_pubsubs_identity_makes_its_agent_a_member(client: Client) -> None:
    client.world.create_identity("my-project", "pubsub.googleapis.com")
    agent = client.world.agent("my-project", "pubsub.googleapis.com")

    policy = policy_of("roles/pubsub.publisher", f"serviceAccount:{agent}")
    client.do("POST", f"{TOPICS}/recordings:setIamPolicy", policy)


def test_a_database_id_is_kept_while_it_exists_and_rests_when_it_is_deleted(client: Client) -> None:
    path = f"firestore/v1/{PROJECT}/databases?databaseId=audio-pipeline"
    database = f"firestore/v1/{PROJECT}/databases/audio-pipeline"
    body = {"locationId": "europe-west1"}
    client.do("POST", path, body)

    assert client.refused("POST", path, body)[0] == 409
    client.do("DELETE", database)
    assert "retry in" in client.refused("POST", path, body)[1]
    client.world.pass_hours()
    client.do("POST", path, body)


def test_a_composite_index_is_made_once(client: Client) -> None:
    database = f"firestore/v1/{PROJECT}/databases"
    client.do("POST", f"{database}?databaseId=db1x", {"locationId": "europe-west1"})
    fields = [{"fieldPath": path, "order": "ASCENDING"} for path in ("status", "updated_at")]
    path = f"{database}/db1x/collectionGroups/recordings/indexes"
    client.do("POST", path, {"fields": fields})

    assert client.refused("POST", path, {"fields": fields})[0] == 409


# What comes back


def test_a_dashboard_comes_back_without_zeros(client: Client) -> None:
    tile = {"xPos": 0, "width": 24, "height": 8, "widget": {"text": {"content": "x"}}}
    body = {"displayName": "one", "mosaicLayout": {"columns": 48, "tiles": [tile]}}

    dashboard = client.do("POST", f"monitoring/v1/{PROJECT}/dashboards", body)

    assert "xPos" not in dashboard["mosaicLayout"]["tiles"][0]


def test_tiles_do_not_overlap(client: Client) -> None:
    tile = {"width": 24, "height": 8, "widget": {"text": {"content": "x"}}}
    tiles = [tile, {**tile, "xPos": 23}]
    body = {"displayName": "one", "mosaicLayout": {"columns": 48, "tiles": tiles}}

    assert "overlap" in client.refused("POST", f"monitoring/v1/{PROJECT}/dashboards", body)[1]


def test_a_budget_comes_back_with_the_projects_number(client: Client) -> None:
    client.world.billing_accounts.add("012345-6789AB-CDEF01")
    body = {
        "displayName": "one",
        "amount": {"specifiedAmount": {"units": "100"}},
        "budgetFilter": {"projects": [PROJECT]},
    }

    budget = client.do(
        "POST", "billingbudgets/v1/billingAccounts/012345-6789AB-CDEF01/budgets", body
    )

    number = client.world.project("my-project").number
    assert budget["budgetFilter"]["projects"] == [f"projects/{number}"]


def test_a_scheduled_call_is_a_post(client: Client) -> None:
    assert client.do("POST", _JOBS, _job())["httpTarget"]["httpMethod"] == "POST"


def test_the_grants_of_a_deleted_account_stay_as_traces(client: Client) -> None:
    policy = policy_of("roles/pubsub.publisher", f"serviceAccount:{WORKER}")
    client.do("POST", f"{TOPICS}/recordings:setIamPolicy", policy)

    client.do("DELETE", f"{ACCOUNTS}/{WORKER}")

    read = client.do("GET", f"{TOPICS}/recordings:getIamPolicy")
    assert read["bindings"][0]["members"][0].startswith(f"deleted:serviceAccount:{WORKER}")


def test_unknown_calls_are_reported(client: Client) -> None:
    client.ask("GET", f"pubsub/v1/{PROJECT}/snapshots/x")

    assert client.world.gaps == [f"GET pubsub.googleapis.com v1/{PROJECT}/snapshots/x"]


def test_a_slow_api_answers_some_time_after_it_was_enabled(fresh: Client) -> None:
    fresh.world.slow_apis["pubsub.googleapis.com"] = 1
    fresh.world.enable(fresh.world.project("my-project"), "pubsub.googleapis.com")

    assert fresh.ask("PUT", f"{TOPICS}/recordings", {})[0] == 403
    assert fresh.ask("PUT", f"{TOPICS}/recordings", {})[0] == 200


def test_a_slow_grant_takes_effect_later(client: Client) -> None:
    client.world.slow_grants["roles/pubsub.publisher"] = 3600
    policy = policy_of("roles/pubsub.publisher", f"serviceAccount:{WORKER}")
    client.do("POST", f"{TOPICS}/recordings:setIamPolicy", policy)
    topic = [f"//pubsub.googleapis.com/{PROJECT}/topics/recordings"]

    def granted() -> bool:
        return policies.granted(client.world, WORKER, ["roles/pubsub.publisher"], topic)

    assert not granted()
    client.world.slow_grants.clear()
    assert granted()


def test_members_of_the_organisation_may_be_granted(client: Client) -> None:
    client.do(
        "POST",
        f"{TOPICS}/recordings:setIamPolicy",
        policy_of("roles/pubsub.publisher", "group:staff@example.com", "domain:example.com"),
    )


def test_iap_needs_an_organisation(client: Client) -> None:
    client.world.enable(client.world.project("my-project"), "iap.googleapis.com")
    client.world.domain = None
    body = {**service_of(), "iapEnabled": True}

    assert "organization" in client.refused("POST", SERVICE, body)[1]
    client.world.domain = "example.com"
    client.do("POST", SERVICE, body)
