"""The dashboard in headless Chromium: the scenarios of ``scenarios.mjs``, one test each."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import HERE, browser, check_tools, find_chromium, scenarios
from tests.browser.site import Site, make_clip, running


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The addresses of one dashboard with recordings, and of its control."""
    check_tools()
    folder = tmp_path_factory.mktemp("dashboard")
    clip, picture = make_clip(folder)
    site = Site(folder, clip, picture, 40.0)
    site.fill()
    with running(site) as found:
        yield found


@pytest.fixture(scope="module")
def run(addresses: tuple[str, str]) -> Iterator[Callable[[str], None]]:
    """Run a scenario by its name, all in one browser."""
    with browser("scenarios.mjs", *addresses) as scenario:
        yield scenario


@pytest.mark.parametrize("scenario", scenarios("scenarios.mjs"))
def test_in_chromium(run: Callable[[str], None], scenario: str) -> None:
    run(scenario)


def test_pictures(addresses: tuple[str, str], tmp_path: Path) -> None:
    subprocess.run(
        ["node", str(HERE / "screenshots.mjs"), addresses[0], str(tmp_path)],
        env={
            **os.environ,
            "CHROMIUM": find_chromium(),
            "ONLY": "health",
        },
        check=True,
        timeout=120,
    )
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["health-dark.png", "health-light.png", "health-phone.png"]
