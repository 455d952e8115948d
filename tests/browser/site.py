"""A dashboard with recordings, served from this process: real audio, files and SQLite."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from flask import Flask, request

from functions.dashboard.app import create_app
from functions.dashboard.backend import Backend
from shared.adapters.local.documents import SQLiteDocuments
from shared.adapters.local.storage import FilesystemStorage
from shared.adapters.memory import MemoryQueue
from shared.core import naming
from shared.core.message import SourceFile
from shared.core.records import COLLECTION, Audio, ErrorInfo, Recording, Status
from shared.core.times import utc_now
from shared.media import waveform
from shared.tracking.tracker import Tracker
from tests.media.clips import run, speech

HOSTILE = (
    "<script>alert('x')</script> & \"quotes\" - 2026/11/20 10:00 CET - Recording",
    '=HYPERLINK("http://example.com";"click") - 2026/11/20 11:00 CET - Recording',
    "Sync \u202egnidroceR\u202c reversed",
    "A very long title " * 17,
    "🎧 週次会議 2026/11/20 12:00 JST に開始した会議",
)

#: Titles of recordings that are DONE.
_NAMES = (
    "Weekly sync",
    "Design review",
    "Réunion d'équipe",
    "Interview with Anna Schmidt",
    "Sprint planning",
    "All hands",
    "Customer call, Zürich",
    "1:1 Ben / Chloé",
)


class Clock:
    """The present, which a test may move."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.offset


@dataclass
class Site:
    """The parts of one dashboard; ``control`` is how the browser's tests change them."""

    folder: Path
    clip: Path
    picture: Path
    duration_s: float
    clock: Clock = field(default_factory=Clock)
    down: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.documents = SQLiteDocuments(self.folder / "tracker.db")
        self.tracker = Tracker(self.documents, clock=self.clock)
        self.storage = FilesystemStorage(self.folder / "audio")
        self.queue = MemoryQueue()
        self.backend = Backend(
            tracker=self.tracker,
            storage=self.storage,
            queues={"drive": self.queue, "sftp": self.queue, "local": self.queue},
            checks={name: self._check(name) for name in ("ffmpeg", "storage", "tracker", "queue")},
            has_drive=True,
            has_sftp=True,
            cache_s=0.2,
        )

    def _check(self, name: str) -> Callable[[], None]:
        def check() -> None:
            if name in self.down:
                raise ConnectionError(f"{name} does not answer")
            if name == "storage":
                self.storage.check()

        return check

    def add(self, name: str, status: Status = Status.DONE, **fields: Any) -> Recording:
        """Add a recording, with its audio when it is DONE."""
        number = self.documents.count(COLLECTION) + 1
        now = self.clock()
        source = fields.pop("source", "drive")
        age = fields.pop("age", timedelta(minutes=number))
        item = SourceFile(
            source=source,
            source_id=f"file{number:05}" if source != "sftp" else f"field/{number:05}.wav",
            revision=f"{number:08x}",
            name=name,
            mime_type="video/mp4",
            size_bytes=512_000_000 + number * 1_000_000,
            created_at=now - age - timedelta(minutes=30),
            account=fields.pop("account", "anna@example.com"),
        )
        ended = now - age
        one = Recording.from_source_file(item, now=ended - timedelta(minutes=6)).evolve(
            status=status, updated_at=ended
        )
        if status is not Status.QUEUED:
            one = one.evolve(
                attempts=1,
                first_claimed_at=ended - timedelta(minutes=4),
                started_at=ended - timedelta(minutes=4),
                progress=1.0 if status is Status.DONE else 0.0,
            )
        if status.is_final:
            one = one.evolve(finished_at=ended, processing_s=150.0 + 7 * number)
        if status is Status.PROCESSING:
            one = one.evolve(
                lease_owner=f"{number:032x}"[::-1], lease_expires_at=now + timedelta(hours=9)
            )
        if status is Status.DONE:
            one = self._with_audio(one, ended)
        one = one.evolve(**fields)
        self.documents.create(COLLECTION, one.key, one.to_document())
        return one

    def _with_audio(self, one: Recording, ended: datetime) -> Recording:
        name = naming.audio_object("dev", one.name, one.created_at, "mp3", one.key)
        stored = self.storage.put(
            name, self.clip, content_type="audio/mpeg", metadata={"key": one.key}
        )
        self.storage.put(naming.waveform_object(name), self.picture, content_type="image/png")
        log = {
            "settings": {"preset": "mp3", "sample_rate": 48000, "bitrate": 128000},
            "stages_s": {"probe": 0.8, "encode": 96.4, "verify": 12.2, "publish": 3.1},
        }
        self.storage.put(
            naming.log_object("dev", one.key, ended),
            json.dumps(log).encode(),
            content_type="application/json",
        )
        return one.evolve(
            audio=Audio(
                object=name,
                bytes=stored.bytes,
                crc32c=stored.crc32c,
                duration_s=self.duration_s,
                start_offset_s=0.0,
                codec="mp3",
                bitrate_kbps=128.0,
                preset="mp3",
            ),
            gcs_path=name,
            gcs_url=f"gs://recordings/{name}",
            upload_timestamp=ended - timedelta(seconds=5),
        )

    def fill(self) -> None:
        """Add recordings of every kind, a Drive channel, nights and an audit."""
        now = self.clock()
        for number in range(40):
            title = _NAMES[number % len(_NAMES)]
            when = now - timedelta(hours=7 * number)
            name = f"{title} - {when:%Y/%m/%d %H:%M} CET - Recording"
            self.add(name, age=timedelta(hours=7 * number, minutes=3))
        for name in HOSTILE:
            self.add(name, age=timedelta(days=5))
        for code, count in {"corrupt": 3, "forbidden": 2, "too_long": 1}.items():
            for number in range(count):
                self.add(
                    f"Town hall {code} {number}",
                    Status.FAILED,
                    age=timedelta(hours=5 + number),
                    error=ErrorInfo(code=code, message=f"ffmpeg: what it met, part {number}"),
                )
        self.add(
            "Standup without sound",
            Status.SKIPPED,
            age=timedelta(hours=9),
            error=ErrorInfo(code="no_audio", message="the recording has no audio track"),
        )
        self.add("Roadmap workshop", Status.PROCESSING, progress=0.42, age=timedelta(seconds=20))
        self.add("Budget 2027", Status.PROCESSING, progress=0.07, age=timedelta(seconds=40))
        self.add("Retrospective", Status.QUEUED, age=timedelta(minutes=1))
        for number in range(4):
            self.add(
                f"microphone {number}.wav",
                source="sftp",
                account="",
                age=timedelta(hours=8, minutes=number),
            )
        self.documents.create(
            "drive_channels",
            "0" * 32,
            {
                "feed": "anna@example.com",
                "account": "anna@example.com",
                "token_sha256": "0" * 64,
                "address": "https://example.com",
                "resource_id": "r",
                "created_at": now - timedelta(days=2),
                "expires_at": now + timedelta(days=5),
                "notified_at": now - timedelta(minutes=4),
            },
        )
        for back in range(6):
            start = now.replace(hour=2, minute=0, second=0) - timedelta(days=back)
            if start > now:
                continue
            error = {"code": "unreachable", "message": "sftp.example.com does not answer"}
            self.documents.create(
                "nightly_runs",
                start.date().isoformat(),
                {
                    "date": start.date().isoformat(),
                    "started_at": start,
                    "finished_at": start + timedelta(seconds=40 + back),
                    "found": 120 + back,
                    "queued": 4,
                    "known": 116,
                    "unsettled": 0,
                    "passed_over": {"count": 23, "names": ["notes.txt", "calls/old.sln"]},
                    "error": error if back == 3 else None,
                },
            )
        self.documents.create(
            "audits", "last", {"finished_at": now - timedelta(hours=3), "seen": 57, "problems": 0}
        )

    def control(self, command: dict[str, Any]) -> Any:
        """Carry out what a browser test asks for, and return what it wants to know."""
        match command["do"]:
            case "add":
                fields = _fields(command.get("fields", {}))
                status = Status(command["status"])
                return self.add(command["name"], status, age=timedelta(0), **fields).key
            case "change":
                fields = _fields(command["fields"])
                changed = self.tracker.change(command["key"], lambda one: one.evolve(**fields))
                return changed is not None
            case "status":
                found = self.tracker.get(command["key"])
                return found.status.value if found else None
            case "down":
                self.down.add(command["component"])
            case "up":
                self.down.discard(command["component"])
            case "reset":
                self.clock.offset = timedelta()
                self.down.clear()
            case "advance":
                self.clock.offset += timedelta(seconds=command["seconds"])
            case "published":
                return [item.key for item in self.queue.items]
        return None


