"""Logs: lines for Cloud Logging, lines for people, and no secret in either."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config.secret import Secret
from shared.config.settings import Settings, SftpCredentials
from shared.core.message import SourceFile
from shared.core.records import Recording
from shared.runtime import logging as logs

PEM = """-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAA
AAAAC3NzaC1lZDI1NTE5AAAA
-----END OPENSSH PRIVATE KEY-----
"""
LOGIN = SftpCredentials(
    username="nightly",
    known_hosts="h ssh-ed25519 AAAA",
    password=Secret("hunter2-hunter2"),
    private_key=Secret(PEM),
)
TRACE = "105445aa7843bc8bf206b12000100000"

log = logging.getLogger("pipeline.test")


class Lines(io.StringIO):
    def json(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def one(self) -> dict[str, Any]:
        (line,) = self.json()
        return line


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def lines() -> Lines:
    stream = Lines()
    logs.setup(Settings(log_format="json", sftp_credentials=LOGIN), stream=stream)
    return stream


@pytest.fixture
def console() -> Lines:
    stream = Lines()
    logs.setup(Settings(log_format="console", sftp_credentials=LOGIN), stream=stream)
    return stream


def test_a_line_has_the_fields_of_cloud_logging(lines: Lines) -> None:
    log.info("published %d of %d", 3, 4, extra={"account": "ann@example.com", "pages": 2})

    line = lines.one()
    when = datetime.fromisoformat(line.pop("time"))
    assert line == {
        "severity": "INFO",
        "message": "published 3 of 4",
        "logger": "pipeline.test",
        "account": "ann@example.com",
        "pages": 2,
    }
    assert when.tzinfo is not None
    assert abs((datetime.now(UTC) - when).total_seconds()) < 60


@pytest.mark.parametrize(
    ("level", "severity"),
    [(10, "DEBUG"), (5, "DEBUG"), (20, "INFO"), (25, "INFO"), (30, "WARNING"), (40, "ERROR"),
     (50, "CRITICAL"), (60, "CRITICAL")],
)  # fmt: skip
def test_every_level_has_a_severity_that_cloud_logging_knows(level: int, severity: str) -> None:
    stream = Lines()
    logs.setup(Settings(log_format="json"), stream=stream, level=1)

    log.log(level, "x")

    assert stream.one()["severity"] == severity


def test_debug_is_quiet_unless_asked_for(lines: Lines) -> None:
    log.debug("x")

    assert lines.getvalue() == ""


def test_an_error_brings_its_stack(lines: Lines) -> None:
    try:
        int("x")
    except ValueError:
        log.exception("cannot read it")

    line = lines.one()
    assert line["severity"] == "ERROR"
    assert line["message"] == "cannot read it"
    assert line["stack_trace"].startswith("Traceback (most recent call last):")
    assert "ValueError: invalid literal" in line["stack_trace"]
    assert "test_logging.py" in line["stack_trace"]


def test_the_stack_of_a_call_can_be_asked_for(lines: Lines) -> None:
    log.warning("here", stack_info=True)

    assert "test_the_stack_of_a_call" in lines.one()["stack_trace"]


def test_one_line_stays_one_line_whatever_is_in_it(lines: Lines) -> None:
    log.info("a\nb\r\nc\u2028d", extra={"recording": "x\n{}\n"})

    assert lines.getvalue().count("\n") == 1
    assert lines.one()["message"] == "a\nb\r\nc\u2028d"
    assert lines.getvalue().isascii()


class Unshowable:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (datetime(2025, 1, 1, tzinfo=UTC), "2025-01-01T00:00:00+00:00"),
        (b"caf\xe9", "caf\\xe9"),
        ("caf\udce9", "caf\\udce9"),
        ({"a": (1, {2})}, {"a": [1, [2]]}),
        ({1: float("inf")}, {"1": "inf"}),
        (Secret("hunter2"), "***"),
        (ValueError("why"), "why"),
        (Unshowable(), "<Unshowable that cannot be shown: RuntimeError>"),
    ],
)
def test_any_extra_is_written(lines: Lines, value: object, expected: object) -> None:
    log.info("x", extra={"given": value})

    assert lines.one()["given"] == expected


@given(
    st.text(),
    st.dictionaries(
        st.text(min_size=1).filter(lambda name: name not in {"message", "asctime", "name"}),
        st.recursive(st.none() | st.text() | st.floats() | st.binary(), st.lists, max_leaves=4),
        max_size=3,
    ),
)
def test_any_line_is_json_with_its_fields(message: str, extra: dict[str, Any]) -> None:
    record = logging.makeLogRecord({"msg": message, "levelno": 20, "name": "x"})
    clash = extra.keys() & record.__dict__.keys()
    record.__dict__.update({k: v for k, v in extra.items() if k not in clash})

    line = json.loads(logs.JsonFormatter().format(record), parse_constant=pytest.fail)

    assert line["severity"] == "INFO"
    assert isinstance(line["message"], str)


def test_an_extra_takes_no_field_of_ours(lines: Lines) -> None:
    log.info("x", extra={"severity": "ALERT", "time": 7, "logging.googleapis.com/trace": "t"})

    line = lines.one()
    assert line["severity"] == "INFO"
    assert line["time"] != 7
    assert (line["severity_"], line["time_"]) == ("ALERT", 7)
    assert "logging.googleapis.com/trace" not in line


def test_a_text_too_long_for_an_entry_is_cut(lines: Lines) -> None:
    log.info("x" * 500_000, extra={"stderr": "y" * 500_000})

    assert len(lines.getvalue()) < 256 * 1024
    assert lines.one()["message"].endswith("(500000 characters)")


def test_a_recording_s_context_can_be_logged(lines: Lines) -> None:
    item = SourceFile(
        source="drive", source_id="a", revision="1", name="Sync", mime_type="video/mp4",
        size_bytes=1, created_at=datetime(2025, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    recording = Recording.from_source_file(item, now=item.created_at)

    log.info("claimed", extra=recording.log_context())

    assert lines.one()["recording"] == "Sync"
    assert lines.one()["key"] == "drive-a-1"


# Context


@pytest.mark.parametrize(
    ("headers", "project", "expected"),
    [
        ({"X-Cloud-Trace-Context": f"{TRACE}/1;o=1"}, "my-p", f"projects/my-p/traces/{TRACE}"),
        ({"X-Cloud-Trace-Context": TRACE}, "my-p", f"projects/my-p/traces/{TRACE}"),
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, "p-1", f"projects/p-1/traces/{TRACE}"),
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, "", TRACE),
        ({"X-Cloud-Trace-Context": "x" * 32}, "p-1", None),
        ({"X-Cloud-Trace-Context": f"{TRACE}0/1"}, "p-1", None),
        ({"X-Cloud-Trace-Context": "../../x"}, "p-1", None),
        ({}, "p-1", None),
    ],
)  # fmt: skip
def test_a_request_s_trace_ties_its_lines(
    lines: Lines, headers: dict[str, str], project: str, expected: str | None
) -> None:
    with logs.traced(headers, project):
        log.info("inside")
    log.info("outside")

    inside, outside = lines.json()
    assert inside.get("logging.googleapis.com/trace") == expected
    assert "logging.googleapis.com/trace" not in outside


# Secrets


def leak() -> None:
    extras: dict[str, Any] = {
        "password": "opensesame",
        "headers": {
            "Authorization": "Bearer ya29.opensesame",
            "X-Goog-Channel-Token": "opensesame",
        },
        "page_token": "opensesame",
        "body": "login with hunter2-hunter2 please",
        "listed": ["hunter2-hunter2"],
        "settings": Settings(sftp_credentials=LOGIN),
        "url": "https://storage/x?X-Goog-Credential=opensesame&X-Goog-Signature=opensesame&a=1",
        "key_file": PEM,
        "another_key": PEM.replace("b3Blb", "opensesame"),
    }
    try:
        raise ConnectionError(f"refused: hunter2-hunter2 {PEM.splitlines()[1]} Bearer opensesame")
    except ConnectionError:
        log.exception("sent %s", "hunter2-hunter2", extra=extras)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_is_in_any_line(log_format: str) -> None:
    stream = Lines()
    logs.setup(Settings(log_format=log_format, sftp_credentials=LOGIN), stream=stream)

    leak()

    written = stream.getvalue()
    assert "***" in written
    for secret in ("hunter2", "opensesame", "b3BlbnNzaC1rZXk", "AAAAC3NzaC1lZDI1NTE5"):
        assert secret not in written
    assert "ConnectionError: refused" in written
    assert "a=1" in written


def test_a_password_of_a_letter_does_not_eat_the_log() -> None:
    stream = Lines()
    login = SftpCredentials(username="a", known_hosts="h", password=Secret("e"))
    logs.setup(Settings(log_format="json", sftp_credentials=login), stream=stream)

    log.info("here we are")

    assert stream.one()["message"] == "here we are"


# For people


def test_people_get_a_short_line(console: Lines) -> None:
    log.warning("left alone: %s", "a.mp4", extra={"reason": "still uploading", "bytes": 7})

    time, rest = console.getvalue().split(" ", 1)
    assert rest == 'WARNING  left alone: a.mp4  reason="still uploading" bytes=7\n'
    assert datetime.strptime(time, "%H:%M:%S")


def test_people_get_the_stack_below_the_line(console: Lines) -> None:
    try:
        int("x")
    except ValueError:
        log.exception("no")

    first, *stack = console.getvalue().splitlines()
    assert first.endswith("ERROR    no")
    assert stack[0].startswith("Traceback")
    assert stack[-1].startswith("ValueError")


def test_a_name_writes_no_line_and_moves_no_cursor(console: Lines) -> None:
    log.info("read a\n12:00:00 ERROR  faked\x1b[2J", extra={"recording": "b\nc\x1b[2J"})

    assert console.getvalue().count("\n") == 1
    assert "\x1b" not in console.getvalue()


def test_letters_of_any_script_stay_letters(console: Lines) -> None:
    log.info("会議 é", extra={"recording": "会議"})

    assert "会議 é  recording=会議" in console.getvalue()


# Set-up


def test_setup_replaces_every_handler_so_that_each_line_is_written_once() -> None:
    root = logging.getLogger()
    framework, first, second = Lines(), Lines(), Lines()
    root.addHandler(logging.StreamHandler(framework))

    logs.setup(Settings(log_format="json"), stream=first)
    logs.setup(Settings(log_format="json"), stream=second)
    log.warning("x")

    assert len(root.handlers) == 1
    assert framework.getvalue() == ""
    assert first.getvalue() == ""
    assert second.one()["message"] == "x"


def test_clients_are_quiet_below_warnings(lines: Lines, request: pytest.FixtureRequest) -> None:
    # The SFTP login silences paramiko for the whole process, and may have been imported before.
    paramiko = logging.getLogger("paramiko")
    request.addfinalizer(partial(paramiko.setLevel, paramiko.level))
    paramiko.setLevel(logging.WARNING)
    for name in (
        "paramiko.transport",
        "urllib3.connectionpool",
        "google.auth",
        "googleapiclient.x",
    ):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble")

    assert [line["message"] for line in lines.json()] == ["trouble"] * 4


def test_a_client_that_was_silenced_stays_silent_when_logging_is_set_up_again(
    lines: Lines,
) -> None:
    client = logging.getLogger("paramiko")
    before = client.level
    client.setLevel(logging.CRITICAL)
    try:
        logs.setup(Settings(log_format="json"), stream=lines)
        client.error("a traceback of its own")
        assert lines.json() == []
    finally:
        client.setLevel(before)


def test_warnings_of_clients_that_were_there_first_are_heard() -> None:
    script = (
        "import logging; from google.api_core import client_logging;"
        "client_logging.initialize_logging();"
        "assert not logging.getLogger('google').propagate, 'api_core no longer cuts it off';"
        "from shared.runtime import logging as logs; from shared.config.settings import Settings;"
        "logs.setup(Settings(log_format='json'));"
        "logging.getLogger('google.auth').warning('trouble')"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert json.loads(done.stderr)["message"] == "trouble"


def test_logs_go_to_standard_error_in_any_locale() -> None:
    script = (
        "import logging; from shared.runtime import logging as logs;"
        "from shared.config.settings import Settings;"
        "logs.setup(Settings(log_format='json')); logging.info('会議 %s', '\\udce9')"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii:strict", "PYTHONPATH": ":".join(sys.path)},
    )

    assert answer.stdout == b""
    assert json.loads(answer.stderr)["message"] == "会議 \\udce9"
