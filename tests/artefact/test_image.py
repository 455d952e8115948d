"""The image of extract_audio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.artefact import archives, images
from tests.artefact.deployed import EXTRACT, PROJECT, Deployed
from tests.artefact.images import Image
from tests.dockerfile import EXTRACT as DOCKERFILE
from tests.emulators import make_bucket
from tests.pubsub import make_topic
from tests.services import envelope

# The first test waits for pip.
pytestmark = pytest.mark.slow(25)

JOB = f"projects/{PROJECT}/locations/europe-west1/jobs/extract-audio"


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, on_emulators: dict[str, str]) -> Image:
    return images.build(DOCKERFILE, tmp_path_factory.mktemp("image"), on_emulators | EXTRACT)


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


def test_it_starts_before_its_dependencies(image: Image) -> None:
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


def test_it_has_only_pinned_packages_and_no_installer(image: Image) -> None:
    names = images.packages(image)

    # The command's packages are not the function's.
    assert names.isdisjoint({"asyncssh", "cronsim", "paramiko", "rich"})
    assert "imageio-ffmpeg" in names


def test_the_job_reports_a_missing_key(image: Image) -> None:
    command = image.program("python", "-m", "functions.extract_audio.job")
    done = archives.run(command, image.directory, {**image.env, "CLOUD_RUN_JOB": "extract-audio"})

    assert done.returncode == 2
    assert "RECORDING_KEY names no recording" in done.stderr


def test_the_job_reports_a_wrong_environment(image: Image) -> None:
    command = image.program("python", "-m", "functions.extract_audio.job")
    done = archives.run(command, image.directory, {**image.env, "AUDIO_PRESET": "tape"})

    assert done.returncode == 2
    assert done.stderr.startswith("extract_audio cannot start:\nAUDIO_PRESET must be mp3, ")
