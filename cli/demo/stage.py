"""``serve --demo``: the system with stand-ins for Drive and the SFTP server.

Recordings appear in the stand-in of Drive one after the other, the nightly run comes
early, and what has become of each is compared with what is expected.
"""

from __future__ import annotations

import json
import mimetypes
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cli.demo import recordings
from cli.demo.drive_standin import DriveServer, World, serve
from cli.demo.drive_standin.identity import LOOPBACK_ONLY, key_file
from cli.demo.recordings import Expected
from cli.demo.sftp_standin import serving
from cli.watching.settling import open_for_writing
from shared.core.ports import Storage
from shared.core.records import Recording
from shared.tracking.tracker import Tracker

#: The account of the demonstration, which the folders are shared with, and their owners.
READER = "audio-pipeline@demo.iam.gserviceaccount.com"
ANA, BOB = "ana@example.com", "bob@example.com"

#: How long recordings may take before the demonstration counts as failed, in seconds.
_PATIENCE_S = 300.0

#: The file that marks a folder as the demonstration's own, so that it may be emptied.
_MARKER = ".audio-pipeline-demo"


#: Called with the name of each recording that is being made.
OnMade = Callable[[str], None]


@dataclass
class Demo:
    """The stand-ins and their folder: ``drive/`` takes files, ``audio/`` gets the results."""

    root: Path
    world: World
    server: DriveServer
    environ: Mapping[str, str]
    items: list[Expected]
    folders: dict[str, str]
    ids: dict[str, str] = field(default_factory=dict)
    _dropped: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _taken: set[Path] = field(default_factory=set)

    @property
    def drive_folder(self) -> Path:
        """Where a file becomes a recording in the stand-in of Drive."""
        return self.root / "drive"

    def appear(self, item: Expected, on_appear: Callable[[str, str], None]) -> None:
        """Put a recording into Drive; ``on_appear`` gets its id and name first."""
        content = self.root / "recordings" / item.file
        if item.place == "shortcut":
            # Bob's recording, which Ana as a participant gets a shortcut to.
            file_id = self.world.create_file(item.name, content=content, owner=BOB)
            folder = self.world.create_folder("Customer call", parent=self.folders["Google Meet"])
            self.ids[item.name] = file_id
            on_appear(file_id, item.name)
            self.world.share(file_id, READER)
            self.world.create_shortcut(item.name, file_id, parent=folder)
            return
        top, _, name = item.place.partition("/")
        parent = self.folders[top]
        if name:
            parent = self.world.create_folder(name, parent=parent)
        with self.world.lock:  # its notification must not be faster than ``on_appear``
            file_id = self.world.create_file(item.name, content=content, parent=parent)
            self.ids[item.name] = file_id
            on_appear(file_id, item.name)

    def drop(self) -> list[tuple[str, str]]:
        """Put files that were dropped into ``drive/`` into Drive; returns ids and names.

        A file is taken when it has not changed since the last call and no process writes it.
        """
        added = []
        before, self._dropped = self._dropped, {}
        for path in sorted(self.drive_folder.rglob("*")):
            if path in self._taken or path.name.startswith(".") or not path.is_file():
                continue
            stat = path.stat()
            self._dropped[path] = (stat.st_size, stat.st_mtime_ns)
            if before.get(path) != self._dropped[path] or open_for_writing([os.fsencode(path)]):
                continue
            self._taken.add(path)
            mime_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            file_id = self.world.create_file(
                path.name,
                content=path,
                mime_type=mime_type,
                parent=self.folders["Google Meet"],
            )
            if mime_type.startswith(("video/", "audio/")):
                added.append((file_id, path.name))
        return added


