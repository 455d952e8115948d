"""Every resource depends on what it needs.

An apply against the fake fails only when the wrong order happens; the graph always shows it.
"""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from tests.terraform.control_plane import World
from tests.terraform.rig import Deployment

_BUILD = {
    "google_artifact_registry_repository_iam_member.build_push",
    "google_project_iam_member.build_logs",
    "google_project_iam_member.build_source",
    "google_storage_bucket_object.function",
}
_SECRET = {
    "google_secret_manager_secret_iam_member.sftp_credentials",
    "google_secret_manager_secret_version.sftp_credentials",
}
_TRACKER = {"google_firestore_database.tracker", "google_project_iam_member.tracker"}
_METRICS = {"google_logging_metric.log"}

#: Resource to those whose effect it needs, though it names them in no argument, or not surely.
NEEDS = {
    "google_cloud_run_v2_job.extract_audio": _TRACKER,
    "google_cloud_run_v2_service.dashboard": _TRACKER
    | {"google_pubsub_topic_iam_member.publisher", "google_storage_bucket_iam_member.dashboard"},
    "google_cloud_run_v2_service.extract_audio": _TRACKER,
    "google_cloud_run_v2_service.notify": _TRACKER | {"google_pubsub_topic_iam_member.publisher"},
    "google_cloudfunctions2_function.compress": _BUILD | _SECRET,
    "google_cloudfunctions2_function.maintain": _BUILD,
    "google_cloudfunctions2_function.nightly": _BUILD | _SECRET,
    "google_monitoring_alert_policy.alert": _METRICS,
    "google_monitoring_dashboard.overview": _METRICS,
    "google_pubsub_subscription.dead_letters": {"google_service_account_iam_member.push_tokens"},
    "google_pubsub_subscription.push": {"google_service_account_iam_member.push_tokens"},
}

Graph = dict[str, set[str]]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """Each resource to all that it waits for."""
    copy = tmp_path_factory.mktemp("graph")
    deployment = Deployment(copy, World(), "http://127.0.0.1:1", "my-project", "dev", {})
    deployment.prepare()
    direct: Graph = defaultdict(set)
    text = deployment.graph()
    for node in re.findall(r'^ *"([^"]+)" \[', text, re.MULTILINE):
        direct[node] = set()
    for node, needed in re.findall(r'"([^"]+)" -> "([^"]+)"', text):
        direct[node].add(needed)
    return {node: _reach(direct, node, set()) for node in list(direct)}


def _reach(direct: Graph, node: str, found: set[str]) -> set[str]:
    for needed in direct[node] - found:
        found.add(needed)
        _reach(direct, needed, found)
    return found


def test_every_resource_waits_for_its_api(graph: Graph) -> None:
    apis = "google_project_service.api"
    ours = {node for node in graph if node.startswith("google_")} - {apis}

    assert len(ours) > 40
    assert {node for node in ours if apis not in graph[node]} == set()


@pytest.mark.parametrize("resource", NEEDS)
def test_it_waits_for_what_it_needs(graph: Graph, resource: str) -> None:
    assert NEEDS[resource] - graph[resource] == set()


def test_nothing_waits_for_the_reading_of_the_project(graph: Graph) -> None:
    """Otherwise the project's number is unknown in every plan."""
    assert graph["data.google_project.this"] == set()
