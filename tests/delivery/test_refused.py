"""What is refused before anything is done: one sentence, the next step in it, and status 2."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.delivery.rig import Rig


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"PROJECT": ""}, "make deploy PROJECT=my-project"),
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


def test_nobody_is_logged_in(rig: Rig) -> None:
    rig.change(account="")

    done = rig.run("deploy")

    assert done.returncode == 2
    assert done.stderr == "deploy: gcloud is not logged in; run: gcloud auth login\n"
    assert not [call for call in rig.calls() if "enable" in call or "create" in call]


def test_a_login_that_has_run_out(rig: Rig) -> None:
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
