"""A policy scan of the configuration; each exception is explained beside what it is for."""

from __future__ import annotations

import json
import re
import subprocess

from tests.emulators import find_tool
from tests.paths import TERRAFORM


def test_no_policy_is_broken() -> None:
    done = subprocess.run(
        [
            find_tool("checkov"),
            *("--directory", str(TERRAFORM)),
            *("--framework", "terraform"),
            *("--output", "json"),
            "--compact",
            "--skip-download",
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    report = json.loads(done.stdout)
    failed = [
        f"{check['check_id']} {check['resource']}: {check['check_name']}"
        for check in report["results"]["failed_checks"]
    ]
    assert failed == []
    assert report["summary"]["passed"] > 50


def test_every_exception_has_a_reason() -> None:
    for path in TERRAFORM.rglob("*.tf"):
        for reason in re.findall(r"checkov:skip=\w+(.*)", path.read_text()):
            assert len(reason.removeprefix(":").split()) >= 4, path.name
