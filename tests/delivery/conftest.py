"""A laptop that deploys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.delivery.rig import Deployed, Rig, serving
from tests.emulators import fake_gcs_server


@pytest.fixture
def service() -> type[Deployed]:
    """What is deployed, to be broken by a test alone."""
    return type("ThisDeployed", (Deployed,), {})


@pytest.fixture
def rig(tmp_path: Path, service: type[Deployed]) -> Iterator[Rig]:
    """A laptop with a project in which nothing was ever deployed."""
    # A storage of its own: bucket names follow from the project's, which all tests share.
    with fake_gcs_server(tmp_path / "gcs.log") as port, serving(service) as address:
        yield Rig(tmp_path, f"http://127.0.0.1:{port}", address)
