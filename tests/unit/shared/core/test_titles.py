from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from shared.core import titles

any_text = st.text(max_size=400) | st.text(
    alphabet="aZé/.\\\x00\n\u0301\u200d-_%🎉会0:", max_size=400
)
times = st.datetimes(timezones=st.just(UTC))


@given(times, st.text("abé会", min_size=1, max_size=20))
def test_both_styles_of_meet_are_read_as_written(when: datetime, title: str) -> None:
    when = when.replace(year=2000 + when.year % 100, second=0, microsecond=0, tzinfo=None, day=1)
    new = f"{title} - {when:%Y/%m/%d %H:%M} CEST - Recording"
    old = f"{title} ({when:%Y-%m-%d} at {when:%H:%M} GMT-5)"

    assert titles.read_title(new) == titles.Title(title, when)
    assert titles.read_title(old) == titles.Title(title, when)


@given(any_text)
def test_any_name_has_a_title_and_never_an_error(name: str) -> None:
    title = titles.read_title(name)

    assert title.time is None or title.time.tzinfo is None


def test_only_a_media_file_s_ending_is_taken_off() -> None:
    assert titles.strip_extension("a.MP4") == "a"
    assert titles.strip_extension("a.mp4.MKV") == "a.mp4"
    assert titles.strip_extension("Release v2.0") == "Release v2.0"
    assert titles.strip_extension("Dr. Who") == "Dr. Who"
