"""Fixtures of the tests that run the services as processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulators import are_installed
from tests.media.clips import run, speech
from tests.pubsub import publisher
from tests.services import Cloud, local_cloud
from tests.services import cloud as running_cloud


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A meeting of three seconds."""
    path = tmp_path_factory.mktemp("clips") / "meeting.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=5:d=3", "-c:v", "libx264"]
    run(*speech(3, 44100, 2), *picture, "-preset", "ultrafast", "-c:a", "aac", path)
    return path


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of sound without a picture."""
    path = tmp_path_factory.mktemp("clips") / "tiny.m4a"
    run(*speech(1, 16000, 1), "-c:a", "aac", path)
    return path


@pytest.fixture(scope="session")
def heavy_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds in many megabytes, several blocks of the read-ahead: a picture of noise."""
    path = tmp_path_factory.mktemp("clips") / "heavy.mp4"
    noise = ["-f", "lavfi", "-i", "nullsrc=s=640x360:r=20:d=3,noise=alls=100:allf=t"]
    options = ["-c:v", "libx264", "-preset", "ultrafast", "-qp", "1", "-c:a", "aac"]
    run(*speech(3, 44100, 2), *noise, *options, path)
    return path


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Near silence, small for its length: downloaded at once, encoded for seconds."""
    path = tmp_path_factory.mktemp("clips") / "long.mkv"
    minute = path.with_name("minute.mkv")
    run("-f", "lavfi", "-i", "sine=f=50:r=48000:d=60,volume=0.0001", "-c:a", "flac", minute)
    run("-stream_loop", "14", "-i", minute, "-c", "copy", path)
    return path


@pytest.fixture
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cloud]:
    """Emulators, an empty bucket, project and Drive, and the environment that names them.

    Where emulators are missing: SQLite, a directory and the local queue. A parameter,
    ``google`` or ``local``, decides it instead.
    """
    kind = getattr(request, "param", "google" if are_installed() else "local")
    if kind == "local":
        with local_cloud(tmp_path) as made:
            yield made
        return
    names = (
        "firestore_emulator",
        "pubsub_emulator",
        "gcs_emulator",
        "gcs_bucket",
        "firestore_project",
        "pubsub_project",
    )
    found = [request.getfixturevalue(name) for name in names]
    with running_cloud(tmp_path, *found[:5]) as made:
        yield made


@pytest.fixture
def emulators(firestore_emulator: str, pubsub_emulator: str, gcs_emulator: str) -> None:
    """For tests that need an emulator itself: they are skipped where it is missing."""


@pytest.fixture
def recordings_topic(cloud: Cloud, emulators: None) -> str:
    """The topic of the recordings, on the emulator."""
    name = f"projects/{cloud.project}/topics/recordings"
    publisher().create_topic(name=name)
    return name
