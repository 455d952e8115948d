"""A laptop that deploys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.delivery.rig import Deployed, Rig, Snapshot, serving
from tests.emulators import fake_gcs_server


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[type[Deployed], str]]:
    """The handler of what is deployed, and its address."""
    handler = type("ThisDeployed", (Deployed,), {})
    with serving(handler) as address:
        yield handler, address


@pytest.fixture
def service(served: tuple[type[Deployed], str]) -> Iterator[type[Deployed]]:
    """What is deployed, which a test may break; it works again afterwards."""
    handler, _ = served
    yield handler
    for name in vars(handler).keys() & Deployed.__annotations__.keys():
        delattr(handler, name)


@pytest.fixture
def rig(
    tmp_path: Path, served: tuple[type[Deployed], str], service: type[Deployed]
) -> Iterator[Rig]:
    """A laptop with a project in which nothing was ever deployed."""
    # A storage of its own: bucket names follow from the project's, which all tests share.
    with fake_gcs_server(tmp_path / "gcs.log") as port:
        yield Rig(tmp_path, f"http://127.0.0.1:{port}", served[1])


@pytest.fixture(scope="session")
def after_deploy(
    tmp_path_factory: pytest.TempPathFactory, served: tuple[type[Deployed], str]
) -> Iterator[Snapshot]:
    """A laptop and its state in the bucket, as one `make deploy` left them."""
    folder = tmp_path_factory.mktemp("deployed")
    with fake_gcs_server(folder / "gcs.log") as port:
        (folder / "laptop").mkdir()
        rig = Rig(folder / "laptop", f"http://127.0.0.1:{port}", served[1])
        done = rig.run("deploy")
        assert done.returncode == 0, done.stdout + done.stderr
        yield Snapshot(rig, folder / "kept")


@pytest.fixture
def deployed(after_deploy: Snapshot, service: type[Deployed]) -> Rig:
    """A laptop after its first deployment, with the calls that this made."""
    return after_deploy.restore()
