"""Names: reading a recording's title, and naming its objects in the bucket."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from itertools import islice

#: What a recording is called whose title leaves nothing to call it by.
FALLBACK = "recording"

MAX_SLUG_CHARS = 80
MAX_SLUG_BYTES = 180

#: Cloud Storage's limit for an object's name is 1,024 bytes of UTF-8.
MAX_NAME_BYTES = 1023

#: File systems allow 255 bytes for each part of a path; 20 are left for the prefix of a
#: hidden file beside an object.
MAX_PART_BYTES = 235

_EXTENSIONS = """
3g2 3gp aac ac3 aif aifc aiff amr ape asf au avi caf f4v flac flv m2ts m4a m4b m4v mka mkv mov mp2
mp3 mp4 mpeg mpg mts mxf oga ogg ogv opus rf64 ts vob w64 wav weba webm wma wmv wv
"""

#: Last words of a title that describe the file and not the recording, in lower case.
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

# Control characters, which a server may send in a name; the backslash, which separates
# directories on some systems; wildcards and '#', with which gcloud cannot name an object
# (Cloud Storage, "Object name considerations"); line separators, marks of byte order and of
# writing direction, which hide what a name is; U+FFFE, which XML does not have.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\\\\*?\\[\\]#\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff"
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_ESCAPED_BYTE = re.compile(rb"%([0-9A-Fa-f]{2})")
_LONE_BYTE = re.compile("[\udc80-\udcff]")


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


def slug(text: str) -> str:
    """Return ``text`` as a part of an object's name: lower case, NFC, no more than fits.

    Letters, digits and combining marks of any script stay, everything else becomes ``-``.
    At most 80 characters and 180 bytes, cut where no mark loses its letter; never empty.
    """
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    folded = "".join(islice(_fold(text), MAX_SLUG_CHARS + 1))
    return _cut(folded, MAX_SLUG_BYTES, MAX_SLUG_CHARS).rstrip("-") or FALLBACK


def _fold(text: str) -> Iterator[str]:
    last = "-"
    for char in text:
        kind = unicodedata.category(char)
        # A mark is kept or dropped together with its letter.
        if kind[0] == "L" or kind == "Nd" or (_is_mark(char) and last != "-"):
            last = char
            yield char
        elif last != "-":
            last = "-"
            yield "-"


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


def _cut(text: str, max_bytes: int, max_chars: int | None = None) -> str:
    end = len(text[:max_chars].encode()[:max_bytes].decode(errors="ignore"))
    start = end
    while 0 < start < len(text) and _is_mark(text[start]):
        start -= 1
    return text[: start or end]  # a letter with marks beyond all limits is cut inside


def short_hash(text: str) -> str:
    """Return 8 hexadecimal digits that distinguish two objects of one name."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def audio_object(
    env: str, name: str, created_at: datetime, extension: str, key: str | None = None
) -> str:
    """Return the name of a recording's audio, ``{env}/2025/01/sync_2025-01-29_10-00_audio.mp3``.

    ``extension`` has no dot. ``key`` is given where another recording has that name
    already, and adds 8 characters of the key's hash.
    """
    title = read_title(name)
    time = local_time(name, created_at)
    moment = time.isoformat("_", "minutes").replace(":", "-")
    suffix = f"_{short_hash(key)}" if key else ""
    folder = f"{env}/{time.year:04}/{time.month:02}"
    return f"{folder}/{slug(title.text)}_{moment}{suffix}_audio.{extension}"


def chunk_object(audio: str, index: int, extension: str) -> str:
    """Return the name of one chunk of the audio object ``audio``, counted from 0."""
    return f"{_without_ending(audio)}.chunks/{index:03}.{extension}"


def chunks_index_object(audio: str) -> str:
    """Return the name of the list of the chunks of the audio object ``audio``."""
    return f"{_without_ending(audio)}.chunks/chunks.json"


def waveform_object(audio: str) -> str:
    """Return the name of the picture of the audio object ``audio``.

    Kept apart from the audio, so that people who browse a month see recordings only.
    """
    env, _, rest = audio.partition("/")
    return f"{env}/metadata/waveforms/{_without_ending(rest)}.png"


def _without_ending(name: str) -> str:
    return name.rpartition(".")[0]


def log_object(env: str, key: str, when: datetime) -> str:
    """Return the name of the processing log of ``key``, filed under the UTC day of ``when``."""
    day = when.astimezone(UTC).date().isoformat().replace("-", "/")
    return f"{env}/metadata/processing-logs/{day}/{key}.json"


def compressed_object(
    env: str, output_dir: str, source_path: str, extension: str, source_id: str | None = None
) -> str:
    """Return the name of a compressed file, in the source's directories under ``output_dir``.

    ``source_path`` is relative, with its odd bytes escaped (``encode_path``); ``extension``
    has no dot. ``source_id`` is given where another source has that name already, and adds
    8 characters of its hash. Directories too deep for an object's name become one, named
    by their hash.
    """
    *folders, last = _safe_parts(source_path) or [FALLBACK]
    tail = f"_{short_hash(source_id)}" if source_id else ""
    tail += f"_compressed.{extension}"
    stem = strip_extension(last) or FALLBACK
    file = _cut(stem, MAX_PART_BYTES - len(tail.encode())) + tail
    prefix = [env, *_safe_parts(output_dir)]
    fitting = [
        part
        if len(part.encode()) <= MAX_PART_BYTES
        else f"{_cut(part, MAX_PART_BYTES - 9)}_{short_hash(part)}"
        for part in folders
    ]
    name = "/".join([*prefix, *fitting, file])
    if len(name.encode()) > MAX_NAME_BYTES:
        name = "/".join([*prefix, short_hash("/".join(folders)), file])
    return name


def _safe_parts(path: str) -> list[str]:
    path = unicodedata.normalize("NFC", _UNSAFE.sub("_", path))
    return [part for part in path.split("/") if part not in ("", ".", "..")]


def manifest_object(env: str, output_dir: str) -> str:
    """Return the name of the list of all compressed files."""
    return "/".join([env, *_safe_parts(output_dir), "manifest.json"])


def manifest_parts(env: str, output_dir: str) -> str:
    """Return the prefix of the rows that are not in that list yet."""
    return "/".join([env, "metadata", "manifest", *_safe_parts(output_dir), ""])


def encode_path(raw: bytes) -> str:
    """Return a path as text: ``%`` and bytes that are not UTF-8 as ``%25``, ``%FF``.

    Two paths never become one text, and ``decode_path`` gives the bytes back. What a
    system call returned as text is ``encode_path(os.fsencode(path))``.
    """
    text = raw.replace(b"%", b"%25").decode(errors="surrogateescape")
    return _LONE_BYTE.sub(lambda match: f"%{ord(match[0]) - 0xDC00:02X}", text)


def decode_path(text: str) -> bytes:
    """Return the bytes of a path that ``encode_path`` wrote."""
    return _ESCAPED_BYTE.sub(lambda match: bytes.fromhex(match[1].decode()), text.encode())
