"""The dashboard in headless Chromium: the scenarios of ``scenarios.mjs``, one test each."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.site import Site, make_clip, running
from tests.emulators import missing
from tests.paths import ROOT

HERE = Path(__file__).parent
TOOLS = ROOT / ".tools" / "browser"

#: The exports of the module, so that each is a test of its own without a browser yet.
SCENARIOS = re.findall(
    r"^export (?:async function|const) (\w+)", (HERE / "scenarios.mjs").read_text(), re.MULTILINE
)


def find_chromium() -> str:
    """Return the browser's program."""
    for name in ("chromium", "google-chrome", "chromium-browser"):
        if found := shutil.which(name):
            return found
    return missing("chromium")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Run a scenario by its name, all in one browser and against one dashboard."""
    chromium = find_chromium()
    node = shutil.which("node") or missing("node")
    for package in ("playwright-core", "axe-core"):
        if not (TOOLS / "node_modules" / package).is_dir():
            missing(package)
    folder = tmp_path_factory.mktemp("dashboard")
    clip, picture = make_clip(folder)
    site = Site(folder, clip, picture, 40.0)
    site.fill()
    with running(site) as addresses:
        process = subprocess.Popen(
            [node, str(HERE / "driver.mjs"), *addresses],
            env={**os.environ, "CHROMIUM": chromium, "BROWSER_TOOLS": str(TOOLS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            known = json.loads(process.stdout.readline())
            assert sorted(known) == sorted(SCENARIOS)

            def ask(name: str) -> Any:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(json.dumps(name) + "\n")
                process.stdin.flush()
                return json.loads(process.stdout.readline())

            yield ask
        finally:
            process.stdin.close()
            process.wait(30)
            process.stdout.close()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_in_chromium(run: Callable[[str], Any], scenario: str) -> None:
    result = run(scenario)
    assert result["ok"], result.get("error")
