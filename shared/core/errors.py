"""Every error of the pipeline, and the one predicate for transient errors.

PipelineError
├── ConfigurationError     the environment is wrong; lists every problem
├── MessageError           a message that no retry can fix; carries its raw data
├── PermanentError         this recording ends as SKIPPED or FAILED, with a stable code
├── TransientError         the same work may succeed later
├── LeaseLostError         another worker has this recording now
├── CancelledError         the process was asked to stop (SIGTERM, Ctrl-C)
├── ConflictError          a document changed since it was read, or exists already
└── ObjectExistsError      the name in the bucket is taken
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from enum import StrEnum


class Code(StrEnum):
    """Why a recording ended without audio. Stable: people script against these."""

    NO_AUDIO = "no_audio"  # no audio track, or one without samples
    TRASHED = "trashed"  # in Drive's trash when it was opened
    GONE = "gone"  # deleted, or no longer shared, before it was read
    SUPERSEDED = "superseded"  # another revision replaced it
    NOT_WATCHED = "not_watched"  # outside the watched folders when it was opened
    CORRUPT = "corrupt"  # damaged beyond the tolerance
    TRUNCATED = "truncated"  # ends before the length that it declares
    UNSUPPORTED_CODEC = "unsupported_codec"  # an audio track without a decoder
    NOT_A_RECORDING = "not_a_recording"  # a playlist, manifest, picture or text
    TOO_LONG = "too_long"  # more than MAX_DURATION_HOURS
    FORBIDDEN = "forbidden"  # the source may not be read
    VERIFY_FAILED = "verify_failed"  # the new audio did not pass verification
    TIMEOUT = "timeout"  # the media engine made no progress, or took too long
    GAVE_UP = "gave_up"  # transient failures or crashes, too many or for too long
    DEAD_LETTER = "dead_letter"  # Pub/Sub delivered it as often as it may


#: Reasons that need no fix: the recording is SKIPPED, not FAILED.
SKIP_CODES = frozenset({Code.NO_AUDIO, Code.TRASHED, Code.GONE, Code.SUPERSEDED, Code.NOT_WATCHED})


class PipelineError(Exception):
    """Root of all errors that the pipeline raises itself."""


class ConfigurationError(PipelineError):
    """The environment is wrong; the message lists every problem, one a line, and no secret."""

    #: The code in a service's answer. Stable: alerts use it.
    code: str = "configuration"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class MessageError(PipelineError):
    """A message that no retry can fix; ``raw`` is its data as received."""

    def __init__(self, reason: str, raw: bytes) -> None:
        self.raw = raw
        super().__init__(reason)


class PermanentError(PipelineError):
    """This recording cannot become audio; ``code`` is stable, the message is for people."""

    def __init__(self, code: Code, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)

    @property
    def skips(self) -> bool:
        """Whether the recording ends as SKIPPED rather than FAILED."""
        return self.code in SKIP_CODES


class TransientError(PipelineError):
    """The network, a quota, a full disk or a killed FFmpeg: the same work may succeed later."""


class LeaseLostError(PipelineError):
    """Another worker has the lease; this one must stop and write nothing."""


class CancelledError(PipelineError):
    """The process was asked to stop; the work goes back to the queue at once."""


class ConflictError(PipelineError):
    """A document changed since it was read, or exists although it was to be created."""


class ObjectExistsError(PipelineError):
    """An object (or a claim on its name) is already there."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name} exists already")


#: Answers after which a retry may succeed.
_TRANSIENT_HTTP = frozenset({408, 425, 429, 500, 502, 503, 504})
# Not ABORTED: another write won, and the caller must read again.
_TRANSIENT_GRPC = frozenset(
    {
        "CANCELLED",
        "DEADLINE_EXCEEDED",
        "INTERNAL",
        "RESOURCE_EXHAUSTED",
        "UNAVAILABLE",
        "UNKNOWN",
    }
)
# Google answers 403 both to too many requests and to forbidden ones; the reason differs.
# Source: "Resolve errors", https://developers.google.com/workspace/drive/api/guides/handle-errors
_RATE_REASON = re.compile(
    r"\b((user|sharing)?rateLimitExceeded|(daily|download)(Limit|Quota)Exceeded"
    r"|quotaExceeded|RATE_LIMIT_EXCEEDED)\b",
    re.IGNORECASE,
)

#: Modules whose errors mean a broken connection, unless they carry an answer.
_CLIENTS = (
    "google.api_core",
    "google.auth",
    "google.cloud",
    "google.resumable_media",
    "googleapiclient",
    "grpc",
    "http.client",
    "httplib2",
    "paramiko",
    "requests",
    "urllib",
)
# Errors of clients and the system about a setting, a path or a permission.
_LASTING_NAMES = frozenset(
    {
        "AuthenticationException",
        "BadHostKeyException",
        "DefaultCredentialsError",
        "InvalidURL",
        "SSLCertVerificationError",
    }
)
_LASTING_ERRNO = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)


def is_transient(error: BaseException) -> bool:
    """Return whether the work that raised ``error`` may succeed on a retry.

    The only place that decides this. Errors of client libraries are recognised by their
    module and the answer they carry, without importing the libraries: a function that
    does not use Firestore must not pay for its import.
    """
    if isinstance(error, PipelineError):
        return isinstance(error, TransientError)
    is_client = type(error).__module__.startswith(_CLIENTS)
    if is_client and (answer := _answer(error)) is not None:
        return answer in _TRANSIENT_GRPC | _TRANSIENT_HTTP or _is_rate_limit(error, answer)
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, ValueError) or not _LASTING_NAMES.isdisjoint(names):
        return False
    if isinstance(error, OSError):
        return error.errno not in _LASTING_ERRNO and not isinstance(error, _LASTING_OS_ERRORS)
    return is_client or isinstance(error, EOFError)


# Raised by libraries without an errno.
_LASTING_OS_ERRORS = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


def _answer(error: BaseException) -> int | str | None:
    """Return the gRPC status by its name, or the HTTP status, of a refusal; else ``None``."""
    code = getattr(error, "code", None)
    replies = [getattr(error, name, None) for name in ("resp", "response")]
    candidates = [
        getattr(error, "grpc_status_code", None),
        code() if callable(code) else code,  # a gRPC error is the call itself
        *(getattr(reply, "status_code", None) for reply in replies),
        *(getattr(reply, "status", None) for reply in replies),
    ]
    for status in candidates:
        # A successful answer that was refused here was damaged on its way.
        if isinstance(status, int) and status >= 400:
            return int(status)
        if status is not None and not isinstance(status, int) and hasattr(status, "name"):
            return str(status.name)
    return None


def _is_rate_limit(error: BaseException, answer: int | str) -> bool:
    if answer not in (403, "PERMISSION_DENIED"):
        return False
    texts = (getattr(error, name, None) for name in ("content", "errors", "reason"))
    return bool(_RATE_REASON.search(" ".join(map(str, texts))))
