"""The extraction service as a process: what a delivery leaves behind, and what it answers."""

from __future__ import annotations

import json
import urllib.parse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.core import naming
from shared.core.message import SourceFile
from shared.core.records import Status
from shared.tracking.final_status import ENDED
from tests.services import AUDIO, NAME, Cloud, Service, ask, envelope, item_of, until

WAVEFORM = naming.waveform_object(AUDIO)


def described(cloud: Cloud, name: str) -> Any:
    """Return an object's description by the bucket itself."""
    address = cloud.env["STORAGE_EMULATOR_HOST"]
    quoted = urllib.parse.quote(name, safe="")
    return ask(f"{address}/storage/v1/b/{cloud.bucket}/o/{quoted}").json


def outcomes(service: Service) -> list[str]:
    """Return how the deliveries ended, by the service's own log."""
    said = [line for line in service.log_lines if line["message"].startswith("recording ")]
    return [
        line["status"].lower() if line["message"] == ENDED else line["message"].split()[1]
        for line in said
    ]


@pytest.mark.parametrize("cloud", ["google", "local"], indirect=True)
def test_a_delivery_makes_one_object_and_one_document(cloud: Cloud, clip: Path) -> None:
    item = cloud.record(clip)
    with cloud.service() as service:
        answer = service.push(item)
    assert (answer.status, answer.body) == (204, b""), service.log
    recording = cloud.recording(item)
    stored = cloud.objects()[AUDIO]
    assert recording.status is Status.DONE
    assert recording.audio is not None
    assert recording.gcs_path == AUDIO
    if cloud.bucket:
        assert recording.gcs_url == f"gs://{cloud.bucket}/{AUDIO}"
    assert (recording.audio.crc32c, recording.audio.bytes) == (stored.crc32c, stored.bytes)
    assert abs(recording.audio.duration_s - 3) < 0.1
    assert (recording.attempts, recording.lease_owner, recording.runner) == (1, None, "push")


@pytest.mark.usefixtures("emulators")
def test_objects_have_the_metadata_of_the_console(cloud: Cloud, clip: Path) -> None:
    item = cloud.record(clip)
    with cloud.service() as service:
        service.push(item)
    now = datetime.now(UTC)
    log = f"dev/metadata/processing-logs/{now:%Y/%m/%d}/{item.key}.json"
    kinds = {AUDIO: "audio/mpeg", WAVEFORM: "image/png", log: "application/json"}
    assert cloud.objects().keys() == kinds.keys()
    for name, kind in kinds.items():
        one = described(cloud, name)
        assert one["contentType"] == kind
        assert one["cacheControl"] == "private, max-age=3600"
        own = {
            "key": item.key,
            "source": "drive",
            "source_id": item.source_id,
            "revision": item.revision,
        }
        about = {"title", "recorded_at", "duration_s", "source_url"} if name == AUDIO else set()
        assert one["metadata"].items() >= own.items()
        assert one["metadata"].keys() == own.keys() | about
    entry = json.load(cloud.storage.open(log))
    assert entry["key"] == item.key
    assert entry["audio"]["object"] == AUDIO
    assert entry["settings"]["preset"] == "mp3"
    assert entry["stages_s"].keys() == {"probe", "encode", "verify", "chunks", "publish"}


def test_a_duplicate_does_no_work(cloud: Cloud, clip: Path) -> None:
    item = cloud.record(clip)
    with cloud.service() as service:
        service.push(item)
        before = cloud.objects()[AUDIO].generation
        assert service.push(item).status == 204
    assert cloud.objects()[AUDIO].generation == before
    assert cloud.recording(item).attempts == 1


def test_the_same_message_twenty_times_at_once_to_four_processes(cloud: Cloud, clip: Path) -> None:
    item = cloud.record(clip)
    services = [cloud.start() for _ in range(4)]
    try:
        pushed = [services[n % 4].pushing(item) for n in range(20)]
        statuses = [one.result().status for one in pushed]
    finally:
        for service in services:
            service.close()
    assert statuses == [204] * 20
    assert cloud.status(item) == "DONE"
    assert list(cloud.audio()) == [AUDIO]
    assert cloud.recording(item).attempts == 1
    assert sum(outcomes(one).count("done") for one in services) == 1


def test_a_message_may_come_before_its_document(cloud: Cloud, clip: Path) -> None:
    item = cloud.record(clip)
    with cloud.service() as service:
        assert service.push(item).status == 204
        assert not cloud.tracker.enqueue(item), "the slower publisher must not overwrite"
        assert service.push(item).status == 204
    assert cloud.status(item) == "DONE"
    assert list(cloud.audio()) == [AUDIO]


def test_a_file_renamed_while_it_waits_keeps_its_object(cloud: Cloud, clip: Path) -> None:
    item = cloud.record(clip)
    cloud.tracker.enqueue(item)
    cloud.world.rename(item.source_id, "Another name - 2030/01/01 10:00 CST - Recording")
    renamed = item_of(item.source_id, clip, "Another name - 2030/01/01 10:00 CST - Recording")
    with cloud.service() as service:
        assert service.push(renamed).status == 204
        assert service.push(item).status == 204
    assert list(cloud.audio()) == [AUDIO]
    assert cloud.recording(item).name == NAME


