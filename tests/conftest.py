"""Fixtures that every layer of the tests may ask for, and how a run is set up."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.run_folder", "tests.emulators"]

#: Seconds of a file with a test that is marked as slow, if the mark names none.
_SLOW_S = 10

# A slow machine must not fail a test. In CI the examples are the same in every run;
# elsewhere each run tries new ones and prints how to repeat one that fails.
settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests first, the longest before the others.

    Otherwise one worker would end with a long file while the others have nothing left to do.
    """
    seconds: dict[Path, float] = {}
    for item in items:
        if mark := item.get_closest_marker("slow"):
            takes = mark.args[0] if mark.args else _SLOW_S
            seconds[item.path] = max(takes, seconds.get(item.path, 0))
    items.sort(key=lambda item: -seconds.get(item.path, 0))


def pytest_collection_finish() -> None:
    """Keep the garbage collector away from the objects of thousands of collected tests.

    They live until the end; looking at them again and again took a tenth of the tests' own time.
    Source: `gc.freeze` in Python's documentation.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """Have SIGINT raise KeyboardInterrupt; a shell ignores it for background processes."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
