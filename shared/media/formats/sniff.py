"""Rejects files that are obviously no recordings by their first bytes, before FFmpeg opens them."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import TypeAlias

from shared.core.errors import Code, PermanentError


def refuse_non_recording(head: bytes) -> None:
    """Raise when ``head``, the first bytes of a file, shows that the file is not a recording.

    A few kilobytes are enough, and at least 512 are needed unless the file is shorter. Unknown
    formats pass: FFmpeg decides about them.

    Raises ``PermanentError``: ``corrupt`` for no bytes at all, ``not_a_recording`` for a
    playlist, a manifest, a picture, a document, an archive, a program or text.
    """
    if not head:
        raise PermanentError(Code.CORRUPT, "The file is empty (0 bytes).")
    what = _by_signature(head) or _text(head)
    if what:
        raise PermanentError(
            Code.NOT_A_RECORDING, f"The file is not a recording: it seems to be {what}."
        )


_Test: TypeAlias = Callable[[bytes], bool]


def _starts(*signatures: bytes) -> _Test:
    return lambda head: head.startswith(signatures)


def _riff(kind: bytes) -> _Test:
    return lambda head: head[:4] == b"RIFF" and head[8:12] == kind


_PICTURE_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"}
    | {b"jpeg", b"j2ki", b"jp2 ", b"jpx "}
)


def _heif(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in _PICTURE_BRANDS


def _bmp(head: bytes) -> bool:
    # The two letters alone are not enough: audio may start with them too.
    header_size = int.from_bytes(head[14:18], "little")
    return (
        head[:2] == b"BM"
        and head[6:10] == bytes(4)
        and header_size in {12, 40, 52, 56, 64, 108, 124}
    )


def _ico(head: bytes) -> bool:
    # An MPEG program stream may start with these zeros too; the first entry decides.
    count = int.from_bytes(head[4:6], "little")
    offset = int.from_bytes(head[18:22], "little")
    is_icon = head[:4] in {b"\0\0\1\0", b"\0\0\2\0"}
    return is_icon and 0 < count < 256 and head[9:10] == b"\0" and offset == 6 + 16 * count


def _exe(head: bytes) -> bool:
    start = int.from_bytes(head[60:64], "little")
    return head[:2] == b"MZ" and head[start : start + 4] == b"PE\0\0"


def _bzip2(head: bytes) -> bool:
    return head[:3] == b"BZh" and head[4:10] == b"1AY&SY"


def _tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


_MACH_O = (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")


def _office(head: bytes) -> bool:
    names = (b"[Content_Types].xml", b"word/", b"xl/", b"ppt/", b"application/vnd.o")
    return head.startswith(_ZIP) and any(name in head for name in names)


_SIGNATURES: tuple[tuple[_Test, str], ...] = (
    (_starts(b"\x89PNG\r\n\x1a\n"), "a PNG picture"),
    (_starts(b"\xff\xd8\xff"), "a JPEG picture"),
    (_starts(b"GIF87a", b"GIF89a"), "a GIF picture"),
    (_riff(b"WEBP"), "a WebP picture"),
    (_starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "a TIFF picture"),
    (_heif, "a HEIC or AVIF picture"),
    (_starts(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), "a JPEG 2000 picture"),
    (_starts(b"\0\0\0\x0cJXL \r\n\x87\n"), "a JPEG XL picture"),
    (_starts(b"8BPS"), "a Photoshop picture"),
    (_bmp, "a BMP picture"),
    (_ico, "an icon"),
    (_starts(b"%PDF-", b"\xef\xbb\xbf%PDF-"), "a PDF document"),
    (_starts(b"{\\rtf"), "an RTF document"),
    (_starts(b"%!PS"), "a PostScript document"),
    (_starts(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), "an Office document"),
    (_office, "an Office document"),
    (_starts(*_ZIP), "a ZIP archive"),
    (_starts(b"\x1f\x8b\x08"), "a gzip archive"),
    (_bzip2, "a bzip2 archive"),
    (_starts(b"\xfd7zXZ\0"), "an xz archive"),
    (_starts(b"\x28\xb5\x2f\xfd"), "a Zstandard archive"),
    (_starts(b"7z\xbc\xaf\x27\x1c"), "a 7-Zip archive"),
    (_starts(b"Rar!\x1a\x07"), "a RAR archive"),
    (_tar, "a tar archive"),
    (_starts(b"\x7fELF"), "a program"),
    (_exe, "a program"),
    (_starts(*_MACH_O, b"\xca\xfe\xba\xbe", b"\0asm"), "a program"),
    (_starts(b"SQLite format 3\0"), "a database"),
    (_starts(b"MThd\0\0\0\x06"), "a MIDI file, which contains notes, not audio"),
)


def _by_signature(head: bytes) -> str | None:
    return next((what for test, what in _SIGNATURES if test(head)), None)


# Text. All of it is refused: no text format that FFmpeg reads is a recording, and playlists,
# manifests and scripts make it read other files.

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)

#: Control characters that no text has. Text may have those of terminals, printers and DOS.
_CONTROLS = re.compile(r"[\x00-\x06\x0e-\x19\x1c-\x1f\x7f]")

#: Data is text in an 8-bit encoding when it is at least this long, has no such control
#: character, and has at least these shares of ASCII and of blanks.
_MIN_8_BIT = 64
_MIN_ASCII = 0.7
_BEYOND_ASCII = bytes(range(128, 256))
_MIN_BLANKS = 0.03

_KINDS: tuple[tuple[str, str], ...] = (
    (r"#EXTM3U|#EXTINF|#EXT-X-", "a playlist (M3U)"),
    (r"\[playlist\]", "a playlist (PLS)"),
    (r"ffconcat version", "a playlist (ffconcat)"),
    (r"\[Reference\]", "a playlist (ASX)"),
    (r"<asx\b", "a playlist (ASX)"),
    (r"(<\?wpl|<smil)\b", "a playlist (SMIL)"),
    (r"v=\d+\r?\n[a-z]=", "a session description (SDP)"),
    (r";FFMETADATA", "metadata of FFmpeg"),
    (r"WEBVTT\b", "subtitles (WebVTT)"),
    (r"\[Script Info\]", "subtitles (ASS)"),
    (r"\d+\s+\d\d:\d\d:\d\d[,.]\d+\s+-->", "subtitles (SubRip)"),
    (r"(?s:.{0,2000}?)<MPD\b", "a streaming manifest (DASH)"),
    (r"(?s:.{0,2000}?)<SmoothStreamingMedia\b", "a streaming manifest"),
    (r"(?s:.{0,2000}?)<playlist\b", "a playlist (XSPF)"),
    (r"(?s:.{0,2000}?)<svg\b", "an SVG picture"),
    (r"(?s:.{0,2000}?)(<!doctype html|<html|<head|<body)\b", "a web page"),
    (r"<(\?xml|!--|!doctype|[a-z][\w.:-]*[\s/>])", "an XML file"),
    (r"[{\[]\s*(\"|[{\[\]}]|-?\d|true|false|null)", "a JSON file"),
    (r"#!", "a script"),
    (r"(https?|rtsp|rtmp|mms|file|concat|ftp)://?\S", "a list of addresses"),
)
_KIND_PATTERNS = tuple((re.compile(p, re.IGNORECASE), what) for p, what in _KINDS)

#: Starts that make FFmpeg read other files: refused even before binary data.
_DANGEROUS = re.compile(rb"\s*(#EXTM3U|\[playlist\]|ffconcat version|v=0\r?\n)", re.IGNORECASE)

#: Audio formats that start with a line of text.
_AUDIO_WITH_TEXT = (b"#!AMR", b"#!SILK", b"\x02#!SILK", b"#!EVRC")


def _text(head: bytes) -> str | None:
    if head.startswith(_AUDIO_WITH_TEXT):
        return None
    if match := _DANGEROUS.match(head.removeprefix(b"\xef\xbb\xbf")):
        return _kind(match[0].decode().strip() + "\no=")
    text = _decoded(head)
    return None if text is None else _kind(text)


def _kind(text: str) -> str:
    stripped = text.lstrip("\ufeff \t\r\n\v\f")
    return next((what for test, what in _KIND_PATTERNS if test.match(stripped)), "text")


def _decoded(head: bytes) -> str | None:
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return _decode(head[len(bom) :], encoding)
    for encoding in ("utf-8", *_wide_encodings(head)):
        text = _decode(head, encoding)
        if text is not None:
            return text
    return _decode_8_bit(head)


def _decode(head: bytes, encoding: str) -> str | None:
    # Incremental: the head may end in the middle of a character.
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return None
    return None if _CONTROLS.search(text) else text


def _wide_encodings(head: bytes) -> tuple[str, ...]:
    # UTF-16 without a byte order mark: nearly all of the first characters are ASCII.
    sample = head[: min(256, len(head) & ~1)]
    even, odd = sample[0::2], sample[1::2]
    if len(sample) < 8:
        return ()
    if odd.count(0) >= 0.9 * len(odd) and not even.count(0):
        return ("utf-16-le",)
    if even.count(0) >= 0.9 * len(even) and not odd.count(0):
        return ("utf-16-be",)
    return ()


def _decode_8_bit(head: bytes) -> str | None:
    text = head.decode("latin-1")
    ascii_bytes = len(head.translate(None, _BEYOND_ASCII))
    blanks = sum(map(head.count, (b" ", b"\n", b"\t")))
    if len(head) < _MIN_8_BIT or ascii_bytes < _MIN_ASCII * len(head):
        return None
    return None if blanks < _MIN_BLANKS * len(head) or _CONTROLS.search(text) else text
