"""Titles: the words and the time in a recording's name, as Meet and other recorders write them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime
from datetime import time as time_of_day

_EXTENSIONS = """
3g2 3gp aac ac3 aif aifc aiff amr ape asf au avi caf f4v flac flv m2ts m4a m4b m4v mka mkv mov mp2
mp3 mp4 mpeg mpg mts mxf oga ogg ogv opus rf64 ts vob w64 wav weba webm wma wmv wv
"""

#: Extensions of recordings, in lower case; a title ends before them.
MEDIA_EXTENSIONS = frozenset(_EXTENSIONS.split())

# Titles as Google Meet writes them: 'Sync (2025-01-29 at 10:00 GMT-5)' until 2024, then
# 'Sync - 2025/04/07 16:52 CST - Recording', with dashes and words of the account's language
# ('Sync – 2024/09/26 16:26 BST – Recording', '2026/04/28 16:54 JST に開始した会議'). Where a
# file system or a download tool refuses '/' and ':', something else stands for them.
_SLASH = r"[-/_.∕⁄／]"
_COLON = r"[:_.\-꞉∶：h ]"
_DASHES = r"\-‐‑‒–—―−~～〜"
_MOMENT = re.compile(
    rf"""
    (?<!\d)(?P<year>\d{{4}})(?P<slash>{_SLASH})(?P<month>\d{{1,2}})(?P=slash)(?P<day>\d{{1,2}})
    (?:T|,?[\s_]+(?:[^\W\d_]{{1,4}}[\s_]+){{0,2}})    # 'at', 'à', 'a las'
    (?P<hour>\d{{1,2}}){_COLON}(?P<minute>\d{{2}})(?:{_COLON}\d{{2}}(?:[.,]\d+)?)?(?!\d)
    (?:[\s_]?(?P<half>[AaPp])\.?\s?[Mm]\b\.?)?
    (?P<zone>
        [\s_]*\(?(?:GMT|UTC|MSK|SAMT|WIB|WITA|[A-Z]{{1,4}}T)(?:[-+−–]\d{{1,2}}(?:{_COLON}?\d{{2}})?)?
        |[\s_]*[-+−]\d{{2}}:?\d{{2}}
        |Z
    )?(?![A-Za-z\d])
    """,
    re.VERBOSE,
)
# Zoom's cloud recordings: 'GMT20251001-143000_Recording_gallery_1920x1080'. Source of the time
# stamp: "Naming convention for Zoom Contact Center files" (support.zoom.com, KB0079123); 'as',
# 'avo', 'gallery' and 'gvo' are the views that it saves.
_DIGITS = r"(?P<year>(?:19|20)\d\d)(?P<month>[01]\d)(?P<day>[0-3]\d)"
_CLOCK = r"(?P<hour>[0-2]\d)(?P<minute>[0-5]\d)(?:[0-5]\d)?"
_ZOOM = re.compile(
    rf"GMT{_DIGITS}-{_CLOCK}(?:_(?P<title>.*?))?(?:_(?:as|avo|gallery|gvo))*(?:_\d+x\d+)?"
    r"(?P<copy>[\s_]*\(\d+\))?",
    re.DOTALL,
)
# Teams: 'Weekly sync-20251001_143000-Meeting Recording', also with 'UTC' after the time; phones:
# '20251001_143000'.
_COMPACT = re.compile(rf"(?<!\d){_DIGITS}[_\-T ]{_CLOCK}(?P<zone>UTC|GMT|Z)?(?![\dA-Za-z])")
# A date without a time, first or last in a name and set off from its words.
_DATE = re.compile(
    rf"""
    (?<![^\W_])(?:(?P<y>\d{{4}})(?P<slash>{_SLASH})(?P<m>\d{{1,2}})(?P=slash)(?P<d>\d{{1,2}})
    |{_DIGITS})(?![^\W_])
    """,
    re.VERBOSE,
)
_EXTENSION = re.compile(r"\.([A-Za-z0-9]{1,5})\s*\Z")
_DIRECTION_MARKS = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
_OPENED = re.compile(r"[(\[（]\s*\Z")
_CLOSED = re.compile(r"\s*[)\]）]")
_SET_OFF_BEFORE = re.compile(rf"[{_DASHES}][\s_]*\Z")
_SET_OFF_AFTER = re.compile(rf"[\s_]*[{_DASHES}]")
_COPY_MARK = re.compile(r"[\s_)]*(?:\(\d+\))?[\s_]*\Z")
_LAST_WORDS = re.compile(rf"[\s_]*[{_DASHES}][^{_DASHES}]*\Z")


MIDNIGHT = time_of_day()


@dataclass(frozen=True)
class Title:
    """A recording's title, and its local time as written, if any.

    ``date`` is set for a name that has a date and no time.
    """

    text: str
    time: datetime | None
    date: date | None = None


def read_title(name: str) -> Title:
    """Read a recording's name: both styles of Google Meet, Zoom, Teams and other recorders.

    The time is naive: the local time as written, whatever the zone. An impossible date or
    time is part of the title.
    """
    text = _DIRECTION_MARKS.sub("", unicodedata.normalize("NFC", strip_extension(name)))
    if (match := _ZOOM.fullmatch(text)) and (time := _time(match)):
        return Title(_words(match["title"] or ""), time)
    matches = [*_COMPACT.finditer(text), *_MOMENT.finditer(text)]
    for match in reversed(matches):
        before, after = text[: match.start()], text[match.end() :]
        time = _time(match)
        if time and (match["zone"] or _stands_apart(before, after)):
            words = _words(before) or _words(_LAST_WORDS.sub("", after))
            return Title(words, time)
    for match in reversed(list(_DATE.finditer(text))):
        before, after = _words(text[: match.start()]), text[match.end() :]
        day = _day(match)
        if day and (not before or _COPY_MARK.match(after)):
            return Title(before or _words(after), None, day)
    return Title(text.strip(), None)


def local_time(name: str, created_at: datetime) -> datetime:
    """Return the naive time that names a recording: of its name, else ``created_at`` in UTC.

    A date alone gets the time of day of ``created_at`` if that is the same day, else 00:00.
    """
    title, created = read_title(name), created_at.astimezone(UTC).replace(tzinfo=None)
    if title.time or not title.date:
        return title.time or created
    return created if created.date() == title.date else datetime.combine(title.date, MIDNIGHT)


def _day(match: re.Match[str]) -> date | None:
    year, month, day = (
        match[a] or match[b] for a, b in (("y", "year"), ("m", "month"), ("d", "day"))
    )
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return found if 1970 <= found.year < 2100 else None


def _stands_apart(before: str, after: str) -> bool:
    # In 'what broke on 2024-01-01 00:00 and why' the time is not the meeting's.
    if not _words(before) or _COPY_MARK.match(after):
        return True
    if _OPENED.search(before):
        return bool(_CLOSED.match(after))
    return bool(_SET_OFF_BEFORE.search(before) and _SET_OFF_AFTER.match(after))


def _words(text: str) -> str:
    return re.sub(rf"\A[\s_{_DASHES})\]）]+|[\s_{_DASHES}(\[（]+\Z", "", text)


def _time(match: re.Match[str]) -> datetime | None:
    hour = int(match["hour"])
    if match.groupdict().get("half"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match["half"] in "Pp" else 0)
    year, month, day, minute = (int(match[n]) for n in ("year", "month", "day", "minute"))
    try:
        time = datetime(year, month, day, hour, minute)  # local, as written
    except ValueError:
        return None
    return time if 1970 <= year < 2100 else None


def strip_extension(name: str) -> str:
    """Return ``name`` without the ending of a media file; other dots are part of the name."""
    match = _EXTENSION.search(name)
    if match and match[1].lower() in MEDIA_EXTENSIONS:
        return name[: match.start()]
    return name
