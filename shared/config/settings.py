"""The environment variables, parsed once into a frozen ``Settings``.

A wrong environment is refused with one message that lists every problem. No message repeats
more than a word of a value, since any variable may contain a password by mistake.
"""

# ruff: noqa: RUF009 - a default is described by a call, and is frozen
from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from shared.config import addresses
from shared.config import parsers as var
from shared.config.addresses import QueueUrl, ResultsUrl, StorageUrl, TrackerUrl
from shared.config.parsers import SftpCredentials
from shared.config.secret import Secret
from shared.core.errors import ConfigurationError
from shared.media.formats.mp3_rates import MP3_RATES
from shared.media.presets import PRESETS

_OUTPUT_FORMATS = ("wav", "mp3", "opus", "flac", "pcm")

#: The sample rates of a format, in Hz; any other format has all of them.
_RATES = {"wav": MP3_RATES, "mp3": MP3_RATES, "opus": (8_000, 12_000, 16_000, 24_000, 48_000)}

__all__ = ["QueueUrl", "ResultsUrl", "Settings", "SftpCredentials", "StorageUrl", "TrackerUrl"]


def _variable(parse: Callable[[str], object], default: object, allowed: str, example: str) -> Any:
    """Describe a field's variable: its parser, and what a person is shown."""
    metadata = {"parse": parse, "allowed": allowed, "example": example}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def _available_cpus() -> int:
    # In a container the process may use fewer than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings; the field ``lease_seconds`` is the variable ``LEASE_SECONDS``.

    Bit rates are in bits per second, sample rates in Hz. An empty variable counts as not
    set. Variables without a default are ``None``, empty text or an empty tuple.
    """

    pipeline_env: str = _variable(
        var.pipeline_env, "dev", "1 to 32 of a-z, 0-9 and -, a letter first", "prod"
    )
    storage_url: StorageUrl = _variable(
        addresses.storage_url,
        StorageUrl(kind="file", path="audio"),
        "gs://BUCKET, file:///DIRECTORY or the path of a directory",
        "gs://my-recordings",
    )
    tracker_url: TrackerUrl = _variable(
        addresses.tracker_url,
        TrackerUrl(kind="sqlite", path="audio/tracker.db"),
        "sqlite:///RELATIVE, sqlite:////ABSOLUTE or firestore://PROJECT/DATABASE",
        "firestore://my-project/(default)",
    )
    recordings_queue_url: QueueUrl = _variable(
        addresses.queue_url,
        QueueUrl(kind="local"),
        "pubsub://PROJECT/TOPIC, local:// or local:///SOCKET",
        "pubsub://my-project/recordings",
    )
    sftp_queue_url: QueueUrl = _variable(
        addresses.queue_url,
        QueueUrl(kind="local"),
        "pubsub://PROJECT/TOPIC, local:// or local:///SOCKET",
        "pubsub://my-project/sftp-files",
    )
    drive_folder_ids: tuple[str, ...] = _variable(
        var.drive_ids,
        (),
        "comma-separated Drive ids, the last part of a folder's address",
        "1a2B3c4D5e6F7g8H9i0J",
    )
    drive_subjects: tuple[str, ...] = _variable(
        var.emails, (), "comma-separated e-mail addresses", "ann@example.com,bob@example.com"
    )
    drive_ids: tuple[str, ...] = _variable(
        var.drive_ids, (), "comma-separated ids of shared drives", "0AbCdEfGhIjKlUk9PVA"
    )
    drive_service_account: str = _variable(
        var.email,
        "",
        "the e-mail address of a service account",
        "drive-reader@my-project.iam.gserviceaccount.com",
    )
    extract_job: str = _variable(
        var.job_name,
        "",
        "projects/PROJECT/locations/REGION/jobs/JOB",
        "projects/my-project/locations/europe-west1/jobs/extract-audio",
    )
    push_limit_seconds: float = _variable(
        var.number(above=0, most=600), 540.0, "seconds, more than 0, at most 600", "540"
    )
    push_audience: str = _variable(
        var.push_audience,
        "",
        "the audience of the push subscription, text without spaces",
        "https://extract-audio-123456789.europe-west1.run.app",
    )
    push_account: str = _variable(
        var.email,
        "",
        "the e-mail address of the account that the subscription signs as",
        "audio-push@my-project.iam.gserviceaccount.com",
    )
    drive_api_endpoint: str = _variable(
        addresses.drive_api_endpoint,
        "",
        "an http or https address that ends with /drive/v3/",
        "http://127.0.0.1:8085/drive/v3/",
    )
    backfill_since: date | None = _variable(var.day, None, "a date, YYYY-MM-DD", "2025-01-01")
    webhook_url: str = _variable(
        addresses.webhook_url,
        "",
        "an https address; http on this machine only",
        "https://drive-watch-notify-abc123-ew.a.run.app/",
    )
    channel_key: Secret | None = _variable(
        var.secret_key,
        None,
        "at least 32 secret characters",
        "0123456789abcdef0123456789abcdef",
    )
    lease_seconds: float = _variable(
        var.number(above=0, most=3600), 60.0, "seconds, more than 0, at most 3600", "60"
    )
    watch_limit_seconds: float = _variable(
        var.number(above=0, most=3600), 50.0, "seconds, more than 0, at most 3600", "50"
    )
    channel_ttl_hours: float = _variable(
        var.number(above=0, most=168), 168.0, "hours, more than 0, at most 168", "168"
    )
    audio_preset: str = _variable(var.choice(PRESETS), "mp3", var.words(PRESETS), "mp3")
    audio_bitrate: int = _variable(
        var.bitrate, 128_000, "8k to 320k for mp3, to 510k for opus", "128k"
    )
    chunk_max_mb: float = _variable(
        var.number(least=0, most=100_000), 0.0, "megabytes, 0 for no chunks", "24"
    )
    max_duration_hours: float = _variable(
        var.number(above=0, most=1000), 12.0, "hours, more than 0, at most 1000", "12"
    )
    encode_workers: int = _variable(
        var.whole(1, 256), _available_cpus, "a whole number from 1 to 256", "2"
    )
    sftp_host: str = _variable(
        var.host, "", "a host name or address, without a port", "sftp.example.com"
    )
    sftp_port: int = _variable(var.whole(1, 65_535), 22, "a port, 1 to 65535", "22")
    sftp_remote_path: str = _variable(
        var.remote_path, "/audio", "the path of a directory on the server", "/audio"
    )
    sftp_credentials: SftpCredentials | None = _variable(
        SftpCredentials.parse,
        None,
        "a JSON object with username, known_hosts, and password or private_key "
        "(with its passphrase)",
        '{"username": "…", "private_key": "…", "known_hosts": "sftp.example.com ssh-ed25519 …"}',
    )
    output_dir: str = _variable(
        var.output_dir,
        "compressed",
        "a relative path of a-z, 0-9, '.', '_' and '-'; not metadata and not a year",
        "compressed",
    )
    sample_rate: int = _variable(var.whole(8_000, 192_000), 16_000, "8000 to 192000 Hz", "16000")
    channels: int = _variable(var.whole(1, 2), 1, "1 or 2", "1")
    bitrate: int = _variable(
        var.bitrate, 32_000, "8k to 320k for wav and mp3, to 510k for opus", "32k"
    )
    output_format: str = _variable(
        var.choice(_OUTPUT_FORMATS), "wav", var.words(_OUTPUT_FORMATS), "wav"
    )
    sftp_mirror_path: str = _variable(
        var.remote_path, "", "the path of another directory on the server", "/compressed"
    )
    sftp_settle_minutes: float = _variable(
        var.number(least=0, most=10_080), 10.0, "minutes, 0 to 10080", "10"
    )
    results_queue_url: ResultsUrl | None = _variable(
        addresses.results_url,
        None,
        "pubsub://PROJECT/TOPIC or an https address; http on this machine only",
        "pubsub://my-project/results",
    )
    results_secret: tuple[Secret, ...] | None = _variable(
        var.webhook_secrets,
        None,
        "whsec_ and the base64 of 24 to 64 bytes; several separated by spaces",
        "whsec_…",
    )
    iap_audience: str = _variable(
        var.iap_audience,
        "",
        "/projects/NUMBER/… as IAP's page shows it",
        "/projects/123456789/locations/europe-west1/services/dashboard",
    )
    dashboard_hosts: tuple[str, ...] = _variable(
        var.hosts, (), "comma-separated host names", "recordings.example.com"
    )
    schedule: str = _variable(
        var.cron, "0 2 * * *", "the five fields of a cron schedule", "30 1 * * 1-5"
    )
    time_zone: str = _variable(
        var.time_zone, "", "a name of the IANA time zone database", "Europe/Berlin"
    )
    sweep_minutes: float = _variable(
        var.number(above=0, most=1440), 1.0, "minutes, more than 0, at most 1440", "1"
    )
    log_format: str = _variable(
        var.choice(("json", "console")), "console", "json or console", "json"
    )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read the variables, and ignore all others.

        Raises ``ConfigurationError`` with one line for each problem: the variable, what
        is wrong, what is allowed, and an example.
        """
        values: dict[str, Any] = {}
        problems: dict[str, str] = {}
        if environ.get("K_SERVICE") or environ.get("CLOUD_RUN_JOB"):  # set by Cloud Run itself
            values["log_format"] = "json"
        for field in dataclasses.fields(cls):
            name = field.name.upper()
            try:
                if text := environ.get(name, "").strip():
                    values[field.name] = field.metadata["parse"](text)
            except ValueError as error:
                problems[name] = str(error)
        settings = cls(**values)
        for names, wrong in settings._contradictions():
            if problems.keys().isdisjoint(names):
                problems[names[0]] = wrong
        if problems:
            raise _error(problems)
        return settings

    @classmethod
    def variables(cls) -> tuple[str, ...]:
        """Return the names of all variables, in the order of docs/settings.md."""
        return tuple(field.name.upper() for field in dataclasses.fields(cls))

    @property
    def project(self) -> str:
        """The Google Cloud project that the addresses name, or empty."""
        urls = (self.tracker_url, self.recordings_queue_url, self.sftp_queue_url)
        return next((url.project for url in urls if url.project), "")

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every text that must never be shown."""
        credentials = self.sftp_credentials
        channels = (self.channel_key,) if self.channel_key else ()
        return (credentials.secrets if credentials else ()) + (self.results_secret or ()) + channels

    def require(self, *names: str) -> None:
        """Raise ``ConfigurationError`` for those of the variables ``names`` that are not set."""
        missing = [name for name in names if not getattr(self, name.lower())]
        if missing:
            raise _error(dict.fromkeys(missing, "is not set"))

    def _contradictions(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.audio_preset == "mp3" and self.audio_bitrate > var.MP3_MAX_BITRATE:
            yield ("AUDIO_BITRATE", "AUDIO_PRESET"), "is more than MP3 allows (320k)"
        made, rate = self.output_format, self.sample_rate
        rates = _RATES.get(made, (rate,))
        # MPEG-1 audio allows 32k to 320k; MPEG-2, for lower rates, 8k to 160k; MPEG-2.5 to 64k.
        least, most = (32, 320) if rate >= 32_000 else (8, 160) if rate >= 16_000 else (8, 64)
        if rate not in rates:
            wrong = f"is not a sample rate of {made} ({', '.join(map(str, rates))})"
            yield ("SAMPLE_RATE", "OUTPUT_FORMAT"), wrong
        elif made in ("wav", "mp3") and not least * 1000 <= self.bitrate <= most * 1000:
            wrong = f"is not a bit rate of MP3 at this SAMPLE_RATE ({least}k to {most}k)"
            yield ("BITRATE", "OUTPUT_FORMAT", "SAMPLE_RATE"), wrong
        results = self.results_queue_url
        if results and results.is_encrypted and self.results_secret is None:
            yield (
                ("RESULTS_SECRET", "RESULTS_QUEUE_URL"),
                "is not set; results over https are signed",
            )
        if self.sftp_mirror_path == self.sftp_remote_path:
            names = ("SFTP_MIRROR_PATH", "SFTP_REMOTE_PATH")
            yield names, "is the source directory, which must not be changed"


def _error(problems: Mapping[str, str]) -> ConfigurationError:
    about = {field.name.upper(): field.metadata for field in dataclasses.fields(Settings)}
    return ConfigurationError(
        [
            f"{name} {wrong}."
            if wrong.startswith("must be ")
            else f"{name} {wrong}. Allowed: {about[name]['allowed']}."
            f" Example: {about[name]['example']}"
            for name, wrong in problems.items()
        ]
    )
