"""``make audit``: an answer that is no answer must not pass as a clean one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.paths import ROOT

FOUND = "Found 1 known vulnerability in 1 package"
UNKNOWN = "ERROR:pip_audit._cli:click: Dependency not found on PyPI and could not be audited"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in which the tool is installed; what it prints and returns is a file's."""
    (tmp_path / "infra" / "requirements").mkdir(parents=True)
    script = tmp_path / "infra" / "audit.sh"
    script.write_bytes((ROOT / "infra" / "audit.sh").read_bytes())
    script.chmod(0o755)
    lock = tmp_path / "infra" / "requirements" / "audit.txt"
    lock.write_text("pip-audit==1\n")
    programs = tmp_path / ".tools" / "audit" / "bin"
    programs.mkdir(parents=True)
    (programs.parent / "installed.txt").write_text(lock.read_text())
    return tmp_path


def audit(checkout: Path, text: str, status: int, **env: str) -> subprocess.CompletedProcess[str]:
    tool = checkout / ".tools" / "audit" / "bin" / "pip-audit"
    tool.write_text(f"#!/bin/sh\necho '{text}'\nexit {status}\n")
    tool.chmod(0o755)
    return subprocess.run(
        [checkout / "infra" / "audit.sh"],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_found(checkout: Path) -> None:
    assert audit(checkout, "No known vulnerabilities found", 0).returncode == 0


def test_a_vulnerability_fails(checkout: Path) -> None:
    done = audit(checkout, FOUND, 1)
    assert done.returncode == 1
    assert FOUND in done.stderr
    assert "constraints.txt" in done.stderr


def test_an_unreachable_service_is_reported_and_fails_only_if_required(checkout: Path) -> None:
    done = audit(checkout, UNKNOWN, 1)
    assert done.returncode == 0
    assert "nothing was audited" in done.stderr
    assert audit(checkout, UNKNOWN, 1, AUDIT="required").returncode == 1


def test_a_package_that_the_service_does_not_know_is_not_skipped() -> None:
    assert "--strict" in (ROOT / "infra" / "audit.sh").read_text()
