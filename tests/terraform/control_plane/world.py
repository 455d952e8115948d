"""What exists: projects, resources by their full names, contents, images, operations."""

from __future__ import annotations

import copy
import datetime
import itertools
import threading
from dataclasses import dataclass, field
from typing import Any

from tests.terraform.control_plane.errors import ApiError, exists, not_found

Json = dict[str, Any]

#: Enabled by hand before anything else, since Terraform itself needs them.
FIRST_SERVICES = frozenset(
    {
        "serviceusage.googleapis.com",
        "cloudresourcemanager.googleapis.com",
        "cloudbilling.googleapis.com",
    }
)

#: Service agents: which address a service's has, and whether enabling its API makes it. The
#: others exist once `gcloud beta services identity create` has run ("Service agents", IAM).
_AGENTS = {
    "artifactregistry.googleapis.com": ("gcp-sa-artifactregistry", False),
    "cloudbuild.googleapis.com": ("gcp-sa-cloudbuild", True),
    "cloudfunctions.googleapis.com": ("gcf-admin-robot", True),
    "cloudscheduler.googleapis.com": ("gcp-sa-cloudscheduler", True),
    "firestore.googleapis.com": ("gcp-sa-firestore", False),
    "iap.googleapis.com": ("gcp-sa-iap", False),
    "pubsub.googleapis.com": ("gcp-sa-pubsub", False),
    "run.googleapis.com": ("serverless-robot-prod", True),
    "secretmanager.googleapis.com": ("gcp-sa-secretmanager", False),
    "storage.googleapis.com": ("gs-project-accounts", False),
}


#: Where Cloud Build runs for new projects ("Restricted regions for some projects",
#: cloud.google.com/build/docs/locations). Functions are built there too.
BUILD_REGIONS = frozenset(
    {
        "asia-east1",
        "australia-southeast1",
        "europe-west1",
        "southamerica-east1",
        "us-central1",
        "us-west2",
    }
)


@dataclass
class Project:
    """A new project in an organisation; many answers have ``number`` in place of its id.

    ``vcpus`` and ``memory_gib`` are Cloud Run's quotas for each region: 20 and 40 for a new
    project (googlecodelabs/feedback, issues 1856 and 2311).
    """

    id: str
    number: int
    enabled: set[str] = field(default_factory=lambda: set(FIRST_SERVICES))
    agents: set[str] = field(default_factory=set)
    vcpus: int = 20
    memory_gib: int = 40


@dataclass(frozen=True)
class Seen:
    """A request that was answered, for tests to look at."""

    method: str
    service: str
    path: str
    status: int

    @property
    def writes(self) -> bool:
        """Return whether the request may have changed something."""
        reading = self.path.endswith((":getIamPolicy", ":access"))
        return self.method != "GET" and not reading


