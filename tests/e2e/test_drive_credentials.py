"""Credentials for Drive: the metadata server, impersonation, delegation, key files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cli.demo.drive_standin.errors import READONLY
from cli.demo.drive_standin.identity import key_file
from tests.drive.standin import OWNER, READER, StandIn, running

RUNNER = "runner@project.iam.gserviceaccount.com"

SCRIPT = """
import sys
from shared.adapters.google.drive_sources import DriveClients, DriveSources
from shared.core.errors import PipelineError
endpoint, account, subject = sys.argv[1:]
clients = DriveClients(service_account=account, endpoint=endpoint, retry_s=1)
sources = DriveSources(clients, subjects=[subject] if subject else [])
try:
    print(sorted(item.name for item in sources.list()))
except PipelineError as error:
    print(type(error).__name__, getattr(error, "code", ""), error)
"""


@pytest.fixture
def drive() -> Iterator[StandIn]:
    with running() as standin:
        for owner in (RUNNER, READER, OWNER):
            standin.world.create_file(f"of {owner}", content=b"x", owner=owner)
        yield standin


def names(
    drive: StandIn, environment: Mapping[str, str], account: str = "", subject: str = ""
) -> str:
    """Return what a fresh process lists, or the error that it ends with."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE", "GCE"))
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, drive.server.endpoint, account, subject],
        env=clean | dict(environment),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


@pytest.fixture
def cloud_run(drive: StandIn, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of an instance: a metadata server, and Google's own hosts."""
    from tests.drive.google_hosts import google_hosts

    host = drive.server.url.removeprefix("http://")
    with google_hosts(drive.server, tmp_path) as environment:
        yield {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host, **environment}


def test_own_credentials_ask_for_the_scope(drive: StandIn, cloud_run: dict[str, str]) -> None:
    assert names(drive, cloud_run) == f"['of {RUNNER}']"


def test_impersonation(drive: StandIn, cloud_run: dict[str, str]) -> None:
    assert names(drive, cloud_run, READER).startswith("SetupError")
    drive.world.identity.impersonators = {READER: {RUNNER}}
    assert names(drive, cloud_run, READER) == f"['of {READER}']"


def test_delegation_through_impersonation(drive: StandIn, cloud_run: dict[str, str]) -> None:
    identity = drive.world.identity
    identity.impersonators = {READER: {RUNNER}}
    assert names(drive, cloud_run, READER, OWNER).startswith("SetupError")
    identity.delegations = {READER: {READONLY}}
    assert names(drive, cloud_run, READER, OWNER) == f"['of {OWNER}']"
    identity.suspended = {OWNER}
    assert names(drive, cloud_run, READER, OWNER).startswith("PermanentError forbidden")


def test_delegation_of_the_instances_own_account(drive: StandIn, cloud_run: dict[str, str]) -> None:
    drive.world.identity.impersonators = {RUNNER: {RUNNER}}
    drive.world.identity.delegations = {RUNNER: {READONLY}}
    assert names(drive, cloud_run, "", OWNER) == f"['of {OWNER}']"


@pytest.mark.parametrize("subject", ["", OWNER])
def test_a_key_file(
    drive: StandIn, cloud_run: dict[str, str], tmp_path: Path, subject: str
) -> None:
    key = tmp_path / "key.json"
    key.write_text(json.dumps(key_file(READER, f"{drive.server.url}/token")))
    drive.world.identity.delegations = {READER: {READONLY}}
    environment = cloud_run | {"GOOGLE_APPLICATION_CREDENTIALS": str(key)}
    assert names(drive, environment, "", subject) == f"['of {subject or READER}']"


def test_no_credentials_at_all(drive: StandIn, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "NO_GCE_CHECK": "true", "CLOUDSDK_CONFIG": str(tmp_path)}
    assert names(drive, environment).startswith("ConfigurationError")
