"""The checks of ``doctor``, one for each thing that the pipeline needs. None creates a file."""

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

from cli.ui.error_text import error_text
from cli.ui.text import size
from shared.bootstrap import Services
from shared.config.settings import Settings
from shared.core.errors import ConfigurationError, PipelineError
from shared.core.ports import Checkable
from shared.media.ffmpeg.executable import check_executable, executable
from shared.media.ffmpeg.limits import available_memory, memory_share
from shared.media.ffmpeg.sandbox import features

_ENCODERS = ("libmp3lame", "libopus", "flac", "aac")
_EMULATORS = ("PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST", "STORAGE_EMULATOR_HOST")

#: With less free space than this, one long recording may fill the disk.
_ROOM = 1_000_000_000


class Severity(Enum):
    """How serious a finding is."""

    GOOD = "good"
    NOTE = "note"  # works, but you may want to know
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One line: what was checked, what was found, and what to do about it."""

    name: str
    severity: Severity
    found: str
    todo: str = ""


def all_findings(environ: dict[str, str]) -> Iterator[Finding]:
    """Yield every finding, one after the other; no check raises."""
    yield python()
    yield ffmpeg()
    yield sandbox()
    try:
        services = Services(Settings.from_environment(environ), read_only=True)
    except ConfigurationError as error:
        yield Finding("settings", Severity.BAD, error_text(error), "Fix these variables.")
        return
    yield settings(services, environ)
    yield from _dependencies(services)
    yield from quotas(services)
    yield from disks(services)
    yield from emulators(environ)
    yield from tools()


def python() -> Finding:
    """Check the version of Python."""
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 14):
        return Finding("python", Severity.GOOD, version)
    return Finding("python", Severity.BAD, version, "Use Python 3.11 to 3.14.")


def ffmpeg() -> Finding:
    """Run the bundled FFmpeg, and check for the encoders of every preset."""
    fix = "Install it again: pip install --force-reinstall imageio-ffmpeg"
    try:
        check_executable()
    except ConfigurationError as error:
        return Finding("ffmpeg", Severity.BAD, error_text(error), fix)
    try:
        version = _output(executable(), "-version").split()[2]
        encoders = _output(executable(), "-hide_banner", "-encoders").split()
    except (OSError, RuntimeError, IndexError, ImportError, subprocess.SubprocessError) as error:
        return Finding("ffmpeg", Severity.BAD, error_text(error), fix)
    lacking = [name for name in _ENCODERS if name not in encoders]
    if lacking:
        return Finding("ffmpeg", Severity.BAD, f"{version} without {', '.join(lacking)}", fix)
    return Finding("ffmpeg", Severity.GOOD, f"{version} with {', '.join(_ENCODERS)}")


def sandbox() -> Finding:
    """Name what keeps FFmpeg from the rest of this system."""
    active = features()
    if active.missing:
        todo = "Untrusted files are safest on Linux 6.7 or later, on x86-64."
        return Finding("sandbox", Severity.NOTE, "; ".join(active.missing), todo)
    share = memory_share(available_memory())
    return Finding(
        "sandbox",
        Severity.GOOD,
        f"FFmpeg reaches no network and no other files, and may use {size(share)} of memory",
    )


def _output(*command: str) -> str:
    run = subprocess.run(command, capture_output=True, check=True, timeout=20, env={})
    return run.stdout.decode(errors="replace")


def settings(services: Services, environ: dict[str, str]) -> Finding:
    """List the variables that are set, never their values."""
    names = [name for name in services.settings.variables() if environ.get(name, "").strip()]
    found = f"valid; set: {', '.join(names)}" if names else "valid; all are the defaults"
    return Finding("settings", Severity.GOOD, found)


def _dependencies(services: Services) -> Iterator[Finding]:
    one = services.settings
    bucket, database = one.storage_url, one.tracker_url
    if bucket.kind == "file":
        path = Path(bucket.path).absolute()
        yield local("storage", path, lambda: services.storage, "STORAGE_URL")
    else:
        place = f"gs://{bucket.bucket}"
        yield reached("storage", place, lambda: services.storage, "STORAGE_URL")
    if database.kind == "sqlite":
        path = Path(database.path).absolute()
        yield local("tracker", path, lambda: services.documents, "TRACKER_URL")
    else:
        place = f"firestore://{database.project}/{database.database}"
        yield reached("tracker", place, lambda: services.documents, "TRACKER_URL")
    if one.recordings_queue_url.kind == "pubsub":
        place = f"{one.recordings_queue_url.project}/{one.recordings_queue_url.topic}"
        queue = "recordings queue"
        yield reached(queue, place, lambda: services.recordings_queue, "RECORDINGS_QUEUE_URL")
    if one.sftp_queue_url.kind == "pubsub":
        place = f"{one.sftp_queue_url.project}/{one.sftp_queue_url.topic}"
        yield reached("sftp queue", place, lambda: services.sftp_queue, "SFTP_QUEUE_URL")
    if services.results:
        # A webhook's path may contain a token.
        url = one.results_queue_url
        place = f"{url.project}/{url.topic}" if url and url.topic else "the address in the settings"
        yield reached("results", place, partial(_build_results, services), "RESULTS_QUEUE_URL")
    if one.drive_subjects or one.drive_service_account or one.drive_ids or one.drive_folder_ids:
        for account in one.drive_subjects or ("",):
            client = partial(services.drive_clients, account)
            yield reached("drive", account or "service account", client, "DRIVE_SERVICE_ACCOUNT")


def _build_results(services: Services) -> Checkable:
    assert services.results
    return services.results


def quotas(services: Services) -> Iterator[Finding]:
    """Name the quota that stops a deployment or a backlog, where the settings are a cloud's.

    Reading it needs a role that is not needed otherwise. The figures are those of new
    projects: googlecodelabs/feedback, issues 1856 and 2311.
    """
    if services.settings.tracker_url.kind != "firestore":
        return
    found = "Cloud Run gives a new project 20 vCPU and 40 GiB in a region: 10 recordings at a time"
    todo = (
        "For more: console, IAM & Admin, Quotas: CpuAllocPerProjectRegion and "
        "MemAllocPerProjectRegion of run.googleapis.com; then extract_max_instances."
    )
    yield Finding("cloud run quota", Severity.NOTE, found, todo)


def reached(name: str, place: str, build: Callable[[], Checkable], variable: str) -> Finding:
    """Check that a dependency can be built and answers."""
    try:
        build().check()
    except Exception as error:
        found = f"{place}: {error_text(error)}"
        if type(error).__name__ in ("DefaultCredentialsError", "RefreshError"):
            todo = "Log in: gcloud auth application-default login"
        elif isinstance(error, PipelineError | OSError):
            todo = f"Fix the error above, or set {variable} to another place."
        else:
            todo = f"Check {variable}, the network, and your permissions."
        return Finding(name, Severity.BAD, found, todo)
    return Finding(name, Severity.GOOD, place)


def local(name: str, path: Path, build: Callable[[], Checkable], variable: str) -> Finding:
    """Check a local path; one that does not exist is not created."""
    if os.path.lexists(path):
        return reached(name, str(path), build, variable)
    parent = _existing(path)
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        return Finding(name, Severity.GOOD, f"{path} (created at the first recording)")
    what = "permission denied" if parent.is_dir() else "not a directory"
    todo = f"Set {variable} to another place."
    return Finding(name, Severity.BAD, f"{path}: cannot be created in {parent}: {what}", todo)


def disks(services: Services) -> Iterator[Finding]:
    """Check the free space where files are written."""
    url = services.settings.storage_url
    places = [("space for work", Path(tempfile.gettempdir()), "TMPDIR")]
    if url.kind == "file":
        places.append(("space for audio", _existing(Path(url.path).absolute()), "STORAGE_URL"))
    for name, path, variable in places:
        free = shutil.disk_usage(path).free
        todo = "" if free > _ROOM else f"Free some space, or set {variable} to another place."
        severity = Severity.GOOD if free > _ROOM else Severity.NOTE
        yield Finding(name, severity, f"{size(free)} free at {path}", todo)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def emulators(environ: dict[str, str]) -> Iterator[Finding]:
    """List emulators that are set: they receive what is meant for the cloud."""
    for name in _EMULATORS:
        if environ.get(name):
            todo = f"To use the real service: unset {name}"
            yield Finding("emulator", Severity.NOTE, f"{name} is set", todo)


def tools() -> Iterator[Finding]:
    """Check for the tools of a deployment; a laptop needs neither."""
    for name, address in (
        ("gcloud", "https://cloud.google.com/sdk/docs/install"),
        ("terraform", "https://developer.hashicorp.com/terraform/install"),
    ):
        path = shutil.which(name)
        if path:
            yield Finding(name, Severity.GOOD, path)
        else:
            yield Finding(name, Severity.NOTE, "not installed", f"Needed only to deploy: {address}")
