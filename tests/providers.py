"""Terraform's providers. A missing one is the only reason to skip a test in CI."""

from __future__ import annotations

import subprocess

import pytest

_MISSING = ("Failed to query available provider packages", "Failed to install provider")


def check_initialised(done: subprocess.CompletedProcess[str], provider: str) -> None:
    """Skip, loudly, where ``terraform init`` finds no provider; any other failure is one."""
    if done.returncode and any(words in done.stderr for words in _MISSING):
        pytest.skip(f"NOT TESTED: terraform init finds no provider {provider} here")
    assert done.returncode == 0, done.stdout + done.stderr
