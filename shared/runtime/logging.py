"""Logs: one JSON object per line for Cloud Logging, or lines for people; never a secret."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from shared.config.secret import Secret
from shared.config.settings import Settings

#: The longest text of one field. Cloud Logging refuses entries of more than 256 KB whole.
MAX_TEXT = 32_768

_TRACE_FIELD = "logging.googleapis.com/trace"
_OURS = ("severity", "message", "time", "logger", "stack_trace", _TRACE_FIELD)

# The attributes of every record; all others were given as ``extra``.
_STANDARD = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime", "taskName"}

_SECRET_NAME = re.compile(
    r"pass(word|phrase)|secret|private_?key|credential|authorization|(^|[_-])token", re.IGNORECASE
)
_SECRET_TEXT = re.compile(
    r"(?P<keep>\bBearer\s+|\bX-Goog-(?:Signature|Credential)=)[^\s&\"']+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_HIDDEN = "***"

_NOISY = ("google", "googleapiclient", "httplib2", "paramiko", "urllib3")

_trace: ContextVar[str] = ContextVar("log_trace", default="")


@contextmanager
def traced(headers: Mapping[str, str], project: str = "") -> Iterator[None]:
    """Tie every line inside the block to the request that ``headers`` came with.

    Reads ``X-Cloud-Trace-Context`` and W3C's ``traceparent``. Cloud Logging shows the
    lines below their request when ``project`` is given.
    """
    token = _trace.set(_trace_name(headers, project))
    try:
        yield
    finally:
        _trace.reset(token)


def _trace_name(headers: Mapping[str, str], project: str) -> str:
    cloud = re.match(r"([0-9a-fA-F]{32})(/|\Z)", headers.get("X-Cloud-Trace-Context", ""))
    w3c = re.match(r"[0-9a-f]{2}-([0-9a-f]{32})-", headers.get("traceparent", ""))
    match = cloud or w3c
    if not match:
        return ""
    return f"projects/{project}/traces/{match[1]}" if project else match[1]


def setup(
    settings: Settings, *, level: int = logging.INFO, stream: TextIO | None = None
) -> logging.Handler:
    """Send the logs of the whole process to ``stream``, else to standard error.

    Replaces all handlers of the root logger: one that a framework added would write each line
    again, without severity and without redaction.
    """
    redact = _Redactor(settings.secrets)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        JsonFormatter(redact) if settings.log_format == "json" else ConsoleFormatter(redact)
    )
    root = logging.getLogger()
    for other in root.handlers[:]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _NOISY:
        client = logging.getLogger(name)
        # A stricter level that a module has set stays, however often this runs.
        client.setLevel(max(level, logging.WARNING, client.level))
        client.propagate = True  # google.api_core cuts "google" off where it comes first
    return handler


class _Redactor:
    """Hides secrets in any text: the given ones, and whatever looks like one."""

    def __init__(self, secrets: tuple[Secret, ...] = ()) -> None:
        # An error may quote one line of a key. Texts under 4 characters would match everywhere.
        texts = {line for s in secrets for line in (s.reveal(), *s.reveal().splitlines())}
        texts = {t for t in texts if len(t) >= 4 and not t.startswith("-----")}
        self._known = [*sorted(texts, key=len, reverse=True)]

    def __call__(self, text: str) -> str:
        for known in self._known:
            text = text.replace(known, _HIDDEN)
        text = _SECRET_TEXT.sub(lambda match: (match["keep"] or "") + _HIDDEN, text)
        return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"

    def plain(self, value: Any, name: str = "") -> Any:
        """Return ``value`` as JSON values, with every secret in it hidden."""
        if value is not None and _SECRET_NAME.search(name):
            return _HIDDEN
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, Mapping):
            return {str(k): self.plain(v, str(k)) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.plain(item) for item in value]
        if isinstance(value, bytes):
            value = value.decode(errors="backslashreplace")
        return self(_text(value))


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    try:
        text = str(value)
    except Exception as error:
        text = f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
    return text.encode(errors="backslashreplace").decode()  # a name may have lone surrogates


class _Formatter(logging.Formatter):
    def __init__(self, redact: _Redactor | None = None) -> None:
        super().__init__()
        self._redact = redact or _Redactor()

    def _message(self, record: logging.LogRecord) -> str:
        return self._redact(_text(record.getMessage()))

    def _stack(self, record: logging.LogRecord) -> str:
        parts = [self.formatException(record.exc_info)] if record.exc_info else []
        if record.stack_info:
            parts.append(record.stack_info)
        return self._redact(_text("\n".join(parts)))

    def _extras(self, record: logging.LogRecord) -> dict[str, Any]:
        given = {k: v for k, v in record.__dict__.items() if k not in _STANDARD}
        return {k: self._redact.plain(v, k) for k, v in given.items()}


class JsonFormatter(_Formatter):
    """One JSON object per line, with the fields that Cloud Logging reads.

    Source: "Structured logging", https://cloud.google.com/logging/docs/structured-logging
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, in ASCII, so that every stream can encode it."""
        extras = self._extras(record)
        line: dict[str, Any] = {
            "severity": _severity(record.levelno),
            "message": self._message(record),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "logger": record.name,
        }
        if stack := self._stack(record):
            line["stack_trace"] = stack
        if trace := _trace.get():
            line[_TRACE_FIELD] = trace
        for name, value in extras.items():
            line[f"{name}_" if name in _OURS else name] = value
        return json.dumps(line)


class ConsoleFormatter(_Formatter):
    """One line for people, ``12:00:01 WARNING message  name=value``, and the stack below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and those of the stack."""
        extras = "".join(f" {k}={_shown(v)}" for k, v in self._extras(record).items())
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        head = f"{time} {_severity(record.levelno):<8} {_one_line(self._message(record))}"
        stack = self._stack(record)
        return head + (f" {extras}" if extras else "") + (f"\n{stack}" if stack else "")


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if re.fullmatch(r"[^\s\"=]+", text) and text.isprintable() else json.dumps(text)


def _one_line(text: str) -> str:
    # A name from outside must not be able to add a line, or to move the cursor.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _severity(level: int) -> str:
    for least, name in (
        (logging.CRITICAL, "CRITICAL"),
        (logging.ERROR, "ERROR"),
        (logging.WARNING, "WARNING"),
        (logging.INFO, "INFO"),
    ):
        if level >= least:
            return name
    return "DEBUG"