def test_a_file_replaced_while_it_waits_is_done_in_its_new_revision(
    cloud: Cloud, clip: Path, long_clip: Path
) -> None:
    old = cloud.record(long_clip)
    cloud.tracker.enqueue(old)
    cloud.world.new_revision(old.source_id, str(clip))
    new = item_of(old.source_id, clip)
    with cloud.service() as service:
        assert service.push(old).status == 204
        assert service.push(new).status == 204
    recording = cloud.recording(old)
    assert (recording.status, recording.error and recording.error.code) == (
        Status.SKIPPED,
        "superseded",
    )
    assert cloud.status(new) == "DONE"
    assert [one.metadata["key"] for one in cloud.audio().values()] == [new.key]


def test_a_forced_message_does_it_again_once(cloud: Cloud, clip: Path) -> None:
    item = cloud.record(clip)
    with cloud.service() as service:
        service.push(item)
        forced = SourceFile(**{**vars(item), "force": True})
        published = datetime.now(UTC)
        assert service.push(forced, published).status == 204
        assert service.push(forced, published).status == 204
        assert outcomes(service) == ["done", "done", "duplicate"]
    assert list(cloud.audio()) == [AUDIO]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [(b"", "FAILED", "corrupt"), (b"#EXTM3U\nhttp://127.0.0.1:1/\n", "FAILED", "not_a_recording")],
)
def test_a_recording_that_can_never_become_audio_is_acknowledged(
    cloud: Cloud, tmp_path: Path, content: bytes, status: str, code: str
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(content)
    item = cloud.record(bad)
    with cloud.service() as service:
        assert service.push(item).status == 204
        assert service.metric(f'audio_extract_files_processed_total{{status="{status}"}}') == 1
    recording = cloud.recording(item)
    assert (recording.status.value, recording.error and recording.error.code) == (status, code)
    assert cloud.objects() == {}


class TestEndpoints:
    @pytest.fixture
    def service(self, cloud: Cloud, recordings_topic: str) -> Any:
        with cloud.service() as service:
            yield service

    def test_live(self, service: Service) -> None:
        assert service.get("/live").status == 200

    def test_health_asks_every_part(self, service: Service) -> None:
        answer = service.get("/health")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json.keys() == {"status", "components"}
        assert answer.json["status"] == "ok"
        assert answer.json["components"].keys() == {"ffmpeg", "storage", "tracker", "queue"}
        for part in answer.json["components"].values():
            assert part.keys() == {"ok", "message", "ms"}
            assert (part["ok"], type(part["message"]), type(part["ms"])) == (True, str, int)

    def test_ready_checks_the_needs_of_a_delivery(self, service: Service) -> None:
        answer = service.get("/ready")
        assert answer.status == 200
        assert answer.json["components"].keys() == {"ffmpeg", "storage", "tracker"}

    def test_metrics(self, cloud: Cloud, clip: Path, service: Service) -> None:
        done = 'audio_extract_files_processed_total{status="DONE"}'
        assert service.metric(done) == 0
        service.push(cloud.record(clip))
        assert service.metric(done) == 1
        assert service.metric("audio_extract_processing_duration_seconds_count") == 1
        assert service.metric("audio_extract_active_downloads") == 0
        assert service.metric("audio_extract_messages_rejected_total") == 0
        assert service.get("/metrics").headers["Content-Type"].startswith("text/plain; version=")

    def test_a_download_is_counted_while_it_lasts(
        self, cloud: Cloud, clip: Path, service: Service
    ) -> None:
        cloud.world.set_faults(bandwidth=20_000)
        pushed = service.pushing(cloud.record(clip))
        until(lambda: service.metric("audio_extract_active_downloads") == 1)
        cloud.world.set_faults(bandwidth=None)
        assert pushed.result().status == 204

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [("GET", "/", 405), ("POST", "/health", 405), ("GET", "/nothing", 404)],
    )
    def test_nothing_else_is_answered(
        self, service: Service, method: str, path: str, status: int
    ) -> None:
        answer = ask(service.url + path, b"{}" if method == "POST" else None)
        assert (answer.status, answer.body) == (status, b"")

    def test_a_source_of_another_service_is_rejected(self, cloud: Cloud, service: Service) -> None:
        item = SourceFile(
            source="sftp",
            source_id="a.wav",
            revision="1-1",
            name="a.wav",
            mime_type="audio/wav",
            size_bytes=1,
            created_at=datetime.now(UTC) - timedelta(days=1),
        )
        assert service.post(envelope(item.encode())).status == 204
        assert service.metric("audio_extract_messages_rejected_total") == 1
        assert cloud.tracker.get(item.key) is None


def test_a_wrong_environment_is_reported_at_the_start(cloud: Cloud) -> None:
    with (
        pytest.raises(AssertionError, match="did not start") as failure,
        cloud.service(AUDIO_PRESET="loud", LEASE_SECONDS="-1"),
    ):
        pass
    said = str(failure.value)
    assert "AUDIO_PRESET" in said
    assert "LEASE_SECONDS" in said
    assert "Traceback" not in said
