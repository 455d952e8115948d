"""The fake builds and starts functions as Cloud Functions does, and fails them as it does."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.terraform.client import (
    DIGEST,
    PROJECT,
    REGION,
    SERVICE,
    SOURCES,
    WORKER,
    Client,
    Json,
    archive,
    secret_of,
    service_of,
)
from tests.terraform.control_plane.apis.storage import put_object


def _grant(client: Client, path: str, name: str, role: str) -> None:
    policy = client.world.policies.setdefault(f"//{path}/{name}", {"etag": "x"})
    binding = {"role": role, "members": [f"serviceAccount:{WORKER}"]}
    policy.setdefault("bindings", []).append(binding)


@pytest.fixture
def builder(client: Client) -> Client:
    """The same, with an account that may build, and a repository."""
    client.do(
        "POST",
        f"artifactregistry/v1/{REGION}/repositories?repository_id=functions",
        {"format": "DOCKER"},
    )
    project = ("cloudresourcemanager.googleapis.com", PROJECT)
    for role in ("logging.logWriter", "storage.objectViewer"):
        _grant(client, *project, f"roles/{role}")
    repository = ("artifactregistry.googleapis.com", f"{REGION}/repositories/functions")
    _grant(client, *repository, "roles/artifactregistry.writer")
    return client


def _function(archive: str = "good.zip", build: Json | None = None, **service: Any) -> Json:
    return {
        "buildConfig": {
            "runtime": "python313",
            "entryPoint": "entry",
            "serviceAccount": f"{PROJECT}/serviceAccounts/{WORKER}",
            "dockerRepository": f"{REGION}/repositories/functions",
            "source": {"storageSource": {"bucket": SOURCES, "object": archive}},
            **(build or {}),
        },
        "serviceConfig": {"serviceAccountEmail": WORKER, **service},
    }


_FUNCTIONS = f"cloudfunctions/v2/{REGION}/functions?functionId=my_function"


def test_a_function_gets_a_service_with_a_hyphen(builder: Client) -> None:
    function = builder.do("POST", _FUNCTIONS, _function())

    assert function["state"] == "ACTIVE"
    assert builder.do("GET", f"run/v2/{REGION}/services/my-function")["uri"].startswith("https://")
    assert builder.ask("GET", f"run/v2/{REGION}/services/my_function")[0] == 404


def test_deleting_a_function_deletes_its_service(builder: Client) -> None:
    builder.do("POST", _FUNCTIONS, _function())

    builder.do("DELETE", f"cloudfunctions/v2/{REGION}/functions/my_function")

    assert builder.ask("GET", f"run/v2/{REGION}/services/my-function")[0] == 404


@pytest.mark.parametrize(
    ("archive", "word"),
    [
        (b"no zip", "no zip archive"),
        (archive("main.py"), "missing main.py"),
        (archive("requirements.txt"), "missing requirements.txt"),
        (archive(main="def other(): ..."), "does not define entry"),
        (archive(main="def entry(:"), "Build failed"),
        (None, "Could not find object"),
    ],
)
def test_a_build_fails_for_its_archive(builder: Client, archive: bytes | None, word: str) -> None:
    if archive is not None:
        put_object(builder.world, SOURCES, "bad.zip", archive, {})

    assert word in builder.refused("POST", _FUNCTIONS, _function("bad.zip"))[1]


@pytest.mark.parametrize("taken", ["logging.logWriter", "storage.object", "artifactregistry"])
def test_a_build_fails_without_each_grant(builder: Client, taken: str) -> None:
    for policy in builder.world.policies.values():
        bindings = policy.get("bindings", [])
        policy["bindings"] = [one for one in bindings if taken not in one["role"]]

    assert "Build failed" in builder.refused("POST", _FUNCTIONS, _function())[1]


def test_a_new_project_cannot_build_everywhere(builder: Client) -> None:
    path = f"cloudfunctions/v2/{REGION}/functions?functionId=other".replace(
        "europe-west1", "europe-west4"
    )

    assert "cannot run builds in this region" in builder.refused("POST", path, _function())[1]


def test_with_a_key_the_copy_of_the_source_has_a_hash_in_its_name(builder: Client) -> None:
    key = f"{PROJECT}/locations/europe-west1/keyRings/r/cryptoKeys/k"
    builder.world.keys.add(key)
    agent = builder.world.agent("my-project", "cloudfunctions.googleapis.com")
    binding = {"role": "roles/cloudkms.cryptoKeyEncrypterDecrypter"}
    builder.world.policies[f"//cloudkms.googleapis.com/{key}"] = {
        "etag": "x",
        "bindings": [{**binding, "members": [f"serviceAccount:{agent}"]}],
    }
    policy = builder.world.policies[f"//cloudresourcemanager.googleapis.com/{PROJECT}"]
    reads = next(one for one in policy["bindings"] if one["role"] == "roles/storage.objectViewer")
    number = builder.world.project("my-project").number
    name = f"projects/_/buckets/gcf-v2-sources-{number}-europe-west1"

    reads["condition"] = {"title": "one", "expression": f'resource.name.startsWith("{name}/")'}
    body = {**_function(), "kmsKeyName": key}
    assert "Grant Storage Object Viewer" in builder.refused("POST", _FUNCTIONS, body)[1]

    reads["condition"]["expression"] = f'resource.name.startsWith("{name}")'
    other = _FUNCTIONS.replace("my_function", "other")
    assert builder.do("POST", other, body)["state"] == "ACTIVE"


def test_a_condition_limits_what_a_build_may_read(builder: Client) -> None:
    policy = builder.world.policies[f"//cloudresourcemanager.googleapis.com/{PROJECT}"]
    reads = next(one for one in policy["bindings"] if one["role"] == "roles/storage.objectViewer")
    own = f'resource.name.startsWith("projects/_/buckets/{SOURCES}/")'
    copied = 'resource.name.startsWith("projects/_/buckets/gcf-v2-sources-")'
    reads["condition"] = {"title": "one", "expression": own}

    assert "gcf-v2-sources" in builder.refused("POST", _FUNCTIONS, _function())[1]
    reads["condition"]["expression"] = f"{own} || {copied}"
    builder.do(
        "PATCH",
        f"{_FUNCTIONS.partition('?')[0]}/my_function?updateMask=buildConfig",
        {
            "buildConfig": _function()["buildConfig"],
        },
    )


def _with_secret() -> Json:
    variable = {"key": "SFTP_CREDENTIALS", "projectId": "my-project"}
    return _function(
        secretEnvironmentVariables=[{**variable, "secret": "sftp", "version": "latest"}]
    )


def test_a_function_starts_once_its_secret_has_a_version_that_it_may_read(builder: Client) -> None:
    secret = f"secretmanager/v1/{PROJECT}/secrets"
    builder.do("POST", f"{secret}?secretId=sftp", secret_of())
    again = "cloudfunctions/v2/" + f"{REGION}/functions/my_function"
    mask = "updateMask=serviceConfig"

    assert builder.refused("POST", _FUNCTIONS, _with_secret())[0] == 5
    data = base64.b64encode(b"{}").decode()
    builder.do("POST", f"{secret}/sftp:addVersion", {"payload": {"data": data}})
    assert builder.refused("PATCH", f"{again}?{mask}", _with_secret())[0] == 7
    _grant(
        builder,
        "secretmanager.googleapis.com",
        f"{PROJECT}/secrets/sftp",
        "roles/secretmanager.secretAccessor",
    )
    builder.do("PATCH", f"{again}?{mask}", _with_secret())


def test_an_account_that_is_not_there_runs_nothing(builder: Client) -> None:
    body = _function(serviceAccountEmail="no@my-project.iam.gserviceaccount.com")

    assert builder.refused("POST", _FUNCTIONS, body)[0] == 5


def test_an_image_runs_once_it_is_pushed(builder: Client) -> None:
    image = f"europe-west1-docker.pkg.dev/my-project/functions/extract-audio@{DIGEST}"
    builder.world.push_image(image)

    builder.do("POST", SERVICE, service_of(image=image))
