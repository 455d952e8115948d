from __future__ import annotations

import threading

import pytest
from rich.console import Console

from cli.serve import story as module
from cli.serve.story import SOURCES, Story
from cli.ui.console import Screen
from shared.adapters.memory import MemoryDocuments
from shared.core.message import Source
from shared.tracking.tracker import Tracker


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    """A story on a terminal of 80 columns that is never read."""
    screen = Screen()
    screen.__dict__["out"] = Console(force_terminal=True, width=80, quiet=True)
    monkeypatch.setattr(module, "screen", screen)
    return Story(Tracker(MemoryDocuments()), look_every_s=0.01, is_live=True)


def test_the_display_waits_for_no_step(story: Story) -> None:
    story.appeared("id", "Weekly sync")
    drawing = threading.Thread(target=story._render, daemon=True)
    with story._lock:  # as in a step that prints, which waits for the display
        drawing.start()
        drawing.join(10)
        assert not drawing.is_alive()


def test_steps_of_many_threads_do_not_block_the_display(story: Story) -> None:
    def add(name: str) -> None:
        for number in range(200):
            with story._lock:
                story.appeared(f"{name}{number}", "Weekly sync")
                story.say("published")

    threads = [threading.Thread(target=add, args=(name,), daemon=True) for name in "abcd"]
    with story.showing():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)


def test_every_source_has_a_name() -> None:
    assert SOURCES.keys() == set(Source)
