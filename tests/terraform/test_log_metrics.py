"""The log-based metrics match the lines that the programs write.

The lines are those of the real code; the filters are those of infra/terraform/log_metrics.json,
evaluated as Cloud Logging does over what it stores of a line.
"""

from __future__ import annotations

import json
import operator
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.demo import sftp_standin
from shared.adapters.google.drive_client import DriveClient
from shared.adapters.memory import MemoryDocuments, MemoryQueue
from shared.core.errors import Code, PermanentError, PipelineError, TransientError
from shared.core.message import Source
from shared.service.receiver import Receiver
from shared.tracking import lease
from shared.tracking.claim import Claim
from shared.tracking.lease import WorkControl
from shared.tracking.requeue import Requeue
from shared.tracking.tracker import MAX_CRASHES, Tracker
from tests.drive.rig import Rig, receiving, rig_here
from tests.emulators import free_port
from tests.logs import Lines, captured
from tests.paths import ROOT
from tests.recordings import SettableClock, claimed, source_file
from tests.services import BIN, Service, envelope, until

METRICS: Mapping[str, Any] = json.loads(
    (ROOT / "infra" / "terraform" / "log_metrics.json").read_text()
)

#: What Cloud Logging takes out of a line's JSON object; the rest is the entry's jsonPayload.
#: Source: "Structured logging", https://cloud.google.com/logging/docs/structured-logging
_TAKEN_OUT = {"severity", "time", "logging.googleapis.com/trace"}

_COMPARISON = re.compile(r"(?P<field>[A-Za-z_.]+)(?P<operator>>=|<=|=|<|>)(?P<value>.+)")
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True)
class Entry:
    """What Cloud Logging stores of a line that a service or job wrote."""

    line: Mapping[str, Any]
    resource: str

    def get(self, path: str) -> Any:
        """Return a field; ``None`` for one that is not there."""
        label = "job_name" if self.resource.endswith(" job") else "service_name"
        kind = "cloud_run_job" if label == "job_name" else "cloud_run_revision"
        found: Any = {
            "severity": self.line["severity"],
            "resource": {"type": kind, "labels": {label: self.resource.removesuffix(" job")}},
            "jsonPayload": {k: v for k, v in self.line.items() if k not in _TAKEN_OUT},
        }
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found


def matches(comparison: str, entry: Entry) -> bool:
    """Return whether one comparison of a filter is true; it is false for a missing field."""
    parsed = _COMPARISON.fullmatch(comparison)
    assert parsed, f"this test does not understand {comparison}"
    found, value = entry.get(parsed["field"]), parsed["value"]
    if value.startswith("("):
        return found in [json.loads(one) for one in value.strip("()").split(" OR ")]
    wanted = json.loads(value)
    assert isinstance(wanted, str | int | float), comparison
    if type(wanted) is not str and not (type(found) is int or type(found) is float):
        return False
    return found is not None and _OPERATORS[parsed["operator"]](found, wanted)


def counted(entry: Entry) -> dict[str, Any]:
    """Return what each metric takes from an entry: its labels, and its value if it has one."""
    taken: dict[str, Any] = {}
    for name, metric in METRICS.items():
        if all(matches(comparison, entry) for comparison in metric["filter"]):
            labels = {label: entry.get(path) for label, path in metric.get("labels", {}).items()}
            taken[name] = (labels, entry.get(metric["value"])) if "value" in metric else labels
    return taken


# ── how recordings end ──

ITEM = source_file()
PROCESSED = "audio_extract_files_processed_total"
DURATION = "audio_extract_processing_duration_seconds"


class Pipeline:
    """The service's receiver over a tracker in memory; its work takes two seconds and a half."""

    def __init__(self) -> None:
        self.clock = SettableClock()
        self.tracker = Tracker(MemoryDocuments(), clock=self.clock)
        self.error: Exception | None = None
        self.receiver = Receiver(
            source=Source.DRIVE,
            tracker=self.tracker,
            work=lambda delivery: lease.run(self.tracker, delivery.item, self._work),
        )

    def _work(self, claim: Claim, control: WorkControl) -> dict[str, Any]:
        self.clock.tick(timedelta(seconds=2.5))
        if self.error:
            raise self.error
        return {}

    def push(self, error: Exception | None = None) -> None:
        self.error = error
        self.receiver.receive(envelope(ITEM.encode()))


@pytest.fixture
def lines() -> Iterator[Lines]:
    with captured() as lines:
        yield lines


