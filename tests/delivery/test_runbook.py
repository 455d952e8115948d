"""What docs/operations.md names exists; test_documented_commands.py runs its commands."""

from __future__ import annotations

import re

from tests.paths import ROOT

TEXT = (ROOT / "docs" / "operations.md").read_text()


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