@contextmanager
def prepared(
    root: Path, port: int, on_made: OnMade, is_stopped: Callable[[float], bool]
) -> Iterator[Demo]:
    """Make the recordings and run the stand-ins until the block ends.

    ``port`` is where the webhook will answer; ``clear`` has been called for ``root``.
    Raises ``KeyboardInterrupt`` when ``is_stopped``, which waits some seconds, returns true.
    """
    items = recordings.expected(datetime.now(UTC))
    for name in recordings.make(root / "recordings", is_stopped):
        on_made(name)
    on_server = [item for item in items if item.source == "sftp"]
    recordings.put_on_server(root / "recordings", root / "sftp", on_server)
    world = World(default_account=ANA)
    with ExitStack() as stack:
        server = stack.enter_context(serve(world))
        login = stack.enter_context(serving(root / "sftp"))
        folders = {}
        for name in ("Google Meet", "Legacy Meet Recordings"):
            folders[name] = world.create_folder(name, owner=ANA)
            world.share(folders[name], READER)
        key = root / "key.json"
        key.write_text(json.dumps(key_file(READER, f"{server.url}/token")))
        environ = {
            **LOOPBACK_ONLY,
            "STORAGE_URL": str(root / "audio"),
            "TRACKER_URL": f"sqlite:///{root / 'audio' / 'tracker.db'}",
            "DRIVE_API_ENDPOINT": server.endpoint,
            "DRIVE_FOLDER_IDS": ",".join(folders.values()),
            "GOOGLE_APPLICATION_CREDENTIALS": str(key),
            "WEBHOOK_URL": f"http://127.0.0.1:{port}/notify",
            "SFTP_HOST": "127.0.0.1",
            "SFTP_PORT": str(login.port),
            "SFTP_REMOTE_PATH": "/",
            "SFTP_CREDENTIALS": json.dumps(
                {
                    "username": login.username,
                    "password": login.password,
                    "known_hosts": login.known_hosts,
                }
            ),
            "LEASE_SECONDS": "9",  # the heartbeat that moves the bars is a third of it
        }
        yield Demo(root, world, server, environ, items, folders)


def clear(root: Path) -> None:
    """Remove what an earlier demonstration made, except ``drive/`` and the recordings.

    Raises ``FileExistsError`` for a folder of other origin.
    """
    root.mkdir(parents=True, exist_ok=True)
    marker = root / _MARKER
    if any(root.iterdir()) and not marker.exists():
        raise FileExistsError(f"{root} is not empty and was not made by a demonstration")
    marker.touch()
    (root / "drive").mkdir(exist_ok=True)
    for name in ("audio", "sftp"):
        shutil.rmtree(root / name, ignore_errors=True)


@dataclass(frozen=True)
class Ending:
    """How one recording ended, and what is wrong with that; empty when nothing is."""

    item: Expected
    recording: Recording | None
    problem: str


def wait_for(
    demo: Demo, tracker: Tracker, items: list[Expected], is_stopped: Callable[[float], bool]
) -> None:
    """Wait until the recordings have ended, for at most five minutes.

    ``is_stopped`` waits some seconds and returns whether to stop at once.
    """
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end and not is_stopped(0.3):
        found = _by_source_id(tracker)
        ended = [found.get(_source_id(demo, item)) for item in items]
        if all(recording and recording.status.is_final for recording in ended):
            return


def endings(demo: Demo, tracker: Tracker, storage: Storage) -> list[Ending]:
    """Compare what became of each recording with what is expected."""
    found = _by_source_id(tracker)
    rows = []
    for item in demo.items:
        recording = found.get(_source_id(demo, item))
        rows.append(Ending(item, recording, _problem(item, recording, storage)))
    return rows


def _source_id(demo: Demo, item: Expected) -> str:
    return item.name if item.source == "sftp" else demo.ids.get(item.name, "")


def _by_source_id(tracker: Tracker) -> dict[str, Recording]:
    return {recording.source_id: recording for recording in tracker.all()}


def _problem(item: Expected, recording: Recording | None, storage: Storage) -> str:
    if recording is None:
        return "was never seen"
    code = recording.error.code if recording.error else ""
    if recording.status is not item.status or (item.codes and code not in item.codes):
        return f"is {recording.status} {code}".rstrip() + f", not {item.status}"
    if recording.audio is None:
        return ""
    if abs(recording.audio.duration_s - item.seconds) > 0.5:
        return f"has {recording.audio.duration_s:.1f} s of audio, not {item.seconds:.1f} s"
    there = storage.stat(recording.audio.object)
    if there is None or there.crc32c != recording.audio.crc32c:
        return "has no audio in the storage, or other bytes"
    return ""
