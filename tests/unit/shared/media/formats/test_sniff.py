"""Text, pictures, documents and programs are refused; sound never is."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.errors import Code, PermanentError
from shared.media.formats.sniff import refuse_non_recording

SVG = '<?xml version="1.0"?>\n<!-- a drawing -->\n<svg xmlns="http://www.w3.org/2000/svg"/>'
MPD = '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>'


def office() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    return content.getvalue()


def archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as zipped:
        zipped.writestr("notes.bin", b"\0\1\2")
    return content.getvalue()


def icon() -> bytes:
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, 99, 22)


def bmp() -> bytes:
    return b"BM" + struct.pack("<IHHI", 1000, 0, 0, 54) + struct.pack("<Iii", 40, 10, 10)


def program() -> bytes:
    return (b"MZ" + bytes(58) + struct.pack("<I", 128)).ljust(128, b"\0") + b"PE\0\0L\1"


REFUSED = {
    "M3U": ("#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", "playlist"),
    "M3U after blanks": ("\n  #extm3u\n", "playlist"),
    "PLS": ("[playlist]\nFile1=http://127.0.0.1/\n", "playlist"),
    "ffconcat": ("ffconcat version 1.0\nfile '/etc/passwd'\n", "playlist"),
    "ASX": ('<asx version="3.0"><entry><ref href="http://a/"/></entry></asx>', "playlist"),
    "XSPF": ('<?xml version="1.0"?><playlist version="1">', "playlist"),
    "SDP": ("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\n", "session description"),
    "DASH": (MPD, "manifest"),
    "SVG": (SVG, "SVG picture"),
    "HTML": ("<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
    "XML": ('<?xml version="1.0"?><note/>', "XML"),
    "JSON": ('{"error": {"code": 403}}', "JSON"),
    "script": ("#!/bin/sh\nrm -rf /\n", "script"),
    "address": ("http://169.254.169.254/latest/meta-data/", "address"),
    "subtitles": ("WEBVTT\n\n00:01.000 --> 00:02.000\nHello", "subtitles"),
    "text": ("This is text named meeting.mp4.", "text"),
    "one letter": ("x", "text"),
    "blanks": ("  \n\n", "text"),
    "Chinese": ("会议记录:" * 50, "text"),
    "emoji": ("🎙️ meeting" * 10, "text"),
}
REFUSED_BYTES = {
    "PNG": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG picture"),
    "JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "JPEG picture"),
    "GIF": (b"GIF89a\x10\0\x10\0", "GIF picture"),
    "WebP": (b"RIFF\x10\0\0\0WEBPVP8 ", "WebP picture"),
    "TIFF": (b"II*\0\x08\0\0\0", "TIFF picture"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
    "AVIF": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF"),
    "BMP": (bmp(), "BMP picture"),
    "icon": (icon(), "icon"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF"),
    "ZIP": (archive(), "ZIP"),
    "Office": (office(), "Office"),
    "old Office": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40), "Office"),
    "gzip": (gzip.compress(b"x"), "gzip"),
    "ELF": (b"\x7fELF\x02\x01\x01" + bytes(9), "program"),
    "PE": (program(), "program"),
    "Mach-O": (b"\xcf\xfa\xed\xfe\x07\0\0\1", "program"),
    "MIDI": (b"MThd\0\0\0\x06\0\1\0\2", "MIDI"),
    "M3U before binary": (b"#EXTM3U\n#EXT-X-VERSION:3\n\0\xff\xfe\x80", "playlist"),
    "SDP before binary": (b"\xef\xbb\xbfv=0\r\n\0\0\1", "session description"),
    "Latin-1 text": ("Größenmaßstäbe über Köln. ".encode("latin-1") * 9, "text"),
}


def refusal(head: bytes) -> PermanentError | None:
    try:
        refuse_non_recording(head)
    except PermanentError as error:
        return error
    return None


@pytest.mark.parametrize(("content", "what"), REFUSED_BYTES.values(), ids=REFUSED_BYTES)
def test_binaries_that_are_not_recordings(content: bytes, what: str) -> None:
    error = refusal(content)
    assert error is not None
    assert error.code == Code.NOT_A_RECORDING
    assert what in error.message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(("content", "what"), REFUSED.values(), ids=REFUSED)
def test_text_in_any_encoding(content: str, what: str, encoding: str) -> None:
    error = refusal(content.encode(encoding))
    assert error is not None
    assert error.code == Code.NOT_A_RECORDING
    assert what in error.message


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("kind", ["M3U", "ffconcat", "SDP", "DASH", "HTML", "text"])
def test_wide_text_without_a_mark(kind: str, encoding: str) -> None:
    content, what = REFUSED[kind]
    error = refusal(content.encode(encoding))
    assert error is not None
    assert what in error.message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-32"])
def test_a_character_that_the_head_cuts(encoding: str) -> None:
    content = ("a" * 200 + "會議錄音🎙️" * 10).encode(encoding)
    assert all(refusal(content[:stop]) is not None for stop in range(200 * 4, len(content)))


@given(st.text(min_size=1).filter(lambda t: all(c >= " " and c != "\x7f" for c in t)))
@example("\ufeff")
def test_all_text_is_refused(text: str) -> None:
    assert refusal(text.encode()) is not None


@given(st.binary(min_size=0, max_size=600))
def test_any_bytes_pass_or_are_refused_with_a_sentence(head: bytes) -> None:
    error = refusal(head)
    assert error is None or error.message.endswith(".")


def test_zero_bytes_are_corrupt() -> None:
    error = refusal(b"")
    assert error is not None
    assert error.code == Code.CORRUPT
    assert error.message.startswith("The file is empty")


@pytest.mark.parametrize(
    "head",
    [
        b"#!AMR\n" + b"<" + b"a" * 31,
        b"#!AMR-WB\n" + b"text" * 8,
        b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0",
        b"RIFFaaaaAVI LISTaaaahdrlavihaaaa" + b"\0" * 8,
        b"ID3\x03\0\0\0\0\x0fvTIT2" + b"\0\0\0\x05\0\0\0text",
        b"\xff\xfb\x90\x64" + b"UUUU" * 100,
        b"\xff\xf1\x50\x80\x1f\xfc" + b"!" * 200,
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
        b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
        b"OggS\0\2" + bytes(20),
        b"\0\0\1\xba\x44\0\x04\0\x04\1",
        b"\0\0\1\0\1\0\0\0" + b"\xff" * 60,
        b"G@\0\x10" + b"\xff" * 184,
        b"BM" + b"\xff" * 60,
        b"MZ" + b"\x55" * 60 + b"\xff",
        b"\x80" * 4096,
        b"\x55\xd5" * 2048,
    ],
)
def test_sound_that_looks_a_little_like_something_else(head: bytes) -> None:
    refuse_non_recording(head)
