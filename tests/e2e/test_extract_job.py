"""Work that outlasts a push goes to the job, run by a stand-in of the Cloud Run Admin API."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import googleapiclient
import pytest

from shared.core.records import Status
from tests.paths import ROOT
from tests.services import AUDIO, Cloud, until

JOB = "projects/my-project/locations/europe-west1/jobs/extract-audio"


@cache
def discovery() -> Any:
    """The document that google-api-python-client carries."""
    folder = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    return json.loads((folder / "run.v2.json").read_text())


def check(schema: str, value: dict[str, Any]) -> None:
    """Raise where ``value`` has a field that the schema does not, or one of another type."""
    properties = discovery()["schemas"][schema]["properties"]
    for name, one in value.items():
        field_ = properties[name]
        if "$ref" in field_:
            check(field_["$ref"], one)
        elif field_["type"] == "array":
            for entry in one:
                check(field_["items"]["$ref"], entry)
        else:
            kinds = {"string": str, "boolean": bool, "integer": int}
            assert isinstance(one, kinds[field_["type"]]), name


@dataclass
class RunApi:
    """A stand-in of the Admin API: it checks a request and runs the real entry point."""

    env: dict[str, str]
    fail: int = 0
    url: str = ""
    keys: list[str] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, path: str, body: Any) -> int:
        method = discovery()["resources"]["projects"]["resources"]["locations"]["resources"]
        assert method["jobs"]["methods"]["run"]["path"] == "v2/{+name}:run"
        assert path == f"/v2/{JOB}:run"
        check("GoogleCloudRunV2RunJobRequest", body)
        if self.fail:
            self.fail -= 1
            return 503
        (container,) = body["overrides"]["containerOverrides"]
        variables = {one["name"]: one["value"] for one in container["env"]}
        self.keys.append(variables["RECORDING_KEY"])
        self.processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "functions.extract_audio.job"],
                cwd=ROOT,
                env={**self.env, **variables},
                stdin=subprocess.DEVNULL,
            )
        )
        return 200

    def wait(self) -> list[int]:
        return [process.wait(120) for process in self.processes]


@contextmanager
def serving(api: RunApi) -> Iterator[RunApi]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = api.run(self.path.partition("?")[0], body)
            answer = json.dumps({"name": f"{JOB}/executions/1", "done": False}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        api.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
            for process in api.processes:
                if process.poll() is None:
                    process.kill()
                process.wait()


@pytest.fixture
def api(cloud: Cloud) -> Iterator[RunApi]:
    """Google's API, and a Drive whose downloads outlast a push until it is made fast."""
    cloud.world.set_faults(bandwidth=20_000)
    with serving(RunApi(cloud.env)) as api:
        cloud.env |= {
            "EXTRACT_JOB": JOB,
            "RUN_API_ENDPOINT": api.url,
            "PUSH_LIMIT_SECONDS": "1",
        }
        yield api


def test_work_that_outlasts_a_push_is_finished_by_the_job_once(
    cloud: Cloud, clip: Path, api: RunApi
) -> None:
    item = cloud.record(clip)
    with cloud.service() as service:
        answer = service.push(item)
        assert answer.status == 204
        assert answer.seconds < 20
        assert api.keys == [item.key]
        assert cloud.recording(item).runner == "job"
        cloud.world.set_faults(bandwidth=None)
        again = service.push(item)  # before the job has claimed it, or after: no harm
        assert again.status == 204
        assert set(api.wait()) == {0}
        assert service.push(item).status == 204
    recording = cloud.recording(item)
    assert (recording.status, recording.runner) == (Status.DONE, "job")
    assert recording.attempts == 2
    assert list(cloud.audio()) == [AUDIO]


def test_a_push_that_finds_the_job_starts_it_again(cloud: Cloud, clip: Path, api: RunApi) -> None:
    item = cloud.record(clip)
    with cloud.service() as service:
        api.fail = 100
        assert service.push(item).status == 503
        recording = cloud.recording(item)
        assert (recording.status, recording.runner) == (Status.QUEUED, "job")
        assert api.keys == []
        cloud.world.set_faults(bandwidth=None)
        api.fail = 1  # one refusal is tried again at once
        assert service.push(item).status == 204
        assert api.keys == [item.key]
        assert api.wait() == [0]
    assert cloud.status(item) == "DONE"


def test_a_job_that_dies_is_started_again_by_the_next_push(
    cloud: Cloud, clip: Path, api: RunApi
) -> None:
    cloud.env["LEASE_SECONDS"] = "2"
    item = cloud.record(clip)
    with cloud.service() as service:
        assert service.push(item).status == 204
        until(lambda: cloud.recording(item).attempts == 2)
        api.processes[0].kill()
        cloud.world.set_faults(bandwidth=None)
        until(lambda: cloud.tracker.has_expired(cloud.recording(item)))
        assert service.push(item).status == 204
        assert api.keys == [item.key, item.key]
        assert api.processes[1].wait(120) == 0
    recording = cloud.recording(item)
    assert (recording.status, recording.crashes) == (Status.DONE, 1)
    assert list(cloud.audio()) == [AUDIO]


def test_a_job_gives_its_recording_back_on_sigterm_and_ignores_a_pause(
    cloud: Cloud, long_clip: Path, api: RunApi
) -> None:
    import signal

    cloud.world.set_faults(bandwidth=None)  # so that the push is over while it encodes
    item = cloud.record(long_clip)
    with cloud.service() as service:
        assert service.push(item).status == 204
        until(lambda: cloud.recording(item).attempts == 2)
        api.processes[0].send_signal(signal.SIGTSTP)
        api.processes[0].send_signal(signal.SIGTERM)
        assert api.processes[0].wait(10) == 1
    recording = cloud.recording(item)
    assert (recording.status, recording.runner) == (Status.QUEUED, "job")
    assert recording.lease_owner is None


@pytest.mark.parametrize("key", ["", "drive-nobody-knows", "a/b"])
def test_a_job_without_its_recording_reports_it(cloud: Cloud, key: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "functions.extract_audio.job"],
        cwd=ROOT,
        env={**cloud.env, "RECORDING_KEY": key},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "RECORDING_KEY" in done.stderr
    assert "Traceback" not in done.stderr
