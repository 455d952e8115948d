"""The parsers of everything that comes from outside, each with inputs to start from."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cli.serve.queue import published
from functions.dashboard import ranges as dashboard_ranges
from functions.dashboard.listing import decode_cursor
from functions.dashboard.problems import ProblemError
from functions.dashboard.security import IapVerifier
from functions.drive_watch.channel import CHANNELS, Channel, Channels
from functions.drive_watch.main import _wanted
from functions.sftp_compress.manifest import Manifest
from shared.adapters.memory import MemoryDocuments, MemoryStorage
from shared.adapters.sftp import listing, packets
from shared.adapters.sftp.packets import Kind, StatusError
from shared.config.parsers import SftpCredentials
from shared.core import naming, untrusted_json
from shared.core.errors import MessageError, PermanentError, PipelineError
from shared.core.message import MAX_KEY_LENGTH, make_key
from shared.core.sftp_errors import ProtocolError
from shared.core.times import parse_time
from shared.media.formats import completeness, frame_gaps, mp3_in_wave, mp4_boxes, wave_chunks
from shared.media.formats.sniff import refuse_non_recording
from shared.media.formats.wave_repair import RepairedSource, find_patches
from shared.media.source import range_server
from shared.service import push
from tests.fuzz.engine import Mutate, Target, mutated

_FIXTURES = Path(__file__).parent.parent / "fixtures" / "messages"
_MESSAGES = [path.read_bytes() for path in sorted(_FIXTURES.glob("*.json"))]
_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Bytes:
    """A source of bytes in memory."""

    local_path = None

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def check_unchanged(self) -> None: ...

    def close(self) -> None: ...


# JSON

_ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1 << 63, 1e308, float("inf"), float("nan")),
    *("", "\0", "\ud800", "../..", "a" * 5000),
    *([], {}, [[]], {"": {}}, ["a"] * 3, "2026-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"),
)  # fmt: skip


def _json_mutated(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Change a value of a document, or its bytes, or nest it deeply."""
    kind = chance.randrange(8)
    if kind == 0:
        return mutated(chance, seeds)
    if kind == 1:
        opening, closing = chance.choice((("[", "]"), ('{"a":', "}")))
        depth = chance.choice((10, 49, 51, 200, 900, 990, 1000, 3000))
        inner = chance.choice(seeds).decode("utf-8", "replace") if chance.random() < 0.5 else "1"
        return (opening * depth + inner + closing * chance.choice((depth, 0))).encode()
    document = json.loads(chance.choice(seeds))
    if kind == 2:
        deep: Any = "x"
        for _ in range(chance.choice((40, 60, 400, 900))):
            deep = [deep] if chance.random() < 0.5 else {"a": deep}
        odd = deep
    else:
        odd = chance.choice(_ODD)
    place = document
    while isinstance(place, (dict, list)) and place:
        key = (
            chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
        )
        if not isinstance(place[key], (dict, list)) or chance.random() < 0.4:
            if kind == 3:
                del place[key]
            else:
                place[key] = odd
            break
        place = place[key]
    return json.dumps(document, ensure_ascii=chance.random() < 0.9).encode("utf-8", "surrogatepass")


def _envelope(data: bytes) -> bytes:
    message = {"data": base64.b64encode(data).decode(), "publishTime": "2026-01-01T00:00:00Z"}
    return json.dumps({"message": message, "subscription": "s", "deliveryAttempt": 3}).encode()