class World:
    """Everything that the APIs share; take ``lock`` to read or write it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.projects: dict[str, Project] = {}
        self.billing_accounts: set[str] = set()
        self.resources: dict[str, Json] = {}
        self.policies: dict[str, Json] = {}
        self.contents: dict[str, bytes] = {}
        self.images: set[str] = set()
        self.keys: set[str] = set()
        self.operations: dict[str, Json] = {}
        self.resting_names: set[str] = set()
        self.held_subnetworks: set[str] = set()
        #: The organisation's domain; None for a project without one. Domain restricted sharing is
        #: enforced, as it is for organisations created since May 2024 ("Default organization
        #: policies", cloud.google.com/resource-manager/docs/secure-by-default-organizations).
        self.domain: str | None = "example.com"
        #: Calls that an API still refuses after it was enabled, and seconds until a grant of a
        #: role takes effect.
        self.slow_apis: dict[str, int] = {}
        self.slow_grants: dict[str, float] = {}
        self.granted_at: dict[tuple[str, str, str], float] = {}
        self.seen: list[Seen] = []
        self.gaps: list[str] = []
        self._serial = itertools.count(1)

    # What a test or a person's gcloud does

    def add_project(self, project_id: str) -> Project:
        """Create a project with nothing in it but the first three APIs."""
        project = Project(project_id, 100_000_000_000 + self.serial())
        self.projects[project_id] = project
        return project

    def create_identity(self, project: str, service: str) -> None:
        """Make a service's agent, as ``gcloud beta services identity create`` does."""
        self.project(project).agents.add(self.agent(project, service))

    def push_image(self, image: str) -> None:
        """Store an image, ``HOST/PROJECT/REPOSITORY/NAME@sha256:…``; its repository must exist."""
        host, project, repository, _ = image.split("/", 3)
        region = host.removesuffix("-docker.pkg.dev")
        self.get(repository_name(self.project(project).id, region, repository))
        self.images.add(image)

    def pass_hours(self) -> None:
        """Pass the time for which names and addresses of deleted resources are kept.

        A database's name rests for five minutes; Cloud Run holds its addresses in a
        subnetwork for one to two hours ("Delete a subnet", Direct VPC egress).
        """
        self.resting_names.clear()
        self.held_subnetworks.clear()

    def left(self) -> list[str]:
        """Return what exists, resources and grants, by full name in order."""
        grants = [
            f"{name} {binding['role']} {member}"
            for name, policy in self.policies.items()
            for binding in policy.get("bindings", ())
            for member in binding["members"]
            if not member.startswith("project")  # those that every bucket has
        ]
        audits = [
            f"{name} auditConfigs" for name, p in self.policies.items() if "auditConfigs" in p
        ]
        return sorted([*self.resources, *grants, *audits])

    # Resources

    def serial(self) -> int:
        """Return a number that was not used before."""
        return next(self._serial)

    def etag(self) -> str:
        """Return an etag that was not used before."""
        return f"BwX{self.serial():08d}"

    def project(self, ref: str) -> Project:
        """Return a project by its id or number; the real API's 403 where there is none."""
        for project in self.projects.values():
            if ref in {project.id, str(project.number)}:
                return project
        raise ApiError(403, f"Permission denied on resource project {ref}, or it may not exist.")

    def agent(self, project: str, service: str) -> str:
        """Return the address of a service's agent in the project."""
        number = self.project(project).number
        domain, _ = _AGENTS[service]
        return f"service-{number}@{domain}.iam.gserviceaccount.com"

    def enable(self, project: Project, service: str) -> None:
        """Enable an API, which creates the agents of some."""
        project.enabled.add(service)
        if _AGENTS.get(service, ("", False))[1]:
            project.agents.add(self.agent(project.id, service))

    def answers(self, project: Project, service: str) -> bool:
        """Return whether an API is enabled and the change has taken effect."""
        if service not in project.enabled:
            return False
        refusals = self.slow_apis.get(service, 0)
        self.slow_apis[service] = max(0, refusals - 1)
        return refusals == 0

    def create(self, name: str, body: Json) -> Json:
        """Store a new resource; 409 where the name is taken."""
        if name in self.resources:
            raise exists(name)
        self.resources[name] = copy.deepcopy(body)
        return self.resources[name]

    def get(self, name: str) -> Json:
        """Return a resource, or refuse with 404."""
        if name not in self.resources:
            raise not_found(name)
        return self.resources[name]

    def delete(self, name: str) -> None:
        """Remove a resource with its policy, or refuse with 404."""
        self.get(name)
        del self.resources[name]
        self.policies.pop(name, None)
        self.contents.pop(name, None)

    def below(self, prefix: str) -> list[str]:
        """Return the names of the resources that start with the prefix."""
        return sorted(name for name in self.resources if name.startswith(prefix))


def repository_name(project: str, location: str, repository: str) -> str:
    """Return the full name of a repository of Artifact Registry."""
    path = f"projects/{project}/locations/{location}/repositories/{repository}"
    return f"//artifactregistry.googleapis.com/{path}"


def now() -> str:
    """Return the time as the APIs write it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def patch(resource: Json, body: Json, mask: str) -> None:
    """Set the fields of a mask (dotted, comma-separated) from the body; clear absent ones."""
    for path in filter(None, mask.split(",")):
        *parents, last = path.split(".")
        source: Any = body
        target = resource
        for parent in parents:
            source = (source or {}).get(parent)
            target = target.setdefault(parent, {})
        if isinstance(source, dict) and last in source:
            target[last] = copy.deepcopy(source[last])
        else:
            target.pop(last, None)


def without_defaults(message: Json) -> Json:
    """Return JSON as protocol buffers write it: no zeros, falses, or empty strings and lists."""
    cleaned = {key: _cleaned(item) for key, item in message.items()}
    return {key: item for key, item in cleaned.items() if not _is_default(item)}


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return without_defaults(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value


def _is_default(value: Any) -> bool:
    return value is None or value is False or value in (0, "", [])
