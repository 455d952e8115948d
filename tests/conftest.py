"""Fixtures that every layer of the tests may ask for, and how a run is set up."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

pytest_plugins = ["tests.run_folder", "tests.emulators"]

# A busy machine is slow, which is no failure. In CI the examples are the same in every run;
# elsewhere each run tries new ones and prints how to repeat one that fails.
settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests first, so that no worker ends with one alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """Have SIGINT raise KeyboardInterrupt; a shell ignores it for background processes."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
