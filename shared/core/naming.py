"""Names of a recording's objects in the bucket."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from shared.core.titles import local_time, read_title, strip_extension

#: The name of a recording whose title has no letters or digits.
FALLBACK = "recording"

MAX_SLUG_CHARS = 80
MAX_SLUG_BYTES = 180

#: Cloud Storage's limit for an object's name is 1,024 bytes of UTF-8.
MAX_NAME_BYTES = 1023

#: File systems allow 255 bytes for each part of a path; 20 are left for the prefix of a
#: hidden file beside an object.
MAX_PART_BYTES = 235

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
    return f"{audio.rpartition('.')[0]}.chunks/{index:03}.{extension}"


def chunks_index_object(audio: str) -> str:
    """Return the name of the list of the chunks of the audio object ``audio``."""
    return f"{audio.rpartition('.')[0]}.chunks/chunks.json"


def waveform_object(audio: str) -> str:
    """Return the name of the picture of the audio object ``audio``.

    Kept apart from the audio, so that people who browse a month see recordings only.
    """
    env, _, rest = audio.partition("/")
    return f"{env}/metadata/waveforms/{rest.rpartition('.')[0]}.png"


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
