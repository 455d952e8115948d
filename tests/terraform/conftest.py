"""Projects on the fake of Google's control plane, empty and with what the tests need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.terraform.client import (
    PROJECT,
    SOURCES,
    Client,
    archive,
    bucket,
)
from tests.terraform.control_plane import World, serve
from tests.terraform.control_plane.apis.storage import put_object

_SERVICES = [
    "artifactregistry",
    "billingbudgets",
    "cloudbuild",
    "cloudfunctions",
    "cloudkms",
    "cloudscheduler",
    "compute",
    "firestore",
    "iam",
    "logging",
    "monitoring",
    "pubsub",
    "run",
    "secretmanager",
    "storage",
]


@pytest.fixture
def fresh() -> Iterator[Client]:
    """A project with nothing but the first three APIs."""
    world = World()
    world.add_project("my-project")
    with serve(world) as server:
        yield Client(server.url, world)


@pytest.fixture
def client(fresh: Client) -> Client:
    """A project with every API, an account, a topic and a bucket with a function's archive."""
    project = fresh.world.project("my-project")
    for service in _SERVICES:
        fresh.world.enable(project, f"{service}.googleapis.com")
    fresh.do("POST", f"iam/v1/{PROJECT}/serviceAccounts", {"accountId": "worker"})
    fresh.do("PUT", f"pubsub/v1/{PROJECT}/topics/recordings", {})
    fresh.do("POST", "storage/storage/v1/b?project=my-project", bucket(SOURCES))
    put_object(fresh.world, SOURCES, "good.zip", archive(), {})
    return fresh
