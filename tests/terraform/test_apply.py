"""The whole configuration, applied by the real provider against a fake of Google's control plane.

Three deployments run at the same time, each from an empty project to its end; the tests check what
each step did. The projects are new ones of an organisation: Cloud Run has the quotas of a new
project, and domain restricted sharing is enforced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.control_plane import World, reach, serve
from tests.terraform.control_plane.apis.storage import put_object
from tests.terraform.control_plane.world import Seen
from tests.terraform.rig import Deployment, Run

pytestmark = pytest.mark.slow(120)

_ACCOUNT = "012345-6789AB-CDEF01"
_IMAGE = "europe-west1-docker.pkg.dev/{}/audio-pipeline/{}@sha256:" + "0123456789abcdef" * 4

#: Services that encrypt by a key of one's own, as agents that `make deploy` creates.
_AGENTS = (
    "artifactregistry.googleapis.com",
    "firestore.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
)


@dataclass
class Story:
    """A deployment and what its steps did, by their names in order."""

    deployment: Deployment
    runs: dict[str, Run] = field(default_factory=dict)
    seen: dict[str, list[Seen]] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    public: list[str] = field(default_factory=list)
    failing_pushes: list[str] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def world(self) -> World:
        return self.deployment.world

    def step(self, name: str, run: Callable[[], Run]) -> Run:
        start = len(self.world.seen)
        done = self.runs[name] = run()
        self.seen[name] = self.world.seen[start:]
        return done

    def push_image(self) -> None:
        """Build and push, as a deployment does between its first two applies."""
        extract, web = (_IMAGE.format(self.deployment.project, n) for n in ("extract-audio", "web"))
        self.world.push_image(extract)
        self.world.push_image(web)
        self.deployment.image, self.deployment.web_image = extract, web

    def edit(self, path: str) -> None:
        with (self.deployment.copy / path).open("a") as source:
            source.write("# one more line\n")

    def writes(self, step: str) -> list[tuple[str, str]]:
        """Return the method and the service of each request of a step that changed something."""
        return sorted((one.method, one.service) for one in self.seen[step] if one.writes)


def _deploy(story: Story) -> None:
    """From nothing to the whole system, as `make deploy` goes."""
    deployment = story.deployment
    deployment.prepare()
    story.step("first apply", deployment.apply).succeeded()
    story.push_image()
    story.step("second apply", deployment.apply).succeeded()
    story.public = reach.public_services(story.world)
    story.failing_pushes = reach.failing_pushes(story.world, deployment.project)


def _dev(story: Story) -> None:
    deployment = story.deployment
    _deploy(story)
    story.edit("functions/drive_watch/main.py")
    story.step("edited function", deployment.apply)
    bucket = f"{deployment.project}-audio"
    put_object(story.world, bucket, "dev/2026/01/a_audio.mp3", b"ID3", {})
    story.step("destroy", deployment.destroy).succeeded()
    story.left = story.world.left()
    deployment.image = deployment.web_image = ""
    story.world.pass_hours()
    story.step("apply again", deployment.apply)


def _prod(story: Story) -> None:
    _deploy(story)
    story.edit("shared/core/errors.py")
    story.step("edited shared", story.deployment.apply).succeeded()
    story.state = story.deployment.state()
    story.step("destroy", story.deployment.destroy)


def _options(story: Story) -> None:
    """With everything switched on, so that no resource is missing from the plan."""
    deployment = story.deployment
    _deploy(story)
    story.step("plan", deployment.plan)
    story.step("early destroy", deployment.destroy)
    story.world.pass_hours()
    story.step("destroy", deployment.destroy)
    story.left = story.world.left()


#: Everything that can be switched on, with what must exist outside of the configuration.
_ON: dict[str, Any] = {
    "audit_data_access": True,
    "autoclass": True,
    "billing_account": _ACCOUNT,
    "bucket_versioning": True,
    "dashboard_members": ["group:dashboard@example.com"],
    "drive_subjects": ["someone@example.com"],
    "kms_key_name": "projects/options-project/locations/europe-west1/keyRings/r/cryptoKeys/k",
    "mount_bucket": True,
    "notification_emails": ["someone@example.com"],
    "sftp_host": "sftp.example.com",
    "static_egress_ip": True,
    "time_zone": "Europe/Berlin",
    "viewers": ["group:viewers@example.com"],
}


def _prepare(copy: Path, world: World, url: str, name: str, options: dict[str, Any]) -> Story:
    project = world.add_project(f"{name}-project")
    encrypting = _AGENTS if "kms_key_name" in options else ()
    for service in ("iap.googleapis.com", "pubsub.googleapis.com", *encrypting):
        world.create_identity(project.id, service)
    world.billing_accounts.add(_ACCOUNT)
    if "kms_key_name" in options:
        world.keys.add(options["kms_key_name"])
    environment = "prod" if name == "prod" else "dev"
    return Story(Deployment(copy, world, url, project.id, environment, options))


_STORIES: dict[str, tuple[Callable[[Story], None], dict[str, Any]]] = {
    "dev": (_dev, {}),
    "options": (_options, _ON),
    "prod": (_prod, {"sftp_host": "sftp.example.com"}),
}


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Story]]]:
    """The three deployments, running; each test waits for the one it looks at."""

    def tell(name: str, copy: Path) -> Story:
        world = World()
        run, options = _STORIES[name]
        with serve(world) as server:
            story = _prepare(copy, world, server.url, name, options)
            run(story)
            return story

    with ThreadPoolExecutor(len(_STORIES)) as pool:
        yield {name: pool.submit(tell, name, tmp_path_factory.mktemp(name)) for name in _STORIES}


@pytest.fixture
def story(stories: dict[str, Future[Story]], request: pytest.FixtureRequest) -> Story:
    """The deployment that the test is parametrised by, after its last step."""
    return stories[request.param].result()


_every = pytest.mark.parametrize("story", _STORIES, indirect=True)
_dev_only = pytest.mark.parametrize("story", ["dev"], indirect=True)
_prod_only = pytest.mark.parametrize("story", ["prod"], indirect=True)
_destroyed = pytest.mark.parametrize("story", ["dev", "options"], indirect=True)


@_every
@pytest.mark.parametrize("step", ["first apply", "second apply"])
def test_an_apply_has_no_error(story: Story, step: str) -> None:
    run = story.runs[step]

    assert not run.errors, run.report
    assert set(run.changes.values()) <= {"create", "update"}


@pytest.mark.parametrize("story", ["options"], indirect=True)
def test_the_next_plan_is_empty(story: Story) -> None:
    """In the other two the next step is an apply whose changes are all known."""
    run = story.runs["plan"]

    assert run.status == 0, run.report
    assert not run.changes


@_every
def test_services_and_functions_come_with_the_second_apply(story: Story) -> None:
    kinds = ("google_cloud_run_v2_service.", "google_cloud_run_v2_job.", "google_cloudfunctions2_")
    first, second = (story.runs[f"{step} apply"].changes for step in ("first", "second"))

    assert not [address for address in first if address.startswith(kinds)]
    assert {address for address in second if address.startswith(kinds)} >= {
        "google_cloud_run_v2_job.extract_audio[0]",
        "google_cloud_run_v2_service.extract_audio[0]",
        "google_cloud_run_v2_service.notify[0]",
        "google_cloudfunctions2_function.compress[0]",
        "google_cloudfunctions2_function.maintain[0]",
        "google_cloudfunctions2_function.nightly[0]",
    }


@_every
def test_only_the_webhook_can_be_called_without_an_identity(story: Story) -> None:
    assert story.public == ["notify"]


@_every
def test_every_push_can_be_delivered(story: Story) -> None:
    assert story.failing_pushes == []


@_every
def test_nothing_was_asked_for_that_the_fake_does_not_know(story: Story) -> None:
    assert not story.world.gaps


@_dev_only
def test_a_changed_line_updates_the_functions_of_its_archive_alone(story: Story) -> None:
    assert story.runs["edited function"].succeeded().changes == {
        'google_storage_bucket_object.function["drive_watch"]': "replace",
        "google_cloudfunctions2_function.maintain[0]": "update",
    }
    assert story.writes("edited function") == [
        ("DELETE", "storage.googleapis.com"),
        ("PATCH", "cloudfunctions.googleapis.com"),
        ("POST", "storage.googleapis.com"),
    ]


@_prod_only
def test_a_changed_line_of_shared_code_updates_every_function(story: Story) -> None:
    assert story.runs["edited shared"].succeeded().changes == {
        'google_storage_bucket_object.function["drive_watch"]': "replace",
        'google_storage_bucket_object.function["sftp_compress"]': "replace",
        "google_cloudfunctions2_function.maintain[0]": "update",
        "google_cloudfunctions2_function.nightly[0]": "update",
        "google_cloudfunctions2_function.compress[0]": "update",
    }


@_destroyed
def test_destroying_leaves_nothing_of_ours(story: Story) -> None:
    number = story.world.project(story.deployment.project).number
    # Cloud Functions creates it at the first build, and only a person deletes it.
    of_google = f"//storage.googleapis.com/projects/_/buckets/gcf-v2-sources-{number}-europe-west1"

    story.runs["destroy"].succeeded()
    (left,) = story.left
    assert left.startswith(of_google)


@pytest.mark.parametrize("story", ["options"], indirect=True)
def test_users_of_the_fixed_address_are_removed_long_before_its_network(story: Story) -> None:
    errors = story.runs["early destroy"].errors

    assert len(errors) == 1
    assert "addresses/serverless-ipv4" in errors[0]
    assert set(story.runs["destroy"].changes) >= {"google_compute_subnetwork.egress[0]"}


@_dev_only
def test_after_destroying_it_can_be_applied_again(story: Story) -> None:
    run = story.runs["apply again"].succeeded()

    assert set(run.changes.values()) == {"create"}


@_prod_only
def test_production_refuses_to_be_destroyed_before_anything_is_deleted(story: Story) -> None:
    run = story.runs["destroy"]

    assert run.status == 1
    assert "prevent_destroy" in run.report
    assert not story.writes("destroy")


@_prod_only
def test_no_secret_is_in_the_state(story: Story) -> None:
    versions = [
        instance["attributes"]
        for resource in story.state["resources"]
        if resource["type"] == "google_secret_manager_secret_version"
        for instance in resource["instances"]
    ]

    assert len(versions) == 2
    for version in versions:
        assert not version["secret_data"]
        assert not version["secret_data_wo"]
