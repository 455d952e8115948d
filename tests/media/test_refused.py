"""Files that refer to other files or addresses: those are never read or requested."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.core.errors import Code
from shared.core.records import Status
from shared.tracking.lease import Outcome
from tests.media import clips
from tests.media.rig import RangeSources, Rig


class Trap:
    """A listener on the loopback, and a pipe that shows whether it was opened for reading."""

    def __init__(self, directory: Path) -> None:
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        self.fifo = directory / "secret.wav"
        os.mkfifo(self.fifo)

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if connection.recv(16) == b"end":
                    return
            self.connections += 1

    @property
    def opened(self) -> bool:
        """Return whether the pipe has, or had, a reader: without one a write fails at once."""
        try:
            os.close(os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"end")
        self._thread.join()
        self._listener.close()


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    one = Trap(tmp_path)
    yield one
    one.close()


@pytest.fixture(params=[False, True], ids=["local", "served"])
def either(request: pytest.FixtureRequest, worker: Rig) -> Rig:
    worker.sources = RangeSources if request.param else worker.sources
    return worker


PLAYLISTS = {
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
    "m3u": "{target}\n",
    "ffconcat": "ffconcat version 1.0\nfile '{target}'\n",
    "concat": "file '{target}'\n",
    "pls": "[playlist]\nFile1={target}\nNumberOfEntries=1\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=audio {port} RTP/AVP 0\n",
    "mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    '<AdaptationSet><Representation id="1" mimeType="audio/mp4"><BaseURL>{target}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "asx": '<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{target}"/></svg>',
}


@pytest.mark.parametrize("extension", ["own", "mp4"])
@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("scheme", ["path", "file:", "http"])
def test_playlists(
    kind: str, extension: str, scheme: str, trap: Trap, either: Rig, tmp_path: Path
) -> None:
    target = {
        "path": str(trap.fifo),
        "file:": f"file:{trap.fifo}",
        "http": f"http://127.0.0.1:{trap.port}/a.ts",
    }[scheme]
    clip = tmp_path / f"list.{kind if extension == 'own' else extension}"
    clip.write_text(PLAYLISTS[kind].format(target=target, port=trap.port))

    made = either.extract(clip)

    made.ended_as(Status.FAILED, Code.NOT_A_RECORDING)
    assert trap.connections == 0
    assert not trap.opened


@pytest.mark.parametrize("what", ["url ", "alis"])
def test_an_mp4_with_its_sound_in_another_file(
    what: str, trap: Trap, either: Rig, tmp_path: Path
) -> None:
    plain, clip = tmp_path / "plain.mov", tmp_path / "refers.mov"
    clips.run(*clips.speech(2, 44100, 1), "-c:a", "pcm_s16le", plain)
    clip.write_bytes(with_reference(plain.read_bytes(), what, str(trap.fifo)))

    made = either.extract(clip)

    if made.result.outcome is not Outcome.DONE:  # a reference that is none leaves the file's own
        made.ended_as(Status.FAILED, Code.NOT_A_RECORDING)
    assert trap.connections == 0
    assert not trap.opened


def with_reference(data: bytes, kind: str, target: str) -> bytes:
    """Let an MP4's data reference, an empty box, point to a file of this machine."""
    at = data.find(b"dref") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    name = target.encode()
    if kind == "alis":  # an absolute path, as entry 2 of an alias record
        record = bytes(150) + struct.pack(">HH", 2, len(name)) + name + bytes(len(name) % 2)
        body = b"\0\0\0\0" + record + b"\xff\xff\0\0"
    else:
        body = b"\0\0\0\0file://" + name + b"\0"
    entry = struct.pack(">I", len(body) + 8) + kind.encode() + body
    box = struct.pack(">I4sII", len(entry) + 16, b"dref", 0, 1) + entry
    out = data[:at] + box + data[at + size :]
    for parent in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        out = grown(out, parent, len(box) - size)
    return out


def grown(data: bytes, box: bytes, by: int) -> bytes:
    at = data.find(box) - 4
    size = int.from_bytes(data[at : at + 4], "big") + by
    return data[:at] + size.to_bytes(4, "big") + data[at + 4 :]


def test_matroska_that_names_another_segment(trap: Trap, either: Rig, tmp_path: Path) -> None:
    plain, clip = tmp_path / "plain.mkv", tmp_path / "linked.mkv"
    clips.run(*clips.speech(2, 48000, 1), "-metadata", f"title={'x' * 200}", plain)
    data = plain.read_bytes()
    at = data.find(b"\x7b\xa9")  # Title becomes NextFilename, of the same length
    length = 200
    name = str(trap.fifo).encode()[:length].ljust(length, b" ")
    start = data.find(b"x" * length)
    patched = data[:at] + b"\x3e\x83\xbb" + data[at + 2 : start] + name + data[start + length :]
    clip.write_bytes(patched)

    made = either.extract(clip)

    assert made.audio.duration_s == pytest.approx(2, abs=0.02)
    assert trap.connections == 0
    assert not trap.opened


def test_the_trap_works(trap: Trap) -> None:
    with socket.create_connection(("127.0.0.1", trap.port)):
        pass
    reader = os.open(trap.fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert trap.opened
    os.close(reader)
    with socket.create_connection(("127.0.0.1", trap.port)):
        pass  # accepted one after another: the first one is counted by now
    while trap.connections < 1:
        pass
