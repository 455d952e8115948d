"""A function or an image as it runs when deployed, with the environment that Terraform gives."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.artefact.archives import clean
from tests.emulators import free_port
from tests.services import Answer, ask, until

PROJECT = "my-project"


@dataclass(frozen=True)
class Deployed:
    """One running instance."""

    process: subprocess.Popen[bytes]
    url: str
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def post(self, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        return ask(f"{self.url}/", body, headers=headers)

    def get(self, path: str = "/") -> Answer:
        return ask(self.url + path)

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"it did not start:\n{self.log}")
        return self.get("/").status != 0

    def kill(self) -> None:
        """Kill it with everything that it started: it has its own session."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def serving(command: list[str], cwd: Path, env: Mapping[str, str], log: Path) -> Iterator[Deployed]:
    """Run an HTTP server on the port that Cloud Run gives it, until the block ends."""
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host=127.0.0.1"],
            cwd=cwd,
            env={**env, "PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = Deployed(process, f"http://127.0.0.1:{port}", log)
    try:
        until(running.answers, what="an answer")
        yield running
    finally:
        running.kill()


def first_deployment(**emulators: str) -> dict[str, str]:
    """Return what settings.tf gives every program by default.

    ``emulators`` are the variables that point Google's clients at them.
    """
    return clean(
        PIPELINE_ENV="dev",
        LEASE_SECONDS="60",
        STORAGE_URL=f"gs://{PROJECT}-audio",
        TRACKER_URL=f"firestore://{PROJECT}/audio-pipeline",
        RECORDINGS_QUEUE_URL=f"pubsub://{PROJECT}/recordings",
        SFTP_QUEUE_URL=f"pubsub://{PROJECT}/sftp-files",
        NO_GCE_CHECK="true",  # google-auth: do not look for a metadata server
        **emulators,
    )


DRIVE = {"DRIVE_SERVICE_ACCOUNT": f"audio-drive-reader@{PROJECT}.iam.gserviceaccount.com"}
MEDIA = {"AUDIO_PRESET": "mp3", "CHUNK_MAX_MB": "0", "MAX_DURATION_HOURS": "12"}
#: Cloud Functions would set it to true.
FUNCTION = {"LOG_EXECUTION_ID": "false"}
RESULTS = {"RESULTS_QUEUE_URL": f"pubsub://{PROJECT}/results"}
DASHBOARD = {**DRIVE, "IAP_AUDIENCE": "/projects/1/locations/europe-west1/services/dashboard"}
NOTIFY = {**DRIVE, "WATCH_LIMIT_SECONDS": "50"}
MAINTAIN = {
    **DRIVE,
    **RESULTS,
    "CHANNEL_TTL_HOURS": "168",
    "WATCH_LIMIT_SECONDS": "840",
    "WEBHOOK_URL": "https://notify-abc123-ew.a.run.app",
}
SFTP = {
    **RESULTS,
    "BITRATE": "32k",
    "CHANNELS": "1",
    "MAX_DURATION_HOURS": "12",
    "OUTPUT_DIR": "compressed",
    "OUTPUT_FORMAT": "wav",
    "PUSH_LIMIT_SECONDS": "540",
    "SAMPLE_RATE": "16000",
    "SFTP_CREDENTIALS": "{}",
    "SFTP_PORT": "22",
    "SFTP_REMOTE_PATH": "/audio",
    "SFTP_SETTLE_MINUTES": "10",
}
EXTRACT = {**DRIVE, **MEDIA, **RESULTS}
