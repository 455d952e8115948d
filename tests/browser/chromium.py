"""Runs the scenarios of a module in headless Chromium."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.emulators import missing
from tests.paths import ROOT

HERE = Path(__file__).parent
TOOLS = ROOT / ".tools" / "browser"


def scenarios(module: str) -> list[str]:
    """Return the exports of a module, so that each is a test of its own without a browser yet."""
    pattern = r"^export (?:async function|const) (\w+)"
    return re.findall(pattern, (HERE / module).read_text(), re.MULTILINE)


def find_chromium() -> str:
    """Return the browser's program."""
    for name in ("chromium", "google-chrome", "chromium-browser"):
        if found := shutil.which(name):
            return found
    return missing("chromium")


def check_tools() -> None:
    """Skip the test where the browser, or what drives it, is missing."""
    find_chromium()
    _ = shutil.which("node") or missing("node")
    for package in ("playwright-core", "axe-core"):
        if not (TOOLS / "node_modules" / package).is_dir():
            missing(package)


@contextmanager
def browser(module: str, url: str, control: str) -> Iterator[Callable[[str], None]]:
    """Start a browser on the dashboard at ``url``; yields a function that runs a scenario.

    ``control`` is the address at which a scenario changes what is behind the dashboard.
    """
    check_tools()
    process = subprocess.Popen(
        [str(shutil.which("node")), str(HERE / "driver.mjs"), module, url, control],
        env={**os.environ, "CHROMIUM": find_chromium()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def read() -> Any:
        assert process.stdout is not None
        return json.loads(process.stdout.readline())

    def run(name: str) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(name) + "\n")
        process.stdin.flush()
        result = read()
        if not result["ok"]:
            pytest.fail(result["error"])

    try:
        assert sorted(read()) == sorted(scenarios(module))
        yield run
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