def _fields(given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a record that JSON gave."""
    fields = dict(given)
    if "status" in fields:
        fields["status"] = Status(fields["status"])
    if fields.get("error"):
        fields["error"] = ErrorInfo(**fields["error"])
    return fields


class _Server(ThreadingMixIn, WSGIServer):
    """Closes an answer's file when the browser resets the connection.

    Werkzeug's server reads the rest of the request first, and a reset raises there
    (``WSGIRequestHandler.run_wsgi`` of 3.1): the file stays open.
    """

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """Serve an app on the loopback interface; yields its address."""
    server = make_server("127.0.0.1", 0, app, server_class=_Server, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def running(site: Site) -> Iterator[tuple[str, str]]:
    """Serve the dashboard and, apart from it, the control; yields both addresses."""
    control = Flask("control")

    @control.post("/")
    def command() -> Any:
        return {"result": site.control(request.get_json())}

    with served(create_app(site.backend)) as address, served(control) as control_address:
        yield address, control_address


def make_clip(folder: Path, seconds: int = 40) -> tuple[Path, Path]:
    """Make audio of voices that take turns, and the picture of it."""
    audio, picture = folder / "clip.mp3", folder / "clip.png"
    run(*speech(seconds, 44100, 1), "-c:a", "libmp3lame", "-b:a", "64k", audio)
    waveform.draw(_levels(seconds), picture)
    return audio, picture


def _levels(seconds: int) -> Iterator[waveform.LoudnessLevel]:
    """Yield levels as speech has them: words, and pauses between them."""
    for column in range(waveform.COLUMNS):
        at = seconds * column / waveform.COLUMNS
        loud = abs(math.sin(at * 1.7)) * abs(math.sin(at * 0.31)) ** 0.5
        yield waveform.LoudnessLevel(0.08 + 0.8 * loud, 0.03 + 0.35 * loud)