def _in_envelope(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Change the envelope, or the message in it."""
    if chance.random() < 0.5:
        return _json_mutated(chance, seeds)
    return _envelope(_json_mutated(chance, [one for one in _MESSAGES if one.strip()[:1] == b"{"]))


def _envelope_target(body: bytes) -> None:
    try:
        item = push.decode(body).item
    except MessageError as error:
        push.for_log(error.raw).encode()
        return
    assert item.key == make_key(item.source, item.source_id, item.revision)
    assert push.decode(_envelope(item.encode())).item == item


def _manifest(data: bytes) -> None:
    storage = MemoryStorage()
    storage.put("manifest.json", data, content_type="application/json")
    manifest = Manifest(storage=storage, name="manifest.json", parts="parts/", clock=lambda: _NOW)
    for row in manifest.rows():
        assert isinstance(row["source"], str)


# Headers

_TOKEN = "a" * 43
_CHANNEL = Channel(
    id="0" * 32,
    feed="default",
    account="",
    token_sha256=hashlib.sha256(_TOKEN.encode()).hexdigest(),
    address="https://example.com",
    created_at=_NOW,
    expires_at=_NOW + timedelta(hours=1),
)
_EXPIRY = b"Fri, 02 Jan 2026 04:04:05 GMT"


def _notify(data: bytes) -> None:
    fields = [part.decode("latin-1") for part in data.split(b"\n", 3)]
    documents = MemoryDocuments()
    documents.create(CHANNELS, _CHANNEL.id, _CHANNEL.to_document())
    channels = Channels(documents, "https://example.com", timedelta(hours=1), lambda: _NOW)
    found = channels.recognise(*fields, *[""] * (4 - len(fields)))
    assert found is None or fields[:2] == [_CHANNEL.id, _TOKEN]


def _notify_mutated(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    parts = chance.choice(seeds).split(b"\n")
    place = chance.randrange(len(parts))
    parts[place] = mutated(chance, [parts[place] or b" "])
    return b"\n".join(parts)


def _segment(part: object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")


_IAP_HEADER = {"alg": "ES256", "kid": "a", "typ": "JWT"}
_IAP_CLAIMS = {
    "iss": "https://cloud.google.com/iap",
    "aud": "/x",
    "exp": 2e9,
    "iat": 1,
    "email": "a@b",
}


def _iap_mutated(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    if chance.random() < 0.3:
        return mutated(chance, seeds)
    parts = [json.dumps(_IAP_HEADER).encode(), json.dumps(_IAP_CLAIMS).encode()]
    place = chance.randrange(2)
    parts[place] = _json_mutated(chance, [parts[place]])
    signed = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts]
    return b".".join([*signed, base64.urlsafe_b64encode(chance.randbytes(64))])[:16_000]


def _iap(data: bytes) -> None:
    verifier = IapVerifier("/x")
    verifier._verifier._download = lambda: {"a": ""}  # type: ignore[method-assign]
    verifier.check(data.decode("latin-1"))
    raise AssertionError("accepted")


def _range(data: bytes) -> None:
    header = data.decode("latin-1")
    for size in (0, 1, 1000, 1 << 40):
        wanted = range_server.parse_range(header, size)
        assert wanted is None or 0 <= wanted.start <= wanted.stop <= max(size, wanted.start)
        with suppress(dashboard_ranges.UnsatisfiableError):
            span = dashboard_ranges.requested(header, size)
            assert span is None or 0 <= span.start < span.end <= size


# Names


def _names(data: bytes) -> None:
    data = data[:3000]
    text = data.decode("utf-8", "replace")
    for name in (text, text[:300]):
        made = naming.audio_object("prod", name, _NOW, "mp3", "key" if len(name) % 2 else None)
        _check_object(made, "prod/")
        assert made.count("/") == 3
        assert len(naming.slug(name).encode()) <= 180
    path = naming.encode_path(data)
    assert naming.decode_path(path) == data
    _check_object(naming.compressed_object("prod", "compressed", path, "wav"), "prod/compressed/")
    key = make_key("sftp", path, "1-2")
    assert len(key) <= MAX_KEY_LENGTH
    assert key.isprintable()
    assert "/" not in key
    assert not key.startswith((".", "__"))


def _check_object(name: str, prefix: str) -> None:
    name.encode()
    assert name.startswith(prefix)
    assert len(name.encode()) <= 1024
    assert not {"", ".", ".."} & set(name.split("/"))
    assert not any(ord(char) < 32 or ord(char) == 127 for char in name)


# SFTP


class _Channel:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def recv(self, size: int) -> bytes:
        start, self._at = self._at, self._at + min(size, 700)
        return self._data[start : self._at]


def _packet(kind: int, body: bytes) -> bytes:
    return struct.pack(">IB", 5 + len(body), kind) + struct.pack(">I", 1) + body


def _entry(name: bytes) -> bytes:
    long_name = b"-rw-r--r-- 1 a a 5 Jan  1 00:00 " + name
    attributes = struct.pack(">IQIIIII", 0xF, 5, 1, 2, 0o100644, 1, 1)
    return packets.text(name) + packets.text(long_name) + attributes


_LISTING = _packet(Kind.NAME, struct.pack(">I", 2) + _entry(b"a.wav") + _entry(b"\xff.wav"))
_STATUS = _packet(Kind.STATUS, struct.pack(">I", 4) + packets.text(b"no") + packets.text(b""))
_VERSION = struct.pack(">IBI", 5, Kind.VERSION, 3)


def _sftp(data: bytes) -> None:
    for packet in packets.packets(_Channel(data)):
        if packet[0] == Kind.VERSION:
            packets.extensions(packet)
            continue
        with suppress(StatusError):
            for entry in packets.entries(packets.expect(packet, Kind.NAME)):
                listing.shown(entry.name).encode()
                listing._may_matter(listing._name(entry.name, b"/in"), listing._type_of(entry))


# Media


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _wav(*chunks: bytes, kind: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return kind + struct.pack("<I", len(body)) + body


_FORMAT = _chunk(b"fmt ", struct.pack("<HHIIHH", 1, 2, 48000, 192000, 4, 16))
_MP3_FRAME = bytes.fromhex("fffb9064") + bytes(413)
_MP3_FORMAT = _chunk(
    b"fmt ", struct.pack("<HHIIHHHHIHHH", 0x55, 2, 48000, 16000, 1, 0, 12, 1, 2, 384, 1, 0)
)
_DS64 = _chunk(b"ds64", struct.pack("<QQQI", 1 << 33, 1 << 33, 1 << 30, 0))
_RIFF = (
    _wav(_FORMAT, _chunk(b"LIST", b"INFO"), _chunk(b"data", bytes(2000))),
    _wav(_DS64, _FORMAT, _chunk(b"data", bytes(400)), kind=b"RF64"),
    _wav(_MP3_FORMAT, _chunk(b"fact", bytes(4)), _chunk(b"data", _MP3_FRAME * 4)),
    b"RIFF" + struct.pack("<I", 40) + b"AVI " + _chunk(b"LIST", b"hdrl" + bytes(20)),
    wave_chunks._W64_RIFF + struct.pack("<Q", 200) + wave_chunks._W64_WAVE
    + b"fmt " + wave_chunks._W64_TAIL + struct.pack("<Q", 40) + _FORMAT[8:24]
    + b"data" + wave_chunks._W64_TAIL + struct.pack("<Q", 124) + bytes(100),
)  # fmt: skip


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


_FTYP = _box(b"ftyp", b"isom", bytes(4), b"isommp41")
_MOOV = _box(b"moov", _box(b"mvhd", bytes(100)), _box(b"trak", _box(b"mdia", bytes(40))))
_MP4 = (
    _FTYP + _MOOV + _box(b"mdat", bytes(500)),
    _FTYP + _box(b"free") + _box(b"mdat", bytes(300)) + _MOOV,
    _FTYP + _box(b"moov", _box(b"mvhd", bytes(100)), _box(b"mvex", bytes(8)))
    + _box(b"moof", bytes(90)),
    _FTYP + struct.pack(">I4sQ", 1, b"mdat", 1 << 33) + bytes(100),
)  # fmt: skip


def _element(identifier: str, body: bytes) -> bytes:
    return bytes.fromhex(identifier) + (len(body) | 1 << 28).to_bytes(4, "big") + body


_EBML = _element("1a45dfa3", _element("4282", b"webm"))
_CLUSTER = _element("1f43b675", _element("e7", b"\0") + _element("a3", bytes(60)))
_MATROSKA = (
    _EBML + _element("18538067", _element("1654ae6b", bytes(40)) + _CLUSTER),
    _EBML + bytes.fromhex("1853806701ffffffffffffff") + _CLUSTER * 3,
)
_FRAMES = (
    b"ID3\4\0\0\0\0\1\0" + bytes(128) + _MP3_FRAME * 3,
    _MP3_FRAME[:36] + b"Xing" + struct.pack(">III", 3, 100, 41700) + bytes(200) + _MP3_FRAME * 3,
    b"fLaC\x80\0\0\x22" + struct.pack(">HH", 4096, 4096) + bytes(6)
    + ((48000 << 44) | (1 << 41) | (15 << 36) | 96000).to_bytes(8, "big") + bytes(16)
    + bytes.fromhex("fff8c9180000") + bytes(300),
    bytes.fromhex("fff15080045ffc") * 30,
    bytes.fromhex("56e020") + bytes(40),
)  # fmt: skip


def _media(data: bytes) -> None:
    source = Bytes(data)
    with suppress(PermanentError):
        refuse_non_recording(data[:4096])
    found = completeness.examine(source)
    assert found.declared_share >= 1
    assert found.duration_s is None or found.duration_s >= 0
    mp4_boxes.has_index(source)
    mp4_boxes.has_more_tracks_than(source, 128)
    mp4_boxes.names_other_files(source)
    wave_chunks.is_one_run(source)
    if find_patches(source):
        repaired = RepairedSource(source)
        assert len(repaired.read(0, repaired.size + 10)) == repaired.size
    for demuxer in ("mp3", "aac", "loas"):
        assert 0 <= frame_gaps.damaged_share(source, demuxer) <= 1
    with suppress(ValueError):
        mp3_in_wave.audio_bytes(data[: mp3_in_wave.HEAD_BYTES])


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(data.decode("utf-8", "replace"))


_CURSOR = base64.urlsafe_b64encode(b'["2026-01-02T03:04:05+00:00", "drive-x"]').rstrip(b"=")


def _cursor_mutated(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    if chance.random() < 0.3:
        return mutated(chance, seeds)
    text = base64.urlsafe_b64decode(seeds[0] + b"==")
    return base64.urlsafe_b64encode(_json_mutated(chance, [text])).rstrip(b"=")


_CREDENTIALS = b'{"username": "u", "known_hosts": "h ssh-ed25519 AAAA", "password": "p"}'
_PUBLISH = b'{"messages": [{"data": "YQ==", "attributes": {"key": "a"}}]}'
_MANIFEST = (
    b'{"version": 1, "generated_at": "2026-01-01T00:00:00Z", "files": [{"source": "a.wav",'
    b' "source_bytes": 2, "bytes": 1, "duration_s": 1.0}], "totals": {"files": 1}}'
)


def _of_json(name: str, seed: bytes, run: Callable[[bytes], object], *errors: type[Exception],
             mutate: Mutate = _json_mutated) -> Target:  # fmt: skip
    return Target(name=name, seeds=[seed], run=run, expected=errors, mutate=mutate)


TARGETS = (
    Target(name="envelope", seeds=[_envelope(one) for one in _MESSAGES], run=_envelope_target,
           mutate=_in_envelope, share=3),
    _of_json("json", _MESSAGES[1], untrusted_json.parse, ValueError),
    _of_json("maintain", b'{"only": "requeue"}', _wanted, ValueError),
    _of_json("publish", _PUBLISH, published, ValueError),
    _of_json("credentials", _CREDENTIALS, _text(SftpCredentials.parse), ValueError),
    _of_json("manifest", _MANIFEST, _manifest, PipelineError),
    _of_json("cursor", _CURSOR, _text(decode_cursor), ProblemError, mutate=_cursor_mutated),
    Target(name="time", seeds=[b"2026-01-02T03:04:05.123456789+01:00"], run=_text(parse_time),
           expected=(ValueError,)),
    Target(name="notify", seeds=[b"\n".join([b"0" * 32, _TOKEN.encode(), b"r", _EXPIRY])],
           run=_notify, mutate=_notify_mutated, share=2),
    Target(name="iap", seeds=[b".".join([_segment(_IAP_HEADER), _segment(_IAP_CLAIMS), b"AAAA"])],
           run=_iap, expected=(ProblemError,), mutate=_iap_mutated, share=2),
    Target(name="range", seeds=[b"bytes=0-99", b"bytes=-5", b"bytes=7-", b"bytes=0-1,5-9"],
           run=_range, share=2),
    Target(name="names", seeds=[b"Weekly sync - 2025/01/29 10:00 CET - Recording.mp4",
                                "Größe/日本語 (2025-04-07 16_52 GMT+2)".encode(), b"a/../b\0.wav",
                                "e\u0301\u202e\ufeff".encode()], run=_names),
    Target(name="sftp", seeds=[_VERSION + _LISTING, _LISTING, _STATUS], run=_sftp,
           expected=(ProtocolError,), share=3),
    Target(name="riff", seeds=_RIFF, run=_media, share=3),
    Target(name="mp4", seeds=_MP4, run=_media, share=3),
    Target(name="matroska", seeds=_MATROSKA, run=_media, share=3),
    Target(name="frames", seeds=_FRAMES, run=_media, share=2),
)  # fmt: skip
