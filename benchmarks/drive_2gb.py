"""A recording of 2 GB out of Drive at 40 MB/s: against its download alone and its encode alone.

    .venv/bin/python -m benchmarks.drive_2gb [--gigabytes 2] [--directory DIR]

The stand-in of Drive runs as a process, and the job of `extract_audio` works on the
recording as in the cloud, with a directory for a bucket. The limit is 1.25 times the
larger of the two.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.extract import extract
from benchmarks.measure import Cost, run
from benchmarks.recordings import plain_command
from cli.demo.drive_standin.control import RemoteWorld
from shared.adapters.local.documents import SQLiteDocuments
from shared.core.message import SourceFile
from shared.tracking.tracker import Tracker
from tests.services import READER, drive_standin

LIMIT = 1.25
BYTES_PER_S = 40_000_000
_VIDEO_S = 10
_SECONDS_PER_GB = 1800


def make(path: Path, gigabytes: float) -> None:
    """Write a recording of that size, half an hour for each gigabyte."""
    seconds = round(gigabytes * _SECONDS_PER_GB)
    loops = seconds // _VIDEO_S - 1
    rate = f"{gigabytes * 8e9 / seconds - 128_000:.0f}"
    part, sound = path.with_suffix(".part.mp4"), path.with_suffix(".sound.m4a")
    noise = f"nullsrc=s=1280x720:r=15:d={_VIDEO_S},noise=alls=60:allf=t"
    video = ("-c:v", "libx264", "-preset", "ultrafast", "-b:v", rate, "-minrate", rate)
    limits = ("-maxrate", rate, "-bufsize", rate, "-x264-params", "nal-hrd=cbr")
    run(plain_command("-y", "-f", "lavfi", "-i", noise, *video, *limits, part))
    voice = f"aevalsrc=0.3*sin(2*PI*(120+30*sin(4*t))*t)*gt(sin(2*t)\\,-0.2):s=48000:d={_VIDEO_S}"
    run(plain_command("-y", "-f", "lavfi", "-i", voice, "-ac", "2", "-c:a", "aac", sound))
    both = ("-stream_loop", str(loops), "-i", part, "-stream_loop", str(loops), "-i", sound)
    run(plain_command("-y", *both, "-map", "0:v", "-map", "1:a", "-c", "copy", path))


@contextmanager
def drive(path: Path, directory: Path) -> Iterator[tuple[str, RemoteWorld, SourceFile]]:
    """Serve the recording; yields the API's address, the world and the message."""
    with path.open("rb") as file:
        revision = hashlib.file_digest(file, "md5").hexdigest()
    with drive_standin(directory) as (port, world):
        file_id = world.create_file(path.name, content=str(path), md5=revision)
        world.set_faults(bandwidth=BYTES_PER_S)
        yield (
            f"http://127.0.0.1:{port}/drive/v3/",
            world,
            SourceFile(
                source="drive",
                source_id=file_id,
                revision=revision,
                name=path.name,
                mime_type="video/mp4",
                size_bytes=path.stat().st_size,
                created_at=datetime.now(UTC),
            ),
        )


def download_s(endpoint: str, world: RemoteWorld, item: SourceFile) -> float:
    """Return how long it takes to fetch every byte and do nothing with them."""
    token = world.issue_token(account=READER)
    request = urllib.request.Request(
        f"{endpoint}files/{item.source_id}?alt=media", headers={"Authorization": f"Bearer {token}"}
    )
    start = time.perf_counter()
    with urllib.request.urlopen(request) as answer:
        while answer.read(1 << 20):
            pass
    return time.perf_counter() - start


def from_drive(endpoint: str, world: RemoteWorld, item: SourceFile, directory: Path) -> Cost:
    """Run the job on the recording."""
    database = directory / "tracker.db"
    Tracker(SQLiteDocuments(database)).enqueue(item)
    key = directory / "key.json"
    key.write_text(json.dumps(world.key_file(account=READER)))
    environ = {
        "DRIVE_API_ENDPOINT": endpoint,
        "GOOGLE_APPLICATION_CREDENTIALS": str(key),
        "STORAGE_URL": str(directory / "bucket"),
        "TRACKER_URL": f"sqlite:///{database}",
        "RECORDING_KEY": item.key,
    }
    return run([sys.executable, "-m", "functions.extract_audio.job"], environ, memory=True)


def main() -> int:
    """Print the ratio and the peak of memory; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="drive-2gb-", dir=options.directory))
    try:
        recording = directory / "recording.mp4"
        make(recording, options.gigabytes)
        with drive(recording, directory) as (endpoint, world, item):
            whole = from_drive(endpoint, world, item, directory)
            download = download_s(endpoint, world, item)
        encode = extract(recording, "mp3", directory).wall_s
    finally:
        shutil.rmtree(directory)
    ratio = whole.wall_s / max(download, encode)
    print(f"{item.size_bytes / 1e9:.2f} GB: {whole.wall_s:.1f} s, {whole.memory_mb:.0f} MB at most")
    print(f"download alone {download:.1f} s, encode alone {encode:.1f} s")
    print(f"ratio to the larger: {ratio:.2f} (limit {LIMIT})")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
