"""The demonstration's recordings, made on the spot with the bundled FFmpeg."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.demo import sample
from shared.core.errors import Code
from shared.core.records import Status
from shared.media.ffmpeg.executable import executable

_PIECE_S = 20
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """One recording of the demonstration, and how it must end.

    ``seconds`` is its audio's length, ``place`` where it is: a path in Ana's Drive, below
    the SFTP server's directory, or ``shortcut``.
    """

    name: str
    place: str
    file: str
    status: Status = Status.DONE
    codes: frozenset[str] = frozenset()
    seconds: float = 0.0
    source: str = "drive"


def expected(now: datetime) -> list[Expected]:
    """Return what appears in Drive and on the SFTP server, in that order.

    Names are Meet's two styles, and folders this year's and last year's layout.
    """
    stamp = "%Y/%m/%d %H:%M UTC"
    day = now - timedelta(days=1)
    return [
        Expected(
            name=f"Weekly sync - {(now - _HOUR).strftime(stamp)} - Recording",
            place="Google Meet/Weekly sync",
            file="meeting-480s.mp4",
            seconds=480,
        ),
        Expected(
            name=f"Customer call ({(now - 3 * _HOUR):%Y-%m-%d at %H:%M} GMT+0)",
            place="shortcut",
            file="call-120s.mp4",
            seconds=120,
        ),
        Expected(
            name=f"Product review - {day.strftime(stamp)} - Recording",
            place="Legacy Meet Recordings",
            file="review-90s.mp4",
            seconds=90,
        ),
        Expected(
            name=f"Screen share only - {day.strftime(stamp)} - Recording",
            place="Google Meet/Screen share only",
            file="silent-60s.mp4",
            status=Status.SKIPPED,
            codes=frozenset({Code.NO_AUDIO}),
        ),
        Expected(
            name=f"Interrupted upload - {day.strftime(stamp)} - Recording",
            place="Google Meet/Interrupted upload",
            file="damaged-90s.mp4",
            status=Status.FAILED,
            codes=frozenset({Code.TRUNCATED, Code.CORRUPT}),
        ),
        Expected(name="10-17-25.wav", place="", file="hotline-90s.wav", seconds=90, source="sftp"),
        Expected(
            name="interviews/10-18-25.wav",
            place="interviews",
            file="interview-60s.wav",
            seconds=60,
            source="sftp",
        ),
        Expected(
            name="voicemail.mp3", place="", file="voicemail-30s.mp3", seconds=30, source="sftp"
        ),
    ]


def make(folder: Path, is_stopped: Callable[[float], bool]) -> Iterator[str]:
    """Make the files that are missing; yields the name of each that is made.

    ``is_stopped`` waits some seconds and returns whether to stop at once: then
    ``KeyboardInterrupt`` is raised.

    Twenty seconds are encoded, and longer files repeat them: the sound of a meeting would
    take as long to make as its audio takes to extract. One is long enough for its bar to move.
    Their names have their lengths, so that files of an older version are not taken for them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    piece = folder / "piece.mp4"
    loop = ["-stream_loop", "-1", "-i", f"file:{piece}"]
    wave = [*loop, "-vn", "-c:a", "pcm_s16le", "-f", "wav"]
    copy, index_first = [*loop, "-c", "copy", "-f", "mp4"], ["-movflags", "+faststart"]
    recipes = {
        "piece.mp4": sample.arguments(piece, _PIECE_S, "size=640x360:rate=5")[:-1],
        "meeting-480s.mp4": [*copy, "-t", "480"],
        "call-120s.mp4": [*copy, "-t", "120", *index_first],
        "review-90s.mp4": [*copy, "-t", "90"],
        "silent-60s.mp4": [*loop, "-an", "-c:v", "copy", "-t", "60", "-f", "mp4"],
        "damaged-90s.mp4": [*copy, "-t", "90", *index_first],
        "hotline-90s.wav": [*wave, "-t", "90"],
        "interview-60s.wav": [*wave, "-t", "60"],
        "voicemail-30s.mp3": [*loop, "-vn", "-b:a", "192k", "-t", "30", "-f", "mp3"],
    }
    for name, arguments in recipes.items():
        path = folder / name
        if path.exists():
            continue
        yield name
        unfinished = folder / f".{name}"
        command = [executable(), "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
        # In a session of its own: Ctrl-C on the terminal is for this process only.
        process = subprocess.Popen(
            [*command, *arguments, f"file:{unfinished}"], start_new_session=True
        )
        try:
            while process.poll() is None:
                if is_stopped(0.05):
                    raise KeyboardInterrupt
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
        if name == "damaged-90s.mp4":
            os.truncate(unfinished, unfinished.stat().st_size * 6 // 10)
        unfinished.replace(path)


def put_on_server(folder: Path, root: Path, items: list[Expected]) -> None:
    """Copy the SFTP server's files below ``root``, as they were uploaded an hour ago."""
    hour_ago = (datetime.now(UTC) - _HOUR).timestamp()
    for item in items:
        path = root / item.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((folder / item.file).read_bytes())
        os.utime(path, (hour_ago, hour_ago))
