"""The commands in docs/operations.md are ones that gcloud and our scripts accept."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from tests.emulators import missing
from tests.paths import ROOT

TEXT = (ROOT / "docs" / "operations.md").read_text()


def gcloud_commands() -> list[str]:
    """Return the commands of gcloud in code blocks and in code spans with a verb and flags."""
    lines = re.findall(r"^ {4,}.*$", TEXT, re.MULTILINE)
    found = [match[0] for line in lines if (match := re.search(r"gcloud [a-z].*$", line))]
    # Up to the end of a command substitution, and with values in place of the shell's.
    cleaned = [re.sub(r"\); do$", "", command) for command in found]
    cleaned = [re.sub(r"\$\(date \+%s\)", "1", command) for command in cleaned]
    return [re.sub(r"\$(one|index)", "some-name", command) for command in cleaned]


def test_there_are_commands_to_check() -> None:
    assert len(gcloud_commands()) > 15


@pytest.mark.slow
def test_gcloud_accepts_every_command() -> None:
    """By gcloud's own parser, which knows its commands and flags without asking Google."""
    gcloud = shutil.which("gcloud") or missing("gcloud")
    refused = []
    for command in gcloud_commands():
        done = subprocess.run(
            [gcloud, "meta", "lint-gcloud-commands", f"--command-string={command}"],
            capture_output=True,
            text=True,
            check=True,
        )
        (verdict,) = json.loads(done.stdout)
        if not verdict["success"]:
            refused.append(f"{command}: {verdict['error_message']}")
    assert refused == []


def test_the_scripts_and_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z]+)", TEXT)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for script in set(re.findall(r"infra/deploy/\w+\.sh", TEXT)):
        assert (ROOT / script).exists(), script


def test_every_link_within_the_page_has_its_heading() -> None:
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings
    }

    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= anchors
