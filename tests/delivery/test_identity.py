"""The deployer's rights: tests written in Terraform, on the provider's own schema."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.delivery.rig import run
from tests.emulators import find_tool
from tests.paths import ROOT
from tests.providers import check_initialised
from tests.terraform.checkout import LAZY_GC

IDENTITY = ROOT / "infra" / "terraform" / "identity"
ENVIRON = {**os.environ, **LAZY_GC}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which Terraform is initialised."""
    folder = tmp_path_factory.mktemp("identity") / "identity"
    shutil.copytree(IDENTITY, folder, ignore=shutil.ignore_patterns(".terraform*"))
    done = run([find_tool("terraform"), f"-chdir={folder}", "init", "-backend=false"], ENVIRON)
    check_initialised(done, "google")
    return folder


def test_it_is_formatted_and_valid(copied: Path) -> None:
    terraform = find_tool("terraform")

    assert run([terraform, "fmt", "-check", "-recursive", str(IDENTITY)], ENVIRON).stdout == ""
    done = run([terraform, f"-chdir={copied}", "validate"], ENVIRON)
    assert done.returncode == 0, done.stderr


def test_the_assertions_on_its_plans_pass(copied: Path) -> None:
    done = run([find_tool("terraform"), f"-chdir={copied}", "test", "-no-color"], ENVIRON)

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* passed, 0 failed", done.stdout)


def test_the_deployer_may_grant_exactly_the_roles_of_the_environment() -> None:
    """Needs no provider, so that a new grant on the project is always checked."""
    text = "".join(path.read_text() for path in IDENTITY.parent.glob("*.tf"))
    grants = re.findall(r'resource "google_project_iam_member" "\w+" \{(.*?)\n\}', text, re.DOTALL)
    granted = {role for grant in grants for role in re.findall(r'"(roles/[\w.]+)"', grant)}
    found = re.search(
        r"grantable_roles = \[(.*?)\]", (IDENTITY / "deployer.tf").read_text(), re.DOTALL
    )

    assert found
    assert set(re.findall(r'"(.+?)"', found[1])) == granted
