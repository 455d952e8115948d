"""What is refused before anything is done: one sentence with the next step, and status 2."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.delivery.rig import Rig


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"PROJECT": ""}, "PROJECT=my-project"),
        ({"PROJECT": "My Project"}, "gcloud projects list"),
        ({"ENV": "production"}, "ENV=dev, ENV=staging or ENV=prod"),
        ({"REGION": "europe-west1-b"}, "REGION=europe-west1"),
    ],
)
@pytest.mark.parametrize("script", ["deploy", "destroy"])
def test_wrong_settings(rig: Rig, script: str, environment: dict[str, str], sentence: str) -> None:
    done = rig.run(script, **environment)

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert sentence in done.stderr
    assert rig.calls() == []
    assert not (rig.folder / "work").exists()


@pytest.mark.parametrize("tool", ["gcloud", "terraform", "curl"])
def test_a_missing_tool(rig: Rig, tmp_path: Path, tool: str) -> None:
    path = tmp_path / "few"
    path.mkdir()
    known = ["sh", "dirname", "grep", "sed", "mkdir", "cat", "gcloud", "terraform", "curl"]
    for name in set(known) - {tool}:
        found = shutil.which(name, path=rig.environment["PATH"])
        assert found
        (path / name).symlink_to(found)

    done = rig.run("deploy", PATH=str(path))

    assert done.returncode == 2
    assert f"no {tool} here; install it: https://" in done.stderr
    assert rig.calls() == []


@pytest.mark.parametrize(
    ("script", "target"), [("deploy", "deploy"), ("destroy", "destroy"), ("plan_only", "plan")]
)
def test_the_message_names_the_target_that_was_run(rig: Rig, script: str, target: str) -> None:
    assert f"make {target} PROJECT=my-project" in rig.run(script, PROJECT="").stderr


@pytest.mark.parametrize("component", ["beta", "local-extract"])
def test_a_missing_component(rig: Rig, component: str) -> None:
    rest = {"beta", "local-extract"} - {component}
    rig.change(components=[f"{one} 1.0" for one in rest])

    done = rig.run("deploy")

    assert done.returncode == 2
    assert f"gcloud components install {component} " in done.stderr
    assert not [call for call in rig.calls() if "enable" in call or "create" in call]


def test_without_the_scan_its_component_is_not_needed(rig: Rig) -> None:
    rig.change(components=["beta 1.0"])

    assert rig.run("deploy", SCAN="off").returncode == 0


def test_a_region_where_new_projects_cannot_build_is_noted(rig: Rig) -> None:
    assert "cannot build in europe-west4" in rig.run("check", REGION="europe-west4").stderr
    assert "cannot build" not in rig.run("check").stderr


def test_nobody_is_logged_in(rig: Rig) -> None:
    rig.change(account="")

    done = rig.run("deploy")

    assert done.returncode == 2
    assert done.stderr == "deploy: gcloud is not logged in; run: gcloud auth login\n"
    assert not [call for call in rig.calls() if "enable" in call or "create" in call]


def test_a_login_that_has_expired(rig: Rig) -> None:
    rig.change(broken=["auth print-access-token"])

    done = rig.run("deploy")

    assert done.returncode == 2
    assert "run: gcloud auth login" in done.stderr


def test_a_project_without_billing(rig: Rig) -> None:
    rig.change(billing="False")

    done = rig.run("deploy")

    assert done.returncode == 2
    assert "linkedaccount?project=" in done.stderr
    assert not [call for call in rig.calls() if "terraform" in call and "init" in call]
