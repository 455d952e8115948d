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

_SEVERITIES = (
    (logging.CRITICAL, "CRITICAL"),
    (logging.ERROR, "ERROR"),
    (logging.WARNING, "WARNING"),
    (logging.INFO, "INFO"),
)

_NOISY = ("google", "googleapiclient", "httplib2", "paramiko", "urllib3")

_trace: ContextVar[str] = ContextVar("log_trace", default="")


@contextmanager
def traced(headers: Mapping[str, str], project: str = "") -> Iterator[None]:
    """Tie every line inside the block to the request that ``headers`` came with.

    Reads ``X-Cloud-Trace-Context`` and W3C's ``traceparent``. Cloud Logging shows the
    lines below their request when ``project`` is given.
    """
    cloud = re.match(r"([0-9a-fA-F]{32})(/|\Z)", headers.get("X-Cloud-Trace-Context", ""))
    w3c = re.match(r"[0-9a-f]{2}-([0-9a-f]{32})-", headers.get("traceparent", ""))
    match = cloud or w3c
    trace = match[1] if match else ""
    token = _trace.set(f"projects/{project}/traces/{trace}" if project and trace else trace)
    try:
        yield
    finally:
        _trace.reset(token)


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

    def _parts(self, record: logging.LogRecord) -> tuple[str, str, dict[str, Any], str]:
        """Return severity, message, extra fields and stack, with secrets hidden."""
        severity = next((name for least, name in _SEVERITIES if record.levelno >= least), "DEBUG")
        message = self._redact(_text(record.getMessage()))
        extras = {
            name: self._redact.plain(value, name)
            for name, value in record.__dict__.items()
            if name not in _STANDARD
        }
        stack = [self.formatException(record.exc_info)] if record.exc_info else []
        if record.stack_info:
            stack.append(record.stack_info)
        return severity, message, extras, self._redact(_text("\n".join(stack)))


class JsonFormatter(_Formatter):
    """One JSON object per line, with the fields that Cloud Logging reads.

    Source: "Structured logging", https://cloud.google.com/logging/docs/structured-logging
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, in ASCII, so that every stream can encode it."""
        severity, message, extras, stack = self._parts(record)
        line: dict[str, Any] = {
            "severity": severity,
            "message": message,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "logger": record.name,
        }
        if stack:
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
        severity, message, extras, stack = self._parts(record)
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        # A name from outside must not be able to add a line, or to move the cursor.
        line = f"{time} {severity:<8} " + "".join(
            c if c.isprintable() else repr(c)[1:-1] for c in message
        )
        line += " " if extras else ""
        for name, value in extras.items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            plain = re.fullmatch(r"[^\s\"=]+", text) and text.isprintable()
            line += f" {name}={text if plain else json.dumps(text)}"
        return line + (f"\n{stack}" if stack else "")
