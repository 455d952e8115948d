"""`make deploy` of the whole configuration, in an empty project that refuses what Google refuses.

The project is new, in an organisation: with a new project's quotas, and domain restricted sharing.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.delivery.rig import PROJECT, TOKEN, Rig, digest, run, serving
from tests.emulators import find_tool
from tests.providers import check_initialised
from tests.terraform.checkout import check_out
from tests.terraform.control_plane import World, reach, serve
from tests.terraform.rig import point_at_the_fake

pytestmark = pytest.mark.slow(100)

#: The bucket that Cloud Functions makes for itself, and keeps.
MADE_BY_GOOGLE = "gcf-v2-sources-"


@dataclass
class Whole:
    """A laptop with the whole checkout, and the project that it deploys to."""

    laptop: Rig
    world: World

    def deployed_services(self) -> set[str]:
        """Return the names of what runs."""
        return {name.rpartition("/")[2] for name in self.world.resources if "/services/" in name}


def listener(world: World) -> type[BaseHTTPRequestHandler]:
    """Return a handler that applies to ``world`` what the stand-in for gcloud was asked."""

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with world.lock:
                _do(world, call)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    return Listener


def _do(world: World, call: dict[str, Any]) -> None:
    project = world.project(PROJECT)
    if call["command"] == "services enable":
        for service in call["values"]:
            world.enable(project, service)
    elif call["command"] == "beta services identity create":
        world.create_identity(PROJECT, call["flags"]["--service"])
    elif call["command"] == "beta builds submit":
        build = len(call["images"])
        for name in ("extract-audio", "web"):
            world.push_image(digest(build, name))


@pytest.fixture
def whole(rig: Rig) -> Iterator[Whole]:
    """A laptop with the real configuration, and an empty project: not one API is enabled."""
    for name in ("infra", "functions", "shared"):
        shutil.rmtree(rig.checkout / name)
    check_out(rig.checkout)
    rig.more["HOME"] = str(Path.home())  # for a mirror of the providers
    # Most of what the provider does is to wait.
    rig.more |= dict.fromkeys(
        ("TF_CLI_ARGS_plan", "TF_CLI_ARGS_apply"), "-parallelism=60 -no-color"
    )
    world = World()
    world.add_project(PROJECT).enabled.clear()
    with serve(world) as server, serving(listener(world)) as address:
        point_at_the_fake(rig.terraform_dir, server.url, backend="gcs")
        check_initialised(_initialised(rig), "google")
        rig.change(listener=address)
        yield Whole(rig, world)


def _initialised(rig: Rig) -> Any:
    directory: Path = rig.folder / "looked"
    return run(
        [find_tool("terraform"), f"-chdir={rig.terraform_dir}", "init", "-backend=false"],
        {**rig.environment, **TOKEN, "TF_DATA_DIR": str(directory)},
    )


def test_from_an_empty_project_to_nothing_again(whole: Whole) -> None:
    """One API and one grant take effect late, as in a project that was just created."""
    laptop, world = whole.laptop, whole.world
    world.slow_apis["firestore.googleapis.com"] = 1
    world.slow_grants["roles/artifactregistry.writer"] = 5
    laptop.more |= {"GRANT_SECONDS": "6", "RETRY_SECONDS": "0"}

    done = laptop.run("deploy")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert {"notify", "maintain", "nightly", "compress", "extract-audio"} <= (
        whole.deployed_services()
    )
    assert digest(1) in json.dumps(world.resources)
    assert re.search(r"webhook", done.stdout)
    assert "Attempt 2 of 3" in done.stdout
    assert reach.public_services(world) == ["notify"]
    assert reach.failing_pushes(world, PROJECT) == []
    assert world.gaps == []

    laptop.forget_calls()
    again = laptop.run("deploy")
    assert again.returncode == 0, again.stderr[-3000:]
    assert "Nothing to change." in again.stdout
    assert not [call for call in laptop.calls() if re.search(r"terraform \S+ apply", call)]

    gone = laptop.run("destroy", typed=f"{PROJECT}\n")
    assert gone.returncode == 0, gone.stdout[-3000:] + gone.stderr[-3000:]
    assert [name for name in world.left() if MADE_BY_GOOGLE not in name] == []
