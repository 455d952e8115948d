"""The image's steps, done in a directory in place of a container, and what they make."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.artefact import archives, deployed
from tests.artefact.deployed import EXTRACT, PROJECT, Deployed
from tests.dockerfile import BUILD, FINAL, arguments
from tests.emulators import make_bucket
from tests.paths import ROOT
from tests.pubsub import make_topic
from tests.services import envelope

# The first test waits for pip.
pytestmark = pytest.mark.slow

JOB = f"projects/{PROJECT}/locations/europe-west1/jobs/extract-audio"


@dataclass(frozen=True)
class Image:
    """What the image has in ``WORKDIR``, and the environment that it gives its programs."""

    directory: Path
    env: Mapping[str, str]

    def program(self, *command: str) -> list[str]:
        """Return a command whose program is found as the image's ``PATH`` finds it."""
        found = shutil.which(command[0], path=self.env["PATH"])
        assert found is not None
        assert Path(found).is_relative_to(self.directory), command[0]
        return [found, *command[1:]]

    def serve(self, **env: str) -> AbstractContextManager[Deployed]:
        """Run what the image runs by itself."""
        (command,) = arguments(FINAL, "CMD")
        log = self.directory.with_name("service.log")
        return deployed.serving(
            self.program(*json.loads(command)), self.directory, {**self.env, **env}, log
        )


def context(directory: Path) -> None:
    """Make the build's context: what .dockerignore lets in."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (line[1:] for line in lines if line.startswith("!")):
        copy(ROOT / name, directory / name)


def copy(source: Path, target: Path) -> None:
    """Copy as ``COPY`` does: the content of a directory, a file by its name."""
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def build(base: Path) -> Path:
    """Do the steps of the first stage, and the copies of the last; returns its ``WORKDIR``."""
    there, here, app = base / "context", base / "src", base / "app"
    context(there)
    for name, text in BUILD:
        if name == "COPY":
            *sources, target = text.split()
            for source in sources:
                into = here / target / source if target.endswith("/") else here / target
                copy(there / source, into)
        elif name == "RUN":
            install(text.replace("/app/", f"{app}/"), here)
    for text in arguments(FINAL, "COPY"):
        if text.startswith("--from=build"):
            assert text == "--from=build /app/.venv .venv"  # which is there already
        else:
            source, target = text.split()
            copy(there / source, app / target)
    return app


def install(command: str, cwd: Path) -> None:
    """Run a step's shell command with the Python of the tests in place of the image's."""
    env = archives.clean()
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", command], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    archives.check_installed(done)


@pytest.fixture(scope="session")
def image(
    tmp_path_factory: pytest.TempPathFactory,
    firestore_emulator: str,
    pubsub_emulator: str,
    gcs_emulator: str,
) -> Image:
    directory = build(tmp_path_factory.mktemp("image"))
    env = deployed.first_deployment(
        FIRESTORE_EMULATOR_HOST=firestore_emulator,
        PUBSUB_EMULATOR_HOST=pubsub_emulator,
        STORAGE_EMULATOR_HOST=gcs_emulator,
    )
    (given,) = arguments(FINAL, "ENV")
    for pair in given.split():
        name, value = pair.split("=", 1)
        env[name] = value.replace("/app/", f"{directory}/").replace("$PATH", env["PATH"])
    return Image(directory, env | EXTRACT)


@pytest.fixture
def service(image: Image, gcs_emulator: str, pubsub_project: str) -> Iterator[Deployed]:
    make_topic(pubsub_project, "recordings")
    named = {
        "STORAGE_URL": f"gs://{make_bucket(gcs_emulator)}",
        "RECORDINGS_QUEUE_URL": f"pubsub://{pubsub_project}/recordings",
        "EXTRACT_JOB": JOB,
        "PUSH_LIMIT_SECONDS": "540",
        "K_SERVICE": "extract-audio",
    }
    with image.serve(**named) as running:
        yield running


def test_it_is_alive_and_well(service: Deployed) -> None:
    assert service.get("/live").status == 200
    assert service.get("/ready").status == 200
    health = service.get("/health")

    assert (health.status, health.json["status"]) == (200, "ok")
    assert set(health.json["components"]) == {"ffmpeg", "storage", "tracker", "queue"}


def test_it_drops_poison(service: Deployed) -> None:
    assert service.post(b"{not an envelope").status == 204
    assert service.post(envelope(b'{"schema": 99}')).status == 204


def test_it_starts_before_what_it_needs_is_there(image: Image) -> None:
    with image.serve(K_SERVICE="extract-audio", STORAGE_URL="gs://no-such-bucket-here") as running:
        assert running.get("/live").status == 200
        health = running.get("/health")
        assert health.status == 503
        assert health.json["components"]["ffmpeg"]["ok"]
        assert not health.json["components"]["storage"]["ok"]


def test_its_code_is_its_own_and_so_is_its_ffmpeg(image: Image) -> None:
    script = (
        "import shared, functions.extract_audio.main, shared.media.ffmpeg.process, imageio_ffmpeg\n"
        "print(shared.__file__, functions.extract_audio.main.__file__,"
        " imageio_ffmpeg.get_ffmpeg_exe(), sep='\\n')"
    )
    done = archives.run(image.program("python", "-c", script), image.directory, image.env)

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 3
    assert all(Path(line).is_relative_to(image.directory) for line in done.stdout.split())


def test_it_has_what_is_pinned_and_nothing_that_installs(image: Image) -> None:
    listed = archives.pip(
        Path(sys.executable), "--python", str(image.directory / ".venv"), "freeze", cwd=ROOT
    )
    pinned = set((ROOT / "constraints.txt").read_text().split())
    others = {line for line in listed.splitlines() if line not in pinned}

    assert all(line.startswith("audio-pipeline @ file:") for line in others), others
    assert not list((image.directory / ".venv" / "bin").glob("pip*"))


def test_the_job_says_what_it_was_not_told(image: Image) -> None:
    command = image.program("python", "-m", "functions.extract_audio.job")
    done = archives.run(command, image.directory, {**image.env, "CLOUD_RUN_JOB": "extract-audio"})

    assert done.returncode == 2
    assert "RECORDING_KEY names no recording" in done.stderr


def test_the_job_says_what_is_wrong_with_its_environment(image: Image) -> None:
    command = image.program("python", "-m", "functions.extract_audio.job")
    done = archives.run(command, image.directory, {**image.env, "AUDIO_PRESET": "tape"})

    assert done.returncode == 2
    assert re.match(r"extract_audio cannot start:\nAUDIO_PRESET is not", done.stderr)