@pytest.mark.parametrize("resource", ["extract-audio", "extract-audio job", "compress"])
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (None, "DONE", ""),
        (PermanentError(Code.NO_AUDIO, "x"), "SKIPPED", "no_audio"),
        (PermanentError(Code.CORRUPT, "x"), "FAILED", "corrupt"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_end_is_counted_and_timed(
    lines: Lines, resource: str, error: Exception | None, status: str, code: str
) -> None:
    Pipeline().push(error)
    (line,) = lines.all()
    assert counted(Entry(line, resource)) == {
        PROCESSED: {"status": status, "source": "drive", "code": code},
        DURATION: ({"status": status, "source": "drive"}, 2.5),
    }


def test_a_released_recording_is_not_counted(lines: Lines) -> None:
    Pipeline().push(TransientError("x"))
    (line,) = lines.all()
    assert counted(Entry(line, "extract-audio")) == {}


def test_a_duplicate_is_not_counted(lines: Lines) -> None:
    pipeline = Pipeline()
    pipeline.push()
    pipeline.push()
    assert [len(counted(Entry(line, "extract-audio"))) for line in lines.all()] == [2, 0]


def test_a_dead_letter_is_counted_and_not_timed(lines: Lines) -> None:
    pipeline = Pipeline()
    pipeline.push(TransientError("x"))
    pipeline.receiver.receive_dead(envelope(ITEM.encode()))
    taken = [counted(Entry(line, "extract-audio")) for line in lines.all()]
    labels = {"status": "FAILED", "source": "drive", "code": "dead_letter"}
    assert taken == [{}, {PROCESSED: labels}]


def test_crashes_too_many_are_counted_and_not_timed(lines: Lines) -> None:
    pipeline = Pipeline()
    for _ in range(MAX_CRASHES):
        claimed(pipeline.tracker.claim(ITEM))
        pipeline.clock.tick(timedelta(seconds=61))
        Requeue(pipeline.tracker, {"drive": MemoryQueue()}).run()
    taken = [counted(Entry(line, "maintain")) for line in lines.all()]
    labels = {"status": "FAILED", "source": "drive", "code": "gave_up"}
    assert [one for one in taken if one] == [{PROCESSED: labels}]


# ── the lines of maintain and notify ──

RUNS = "audio_watch_runs_total"
FAILED_RUNS = "audio_watch_failed_runs_total"
PUBLISHED = "audio_watch_files_published_total"
HOURS_LEFT = "audio_watch_channel_hours_left"
NEAR_EXPIRY = "audio_watch_channel_near_expiry_total"


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rig_here(tmp_path, monkeypatch) as rig:
        yield rig


def test_new_recordings_are_counted_one_by_one(rig: Rig, lines: Lines) -> None:
    rig.maintain()
    rig.video("a.mp4")
    rig.video("b.mp4")
    rig.drain()
    for resource, counts in {"notify": 2, "maintain": 2, "compress": 0}.items():
        taken = [counted(Entry(line, resource)) for line in lines.all()]
        assert sum(PUBLISHED in one for one in taken) == counts


def test_each_run_is_counted_with_its_channel(rig: Rig, lines: Lines) -> None:
    with receiving(rig):
        rig.maintain()
    rig.minute()
    beats = [counted(Entry(line, "maintain")) for line in lines.saying("maintained")]
    assert beats[0].keys() == {RUNS, HOURS_LEFT}
    assert beats[0][RUNS] == {"task": "all"}
    assert beats[0][HOURS_LEFT] == ({}, pytest.approx(168, abs=0.1))
    assert beats[1] == {RUNS: {"task": "requeue"}}


def test_a_channel_that_is_not_renewed_is_counted(
    rig: Rig, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PipelineError("the webhook's domain is not verified")

    monkeypatch.setattr(DriveClient, "watch", refused)
    with receiving(rig):
        rig.maintain()
    (beat,) = lines.saying("maintained")
    assert counted(Entry(beat, "maintain")) == {
        RUNS: {"task": "all"},
        FAILED_RUNS: {"task": "all"},
        HOURS_LEFT: ({}, 0.0),
        NEAR_EXPIRY: {},
    }


def test_without_a_webhook_no_channel_is_missed(rig: Rig, lines: Lines) -> None:
    rig.maintain()
    (beat,) = lines.saying("maintained")
    assert counted(Entry(beat, "maintain")) == {RUNS: {"task": "all"}}


# ── the lines of the nightly run ──


@contextmanager
def nightly(directory: Path, folder: Path) -> Iterator[Service]:
    """Run the deployed entry point against an SFTP server of this process."""
    with sftp_standin.serving(folder) as login:
        secret = {
            "username": login.username,
            "password": login.password,
            "known_hosts": login.known_hosts,
        }
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "LOG_FORMAT": "json",
            "TRACKER_URL": f"sqlite:///{directory / 'tracker.db'}",
            "STORAGE_URL": str(directory / "bucket"),
            "SFTP_HOST": "127.0.0.1",
            "SFTP_PORT": str(login.port),
            "SFTP_REMOTE_PATH": "/",
            "SFTP_CREDENTIALS": json.dumps(secret),
        }
        port, log = free_port(), directory / "nightly.log"
        command = [str(BIN / "functions-framework"), "--host=127.0.0.1", f"--port={port}"]
        command += ["--source=functions/sftp_compress/main.py", "--target=nightly"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        service = Service(process, port, log)
        try:
            until(lambda: service.get("/").status == 405, what="an answer")
            yield service
        finally:
            service.close()


def test_nights_are_counted_by_how_they_went(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    with nightly(tmp_path, folder) as service:
        assert service.post(b"{}").status == 500
        (folder / "a.wav").write_bytes(b"RIFF")
        os.utime(folder / "a.wav", (1_700_000_000, 1_700_000_000))
        assert service.post(b"{}").status == 200
        taken = [counted(Entry(line, "nightly")) for line in service.log_lines]
    assert [one for one in taken if one] == [
        {"audio_nightly_failures_total": {"code": "empty_directory"}},
        {
            "audio_nightly_files_found": ({}, 1),
            "audio_nightly_files_queued": ({}, 1),
            "audio_nightly_runs_total": {},
        },
    ]


def test_every_metric_is_compared_with_a_line() -> None:
    """A metric that is added needs a line of its own above."""
    tested = Path(__file__).read_text()
    assert [name for name in METRICS if f'"{name}"' not in tested] == []
