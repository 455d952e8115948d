"""The environment: allowed values, every problem in one message, and no secret shown."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import subprocess
import sys
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config.secret import Secret
from shared.config.settings import (
    QueueUrl,
    ResultsUrl,
    Settings,
    SftpCredentials,
    StorageUrl,
    TrackerUrl,
)
from shared.core.errors import ConfigurationError

PEM = """-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAA
-----END OPENSSH PRIVATE KEY-----
"""
WHSEC = "whsec_" + "A" * 32
LOGIN = {"username": "nightly", "password": "hunter2-hunter2", "known_hosts": "h ssh-ed25519 AAAA"}

# Section 4 of the design, in its order.
DOCUMENTED = (
    "PIPELINE_ENV STORAGE_URL TRACKER_URL RECORDINGS_QUEUE_URL SFTP_QUEUE_URL DRIVE_FOLDER_IDS "
    "DRIVE_SUBJECTS DRIVE_IDS DRIVE_SERVICE_ACCOUNT EXTRACT_JOB PUSH_LIMIT_SECONDS "
    "PUSH_AUDIENCE PUSH_ACCOUNT DRIVE_API_ENDPOINT BACKFILL_SINCE WEBHOOK_URL CHANNEL_KEY "
    "LEASE_SECONDS WATCH_LIMIT_SECONDS CHANNEL_TTL_HOURS AUDIO_PRESET AUDIO_BITRATE "
    "CHUNK_MAX_MB MAX_DURATION_HOURS ENCODE_WORKERS "
    "SFTP_HOST SFTP_PORT SFTP_REMOTE_PATH SFTP_CREDENTIALS OUTPUT_DIR SAMPLE_RATE CHANNELS "
    "BITRATE OUTPUT_FORMAT SFTP_MIRROR_PATH SFTP_SETTLE_MINUTES RESULTS_QUEUE_URL RESULTS_SECRET "
    "IAP_AUDIENCE DASHBOARD_HOSTS SCHEDULE TIME_ZONE SWEEP_MINUTES LOG_FORMAT"
)


def read(**environ: str) -> Settings:
    return Settings.from_environment(environ)


def problems(**environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment(environ)
    assert str(refused.value) == "\n".join(refused.value.problems)
    return refused.value.problems


def test_the_variables_are_the_documented_ones() -> None:
    assert Settings.variables() == tuple(DOCUMENTED.split())


def test_the_defaults_are_the_documented_ones() -> None:
    assert read() == Settings()
    assert dataclasses.asdict(read()) == {
        "pipeline_env": "dev",
        "storage_url": {"kind": "file", "bucket": "", "path": "audio"},
        "tracker_url": {
            "kind": "sqlite",
            "path": "audio/tracker.db",
            "project": "",
            "database": "",
        },
        "recordings_queue_url": {"kind": "local", "project": "", "topic": "", "path": ""},
        "sftp_queue_url": {"kind": "local", "project": "", "topic": "", "path": ""},
        "drive_folder_ids": (),
        "drive_subjects": (),
        "drive_ids": (),
        "drive_service_account": "",
        "extract_job": "",
        "push_limit_seconds": 540.0,
        "push_audience": "",
        "push_account": "",
        "drive_api_endpoint": "",
        "backfill_since": None,
        "webhook_url": "",
        "channel_key": None,
        "lease_seconds": 60.0,
        "watch_limit_seconds": 50.0,
        "channel_ttl_hours": 168.0,
        "audio_preset": "mp3",
        "audio_bitrate": 128_000,
        "chunk_max_mb": 0.0,
        "max_duration_hours": 12.0,
        "encode_workers": len(os.sched_getaffinity(0)),
        "sftp_host": "",
        "sftp_port": 22,
        "sftp_remote_path": "/audio",
        "sftp_credentials": None,
        "output_dir": "compressed",
        "sample_rate": 16_000,
        "channels": 1,
        "bitrate": 32_000,
        "output_format": "wav",
        "sftp_mirror_path": "",
        "sftp_settle_minutes": 10.0,
        "results_queue_url": None,
        "results_secret": None,
        "iap_audience": "",
        "dashboard_hosts": (),
        "schedule": "0 2 * * *",
        "time_zone": "",
        "sweep_minutes": 1.0,
        "log_format": "console",
    }


def test_the_default_written_out_is_the_default() -> None:
    written = {
        "STORAGE_URL": "audio",
        "TRACKER_URL": "sqlite:///audio/tracker.db",
        "RECORDINGS_QUEUE_URL": "local://",
        "SFTP_QUEUE_URL": "local://",
        "AUDIO_BITRATE": "128k",
        "BITRATE": "32k",
        "OUTPUT_DIR": "compressed",
        "SFTP_REMOTE_PATH": "/audio",
    }

    assert read(**written) == Settings()


def test_empty_is_unset_and_unknown_is_left_alone() -> None:
    environ = dict.fromkeys(Settings.variables(), "") | {"LANG": "C", "lease_seconds": "nonsense"}

    assert Settings.from_environment(environ) == Settings()
    assert read(LEASE_SECONDS="  ") == Settings()


def test_settings_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().lease_seconds = 1  # type: ignore[misc]


GOOD: list[tuple[str, str, Any]] = [
    ("PIPELINE_ENV", "prod", "prod"),
    ("STORAGE_URL", "gs://my-recordings", StorageUrl(kind="gs", bucket="my-recordings")),
    ("STORAGE_URL", "gs://my-recordings/", StorageUrl(kind="gs", bucket="my-recordings")),
    ("STORAGE_URL", "file:///srv/my%20audio", StorageUrl(kind="file", path="/srv/my audio")),
    ("STORAGE_URL", "/mnt/bucket", StorageUrl(kind="file", path="/mnt/bucket")),
    ("STORAGE_URL", "./Übung/été", StorageUrl(kind="file", path="./Übung/été")),
    ("TRACKER_URL", "sqlite:///a/b.db", TrackerUrl(kind="sqlite", path="a/b.db")),
    ("TRACKER_URL", "sqlite:////a/b.db", TrackerUrl(kind="sqlite", path="/a/b.db")),
    (
        "TRACKER_URL",
        "firestore://my-project/(default)",
        TrackerUrl(kind="firestore", project="my-project", database="(default)"),
    ),
    (
        "RECORDINGS_QUEUE_URL",
        "pubsub://my-project/recordings",
        QueueUrl(kind="pubsub", project="my-project", topic="recordings"),
    ),
    ("SFTP_QUEUE_URL", "local://", QueueUrl(kind="local")),
    ("DRIVE_FOLDER_IDS", " a1, b_2 ,,a1,-c ", ("a1", "b_2", "-c")),
    ("DRIVE_SUBJECTS", "ann@example.com,bob@example.com", ("ann@example.com", "bob@example.com")),
    ("DRIVE_IDS", "0AbC", ("0AbC",)),
    ("DRIVE_SERVICE_ACCOUNT", "r@p.iam.gserviceaccount.com", "r@p.iam.gserviceaccount.com"),
    ("EXTRACT_JOB", "projects/p/locations/eu-w1/jobs/x", "projects/p/locations/eu-w1/jobs/x"),
    ("PUSH_LIMIT_SECONDS", "2.5", 2.5),
    ("PUSH_LIMIT_SECONDS", "600", 600.0),
    ("DRIVE_API_ENDPOINT", "http://127.0.0.1:80/drive/v3/", "http://127.0.0.1:80/drive/v3/"),
    ("BACKFILL_SINCE", "2024-02-29", date(2024, 2, 29)),
    ("WEBHOOK_URL", "https://x-ew.a.run.app/", "https://x-ew.a.run.app/"),
    ("WEBHOOK_URL", "http://localhost:8080", "http://localhost:8080"),
    ("WEBHOOK_URL", "http://127.1.2.3/", "http://127.1.2.3/"),
    ("WEBHOOK_URL", "http://[::1]:8080/", "http://[::1]:8080/"),
    ("LEASE_SECONDS", "0.5", 0.5),
    ("WATCH_LIMIT_SECONDS", "0.5", 0.5),
    ("CHANNEL_TTL_HOURS", "168", 168.0),
    ("AUDIO_PRESET", "whisper", "whisper"),
    ("AUDIO_BITRATE", "320k", 320_000),
    ("AUDIO_BITRATE", "96000", 96_000),
    ("AUDIO_BITRATE", "64K", 64_000),
    ("CHUNK_MAX_MB", "0", 0.0),
    ("CHUNK_MAX_MB", "24.5", 24.5),
    ("MAX_DURATION_HOURS", "0.5", 0.5),
    ("ENCODE_WORKERS", "1", 1),
    ("SFTP_HOST", "sftp.example.com", "sftp.example.com"),
    ("SFTP_HOST", "10.0.0.7", "10.0.0.7"),
    ("SFTP_HOST", "fe80::1%eth0", "fe80::1%eth0"),
    ("SFTP_PORT", "65535", 65_535),
    ("SFTP_REMOTE_PATH", "/", "/"),
    ("SFTP_REMOTE_PATH", "upload/Été/", "upload/Été"),
    ("OUTPUT_DIR", "/small/audio/", "small/audio"),
    ("SAMPLE_RATE", "8000", 8_000),
    ("CHANNELS", "2", 2),
    ("BITRATE", "64k", 64_000),
    ("OUTPUT_FORMAT", "opus", "opus"),
    ("SFTP_MIRROR_PATH", "/compressed", "/compressed"),
    ("SFTP_SETTLE_MINUTES", "0", 0.0),
    (
        "RESULTS_QUEUE_URL",
        "pubsub://my-project/results",
        ResultsUrl(kind="pubsub", project="my-project", topic="results"),
    ),
    (
        "RESULTS_QUEUE_URL",
        "http://127.0.0.1:8000/hooks?token=a%20b",
        ResultsUrl(kind="webhook", address="http://127.0.0.1:8000/hooks?token=a%20b"),
    ),
    ("RESULTS_SECRET", f"{WHSEC} {WHSEC}", (Secret(WHSEC), Secret(WHSEC))),
    ("RESULTS_SECRET", "{}", ()),
    (
        "IAP_AUDIENCE",
        "/projects/12/locations/eu/services/d",
        "/projects/12/locations/eu/services/d",
    ),
    ("DASHBOARD_HOSTS", "Audio.Example.com, box", ("audio.example.com", "box")),
    ("LOG_FORMAT", "json", "json"),
]


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_a_good_value_is_read(name: str, text: str, value: object) -> None:
    settings = read(**{name: text})

    assert getattr(settings, name.lower()) == value
    assert type(getattr(settings, name.lower())) is type(value)


BAD = [
    ("PIPELINE_ENV", ["Prod", "a/b", "..", "1a", "a" * 33, "é"]),
    (
        "STORAGE_URL",
        [
            "s3://bucket", "gs://", "gs://Bucket", "gs://bucket/prefix", "gs://b", "gs:bucket",
            "gs://bucket?x=1", "gs://user:pw@bucket", "file://server/share", "file://", "file:///",
            "file:dir", "http://[",
        ],
    ),
    (
        "TRACKER_URL",
        [
            "sqlite://", "sqlite:///", "sqlite:////", "sqlite://host/a.db", "sqlite:///:memory:",
            "sqlite:///a.db?x", "a.db", "firestore://project", "firestore:///db", "firestore://p-1/",
            "firestore://project/a/b", "postgresql://h/db",
        ],
    ),
    (
        "RECORDINGS_QUEUE_URL",
        ["pubsub://project", "pubsub:///topic", "pubsub://p-1/1", "pubsub://p-1/goog-x", "local://x",
         "local", "amqp://x"],
    ),
    ("SFTP_QUEUE_URL", ["pubsub://project/a/b"]),
    ("DRIVE_FOLDER_IDS", ["https://drive.google.com/drive/folders/abc", "a b", "a;b", "é"]),
    ("DRIVE_SUBJECTS", ["ann", "ann@", "@example.com", "a@b@c", "ann@example.com;bob@example.com"]),
    ("DRIVE_IDS", ["a/b"]),
    ("DRIVE_SERVICE_ACCOUNT", ["reader", "a@b,c@d"]),
    ("EXTRACT_JOB", ["extract-audio", "projects/p/jobs/x", "projects/p/locations/l/jobs/"]),
    ("PUSH_LIMIT_SECONDS", ["0", "-1", "600.1", "nan", "inf", "1e2", "1_0", "540s", "0x10", "٥"]),
    (
        "DRIVE_API_ENDPOINT",
        ["http://127.0.0.1/", "127.0.0.1/drive/v3/", "ftp://x/drive/v3/", "http:///drive/v3/",
         "http://u:p@x/drive/v3/", "http://x/drive/v3/?a=b", "http://x:99999/drive/v3/"],
    ),
    ("BACKFILL_SINCE", ["2025-13-01", "2025-02-29", "20250101", "yesterday", "2025-1-1"]),
    (
        "WEBHOOK_URL",
        ["http://example.com/", "http://localhost.example.com/", "http://127.0.0.1.example.com/",
         "example.com", "https://", "https://u:p@example.com/", "ftp://localhost/", "https://x/#a"],
    ),
    ("LEASE_SECONDS", ["0", "-0.1", "3601", "a"]),
    ("WATCH_LIMIT_SECONDS", ["0", "3601", "a"]),
    ("CHANNEL_TTL_HOURS", ["0", "169"]),
    ("AUDIO_PRESET", ["MP3", "wav", "aac"]),
    ("AUDIO_BITRATE", ["128", "128kbps", "k", "1.5k", "511k", "7k", "-128k", "321k", "١٢٨k"]),
    ("CHUNK_MAX_MB", ["-1", "-0.1", "a"]),
    ("MAX_DURATION_HOURS", ["0", "-1", "1001"]),
    ("ENCODE_WORKERS", ["0", "-1", "1.5", "257"]),
    ("SFTP_HOST", ["host:22", "sftp://host", "user@host", "host/path", "a b"]),
    ("SFTP_PORT", ["0", "65536", "ssh", "22.0"]),
    ("SFTP_REMOTE_PATH", ["sftp://host/audio"]),
    ("OUTPUT_DIR", ["..", "a/../b", "a//b", "metadata/x", "2025", "a b", "a\\b", "/", "x" * 201]),
    ("SAMPLE_RATE", ["7999", "16k", "192001", "16001"]),
    ("CHANNELS", ["0", "3", "mono"]),
    ("BITRATE", ["32", "161k", "321k"]),
    ("OUTPUT_FORMAT", ["ogg", "WAV"]),
    ("SFTP_MIRROR_PATH", ["/audio", "/audio/"]),
    ("SFTP_SETTLE_MINUTES", ["-1", "10081"]),
    (
        "RESULTS_QUEUE_URL",
        ["http://example.com/", "http://localhost.example.com/", "local://", "example.com",
         "https://", "https://u:p@example.com/", "https://x/#a", "https://x/?a#b", "https://x/a b",
         "https://x/é", "pubsub://project", "pubsub://p-1/topic?x=1", "ftp://localhost/"],
    ),
    (
        "RESULTS_SECRET",
        ["secret", "whsec_", "whsec_c2hvcnQ=", f"{WHSEC} x", "whsec_" + "A" * 100, f"{WHSEC}!"],
    ),
    ("IAP_AUDIENCE", ["dashboard", "/projects/name/x"]),
    ("DASHBOARD_HOSTS", ["https://x", "a:80", "a b"]),
    ("LOG_FORMAT", ["text", "JSON"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, texts in BAD for t in texts])
def test_a_bad_value_is_refused_in_one_line_that_helps(name: str, text: str) -> None:
    (problem,) = problems(**{name: text})

    assert problem.startswith(f"{name} ")
    if " must be " in problem:
        assert problem.endswith(f", not '{text}'.")
    else:
        assert ". Allowed: " in problem
        assert ". Example: " in problem
    assert "\n" not in problem


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_the_example_of_every_variable_is_allowed(field: dataclasses.Field[object]) -> None:
    example = field.metadata["example"]
    if field.name == "sftp_credentials":
        example = json.dumps({**json.loads(example), "private_key": PEM})

    if field.name == "results_secret":
        example = example.replace("…", "A" * 32)

    settings = read(**{field.name.upper(): example})

    assert getattr(settings, field.name)


def test_every_problem_is_reported_at_once() -> None:
    found = problems(**{name: "\x01 no such thing" for name, texts in BAD if texts})

    assert {problem.split()[0] for problem in found} >= {
        name
        for name, _ in BAD
        if name not in ("STORAGE_URL", "SFTP_REMOTE_PATH", "SFTP_MIRROR_PATH")
    }
    assert len(found) == len({problem.split()[0] for problem in found})


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({"AUDIO_BITRATE": "510k", "AUDIO_PRESET": "opus"}, []),
        ({"AUDIO_BITRATE": "510k"}, ["AUDIO_BITRATE"]),
        ({"OUTPUT_FORMAT": "flac", "SAMPLE_RATE": "96000"}, []),
        ({"OUTPUT_FORMAT": "wav", "SAMPLE_RATE": "96000"}, ["SAMPLE_RATE"]),
        ({"OUTPUT_FORMAT": "opus", "SAMPLE_RATE": "44100"}, ["SAMPLE_RATE"]),
        ({"OUTPUT_FORMAT": "opus", "SAMPLE_RATE": "48000", "BITRATE": "16k"}, []),
        ({"OUTPUT_FORMAT": "mp3", "SAMPLE_RATE": "48000", "BITRATE": "16k"}, ["BITRATE"]),
        ({"OUTPUT_FORMAT": "mp3", "SAMPLE_RATE": "48000", "BITRATE": "320k"}, []),
        ({"OUTPUT_FORMAT": "mp3", "SAMPLE_RATE": "22050", "BITRATE": "192k"}, ["BITRATE"]),
        ({"SAMPLE_RATE": "8000", "BITRATE": "128k"}, ["BITRATE"]),
        ({"OUTPUT_FORMAT": "no", "SAMPLE_RATE": "96000"}, ["OUTPUT_FORMAT"]),
        ({"SFTP_REMOTE_PATH": "/a", "SFTP_MIRROR_PATH": "/a/"}, ["SFTP_MIRROR_PATH"]),
        ({"SFTP_REMOTE_PATH": "/a", "SFTP_MIRROR_PATH": "/b"}, []),
        ({"RESULTS_QUEUE_URL": "https://x/"}, ["RESULTS_SECRET"]),
        ({"RESULTS_QUEUE_URL": "HTTPS://x/"}, ["RESULTS_SECRET"]),
        ({"RESULTS_QUEUE_URL": "https://x/", "RESULTS_SECRET": WHSEC}, []),
        ({"RESULTS_QUEUE_URL": "https://x/", "RESULTS_SECRET": "{}"}, []),
        ({"RESULTS_QUEUE_URL": "http://localhost/"}, []),
    ],
)
def test_values_that_do_not_go_together_are_reported(
    environ: dict[str, str], names: list[str]
) -> None:
    if not names:
        assert read(**environ)
    else:
        assert [problem.split()[0] for problem in problems(**environ)] == names


@pytest.mark.parametrize("variable", ["K_SERVICE", "CLOUD_RUN_JOB"])
def test_on_cloud_run_logs_are_json_by_default(variable: str) -> None:
    assert read(**{variable: "x"}).log_format == "json"
    assert read(**{variable: ""}).log_format == "console"
    assert read(**{variable: "x", "LOG_FORMAT": "console"}).log_format == "console"


def test_workers_are_as_many_as_the_process_may_use() -> None:
    script = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]);"
        "from shared.config.settings import Settings; print(Settings().encode_workers)"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert answer.stdout.strip() == b"1"


def test_the_project_is_the_one_that_an_address_names() -> None:
    assert read().project == ""
    assert read(TRACKER_URL="firestore://one/(default)").project == "one"
    assert read(SFTP_QUEUE_URL="pubsub://two/topic").project == "two"


def test_missing_required_variables_are_named() -> None:
    settings = read(SFTP_HOST="h")

    settings.require("SFTP_HOST", "SFTP_PORT")
    with pytest.raises(ConfigurationError) as refused:
        settings.require("SFTP_HOST", "SFTP_CREDENTIALS", "WEBHOOK_URL")

    assert [problem.split(".")[0] for problem in refused.value.problems] == [
        "SFTP_CREDENTIALS is not set",
        "WEBHOOK_URL is not set",
    ]


# Secrets


def credentials(**changes: object) -> str:
    return json.dumps({k: v for k, v in {**LOGIN, **changes}.items() if v is not None})


def test_credentials_are_read() -> None:
    found = read(SFTP_CREDENTIALS=credentials(private_key=PEM, passphrase="pass-phrase"))

    assert found.sftp_credentials == SftpCredentials(
        username="nightly",
        known_hosts="h ssh-ed25519 AAAA",
        password=Secret("hunter2-hunter2"),
        private_key=Secret(PEM),
        passphrase=Secret("pass-phrase"),
    )
    assert [s.reveal() for s in found.sftp_credentials.secrets] == [
        "hunter2-hunter2", PEM, "pass-phrase",
    ]  # fmt: skip


def test_a_secret_with_its_first_empty_content_is_unset() -> None:
    assert read(SFTP_CREDENTIALS="{}").sftp_credentials is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("hunter2-hunter2", "is not JSON"),
        ('{"password": "hunter2-hunter2"', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('["hunter2-hunter2"]', "is not a JSON object"),
        ('{"password": "hunter2-hunter2"}', "has no username"),
        (credentials(username=None), "has no username"),
        (credentials(username=" "), "has no username"),
        (credentials(known_hosts=None), "has no known_hosts"),
        (credentials(password=None), "has neither password nor private_key"),
        (credentials(password=""), "has neither password nor private_key"),
        (credentials(password=["hunter2-hunter2"]), "has a password that is not text"),
        (credentials(username=7), "has a username that is not text"),
        (credentials(passphrase="hunter2-hunter2"), "has a passphrase and no private_key"),
        (credentials(private_key="hunter2-hunter2"), "has a private_key that is not PEM"),
        (credentials(private_key=PEM.replace("\n", "")), "has a private_key that is not PEM"),
    ],
)
def test_bad_credentials_are_refused_without_showing_them(text: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(SFTP_CREDENTIALS=text)

    (problem,) = refused.value.problems
    assert problem.startswith(f"SFTP_CREDENTIALS {wrong}")
    assert "hunter2" not in problem
    assert_hidden(refused.value, "hunter2")


def assert_hidden(error: BaseException | None, secret: str) -> None:
    while error:
        assert secret not in repr(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


SECRET = "qz7-Xv9_kw3"


@given(
    st.sampled_from(Settings.variables()),
    st.sampled_from(
        ["{}", "sftp://user:{}@host/", "https://user:{}@example.com/", "{}@x@y", "gs://{}/x",
         "pubsub://{}", "{}?", '{{"password": "{}"}}', "[{}"]
    ),
)  # fmt: skip
def test_no_message_repeats_a_value(name: str, shape: str) -> None:
    try:
        read(**{name: shape.format(SECRET)})
    except ConfigurationError as error:
        shown = str(error) + repr(error)
    else:
        return
    assert SECRET not in shown


def test_a_secret_is_shown_by_nothing() -> None:
    settings = read(SFTP_CREDENTIALS=credentials(private_key=PEM), RESULTS_SECRET=WHSEC)
    secret = Secret("hunter2-hunter2")

    for shown in (
        repr(secret), str(secret), f"{secret}", f"{secret:>20}", f"{[secret]}",
        repr(settings), str(settings), repr(dataclasses.asdict(settings)),
        json.dumps(dataclasses.asdict(settings), default=str), repr(vars(settings)),
    ):  # fmt: skip
        assert "hunter2" not in shown
        assert "b3BlbnNzaC1rZXk" not in shown
        assert WHSEC not in shown


def test_a_secret_is_compared_and_copied_but_never_written() -> None:
    secret = Secret("hunter2")

    assert secret == Secret("hunter2")
    assert secret != Secret("hunter3")
    assert secret != "hunter2"
    assert len({secret, Secret("hunter2")}) == 1
    assert copy.deepcopy(secret) is secret
    assert copy.copy(secret) is secret
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(AttributeError):
        secret.text = "x"  # type: ignore[attr-defined]


@given(st.dictionaries(st.sampled_from(Settings.variables()), st.text(max_size=30)))
def test_any_environment_is_read_or_refused(environ: dict[str, str]) -> None:
    try:
        Settings.from_environment(environ)
    except ConfigurationError as error:
        named = {problem.split()[0] for problem in error.problems}
    else:
        return
    assert named <= environ.keys()


def test_importing_it_is_quick_and_brings_no_client() -> None:
    script = (
        "import sys, time; start = time.process_time();"
        "import shared.config.settings, shared.core.naming, shared.runtime.logging;"
        "print(time.process_time() - start);"
        "print(len({'paramiko', 'grpc', 'requests'} & set(sys.modules)))"
    )
    tries = [
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, check=True
        ).stdout.split()
        for _ in range(3)
    ]

    assert min(float(seconds) for seconds, _ in tries) < 0.1  # 0.03 as measured
    assert {clients for _, clients in tries} == {b"0"}
