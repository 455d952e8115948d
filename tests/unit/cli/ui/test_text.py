from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.ui import text

NOW = datetime(2025, 4, 7, 12, 0, tzinfo=UTC)


@given(st.text())
def test_nothing_in_a_name_moves_the_cursor(name: str) -> None:
    shown = text.shown(name)

    assert "\n" not in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    shown.encode()


def test_scripts_and_emoji_are_shown_as_they_are() -> None:
    assert text.shown("Встреча 👩\u200d💻 «план».mp4") == "Встреча 👩\u200d💻 «план».mp4"


def test_bytes_of_no_encoding_are_written_out() -> None:
    assert text.shown(b"\xff.mp4".decode(errors="surrogateescape")) == "\\xff.mp4"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3599.6, "1 h 0 min"),
        (3725, "1 h 2 min"),
    ],
)
def test_lengths(seconds: float, said: str) -> None:
    assert text.duration(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (57_608_192, "57.6 MB"),
     (2_500_000_000_000, "2.5 TB")],
)  # fmt: skip
def test_sizes(count: int, said: str) -> None:
    assert text.size(count) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3, "just now"), (59, "59 s ago"), (60, "1 min ago"), (7200, "2 h ago"),
     (86400, "1 day ago"), (300_000, "3 days ago")],
)  # fmt: skip
def test_times(seconds: int, said: str) -> None:
    assert text.ago(NOW - timedelta(seconds=seconds), NOW) == said


def test_a_time_that_never_was() -> None:
    assert text.ago(None, NOW) == ""


def test_a_local_object_is_a_path_that_one_can_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert text.place((tmp_path / "audio/é 1.mp3").as_uri()) == "audio/é 1.mp3"
    assert text.place(Path("/elsewhere/a.mp3").as_uri()) == "/elsewhere/a.mp3"
    assert text.place("gs://bucket/dev/a%20b.mp3") == "gs://bucket/dev/a%20b.mp3"
