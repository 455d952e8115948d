"""What a machine needs for the pipeline, one check each; every answer says what to do next."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

from cli.ui.error_text import sentence
from cli.ui.text import size
from shared.bootstrap import Services
from shared.config.settings import Settings
from shared.core.errors import ConfigurationError, PipelineError
from shared.core.ports import Checkable
from shared.media.ffmpeg.process import executable

_ENCODERS = ("libmp3lame", "libopus", "flac", "aac")
_EMULATORS = ("PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST", "STORAGE_EMULATOR_HOST")

#: Less than this and one long recording may fill the disk.
_ROOM = 1_000_000_000


class Level(Enum):
    """How good an answer is."""

    GOOD = "good"
    NOTE = "note"  # works, and one may want to know
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and what to do about it."""

    name: str
    level: Level
    found: str
    todo: str = ""


def all_findings(environ: dict[str, str]) -> Iterator[Finding]:
    """Yield every finding, one after the other; none of them raises."""
    yield python()
    yield ffmpeg()
    try:
        services = Services(Settings.from_environment(environ))
    except ConfigurationError as error:
        yield Finding("settings", Level.BAD, sentence(error), "Mend these variables.")
        return
    yield settings(services, environ)
    yield from _dependencies(services)
    yield from disks(services)
    yield from emulators(environ)
    yield from tools()


def python() -> Finding:
    """Tell the version of Python."""
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 14):
        return Finding("python", Level.GOOD, version)
    return Finding("python", Level.BAD, version, "Use Python 3.11 to 3.14.")


def ffmpeg() -> Finding:
    """Run the bundled FFmpeg, and look for the encoders of every preset."""
    mend = "Install it again: pip install --force-reinstall imageio-ffmpeg"
    try:
        version = _output(executable(), "-version").split()[2]
        encoders = _output(executable(), "-hide_banner", "-encoders").split()
    except (OSError, RuntimeError, IndexError, ImportError, subprocess.SubprocessError) as error:
        return Finding("ffmpeg", Level.BAD, sentence(error), mend)
    lacking = [name for name in _ENCODERS if name not in encoders]
    if lacking:
        return Finding("ffmpeg", Level.BAD, f"{version} without {', '.join(lacking)}", mend)
    return Finding("ffmpeg", Level.GOOD, f"{version} with {', '.join(_ENCODERS)}")


def _output(*command: str) -> str:
    run = subprocess.run(command, capture_output=True, check=True, timeout=20, env={})
    return run.stdout.decode(errors="replace")


def settings(services: Services, environ: dict[str, str]) -> Finding:
    """Tell which variables are set; never what they hold."""
    names = [name for name in services.settings.variables() if environ.get(name, "").strip()]
    found = f"valid; set: {', '.join(names)}" if names else "valid; all are the defaults"
    return Finding("settings", Level.GOOD, found)


def _dependencies(services: Services) -> Iterator[Finding]:
    one = services.settings
    bucket, database = one.storage_url, one.tracker_url
    place = f"gs://{bucket.bucket}" if bucket.kind == "gs" else str(Path(bucket.path).absolute())
    yield reached("storage", place, lambda: services.storage, "STORAGE_URL")
    place = (
        str(Path(database.path).absolute())
        if database.kind == "sqlite"
        else f"firestore://{database.project}/{database.database}"
    )
    yield reached("tracker", place, lambda: services.documents, "TRACKER_URL")
    if one.recordings_queue_url.kind == "pubsub":
        place = f"{one.recordings_queue_url.project}/{one.recordings_queue_url.topic}"
        queue = "recordings queue"
        yield reached(queue, place, lambda: services.recordings_queue, "RECORDINGS_QUEUE_URL")
    if one.sftp_queue_url.kind == "pubsub":
        place = f"{one.sftp_queue_url.project}/{one.sftp_queue_url.topic}"
        yield reached("sftp queue", place, lambda: services.sftp_queue, "SFTP_QUEUE_URL")
    if one.drive_subjects or one.drive_service_account or one.drive_ids or one.drive_folder_ids:
        for account in one.drive_subjects or ("",):
            place = account or "service account"
            client = partial(_drive, services, account)
            yield reached("drive", place, client, "DRIVE_SERVICE_ACCOUNT")


def _drive(services: Services, account: str) -> Checkable:
    return services.drive_clients(account)


def reached(name: str, place: str, build: Callable[[], Checkable], variable: str) -> Finding:
    """Tell whether a dependency can be built and answers, and how to mend it if not."""
    try:
        build().check()
    except Exception as error:
        return Finding(name, Level.BAD, f"{place}: {sentence(error)}", _mend(error, variable))
    return Finding(name, Level.GOOD, place)


def _mend(error: Exception, variable: str) -> str:
    if type(error).__name__ in ("DefaultCredentialsError", "RefreshError"):
        return "Log in: gcloud auth application-default login"
    if isinstance(error, PipelineError | OSError):
        return f"Mend what it says, or set {variable} to another place."
    return f"Check {variable}, the network, and that you may use it."


def disks(services: Services) -> Iterator[Finding]:
    """Tell how much room there is where files are written."""
    url = services.settings.storage_url
    places = {"room for work": Path(tempfile.gettempdir())}
    if url.kind == "file":
        places["room for audio"] = _existing(Path(url.path).absolute())
    for name, path in places.items():
        free = shutil.disk_usage(path).free
        todo = "" if free > _ROOM else "Free some space, or name another place."
        level = Level.GOOD if free > _ROOM else Level.NOTE
        yield Finding(name, level, f"{size(free)} free at {path}", todo)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def emulators(environ: dict[str, str]) -> Iterator[Finding]:
    """Tell of emulators: forgotten in a shell, they take what was meant for the cloud."""
    for name in _EMULATORS:
        if environ.get(name):
            todo = f"To use the real service: unset {name}"
            yield Finding("emulator", Level.NOTE, f"{name} is set", todo)


def tools() -> Iterator[Finding]:
    """Tell whether the tools of a deployment are here; the laptop needs neither."""
    for name, address in (
        ("gcloud", "https://cloud.google.com/sdk/docs/install"),
        ("terraform", "https://developer.hashicorp.com/terraform/install"),
    ):
        path = shutil.which(name)
        if path:
            yield Finding(name, Level.GOOD, path)
        else:
            yield Finding(name, Level.NOTE, "not installed", f"Only to deploy: {address}")


def environment() -> dict[str, str]:
    """Return the variables of this process."""
    return dict(os.environ)
