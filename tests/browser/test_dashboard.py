"""The dashboard in headless Chromium: the scenarios of ``scenarios.mjs``, one test each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.browser.chromium import browser, check_tools, scenarios
from tests.browser.site import Site, make_clip, running


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], None]]:
    """Run a scenario by its name, all in one browser and against one dashboard."""
    check_tools()
    folder = tmp_path_factory.mktemp("dashboard")
    clip, picture = make_clip(folder)
    site = Site(folder, clip, picture, 40.0)
    site.fill()
    with running(site) as (url, control), browser("scenarios.mjs", url, control) as scenario:
        yield scenario


@pytest.mark.parametrize("scenario", scenarios("scenarios.mjs"))
def test_in_chromium(run: Callable[[str], None], scenario: str) -> None:
    run(scenario)
