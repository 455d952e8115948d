"""Every error of the pipeline, and the one predicate that tells transient from permanent.

PipelineError
├── ConfigurationError     the environment is wrong; lists every problem
├── MessageError           a message that can never be understood; carries its raw data
├── PermanentError         this recording ends as SKIPPED or FAILED, with a stable code
├── TransientError         the same work may succeed later
├── LeaseLostError         another worker holds this recording now
├── CancelledError         we were asked to stop (SIGTERM, Ctrl-C)
├── ConflictError          a document changed since it was read, or exists already
└── ObjectExistsError      the name in the bucket is taken
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class Code(StrEnum):
    """Why a recording ended without audio. Stable: people script against these."""

    NO_AUDIO = "no_audio"  # no audio track, or one without samples
    TRASHED = "trashed"  # in Drive's trash when it was opened
    GONE = "gone"  # deleted, or no longer shared, before it was read
    SUPERSEDED = "superseded"  # another revision has taken its place
    CORRUPT = "corrupt"  # damaged beyond what the tolerance allows
    TRUNCATED = "truncated"  # ends before the length that it declares
    UNSUPPORTED_CODEC = "unsupported_codec"  # an audio track without a decoder
    NOT_A_RECORDING = "not_a_recording"  # a playlist, manifest, picture or text
    TOO_LONG = "too_long"  # more than MAX_DURATION_HOURS
    FORBIDDEN = "forbidden"  # the source may not be read
    VERIFY_FAILED = "verify_failed"  # the audio made did not pass verification
    TIMEOUT = "timeout"  # the media engine made no progress, or took too long
    GAVE_UP = "gave_up"  # transient failures or crashes, too many or for too long
    DEAD_LETTER = "dead_letter"  # Pub/Sub delivered it as often as it may


#: Reasons that leave nothing to mend: the recording is SKIPPED, not FAILED.
SKIP_CODES = frozenset({Code.NO_AUDIO, Code.TRASHED, Code.GONE, Code.SUPERSEDED})


class PipelineError(Exception):
    """Root of all errors that the pipeline raises on purpose."""


class ConfigurationError(PipelineError):
    """The environment is wrong; the message lists every problem, one a line, and no secret."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class MessageError(PipelineError):
    """A message that no retry can mend; ``raw`` is its data as it came."""

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
    """Another worker holds the lease; this one must stop and write nothing."""


class CancelledError(PipelineError):
    """The process was asked to stop; the work goes back to the queue at once."""


class ConflictError(PipelineError):
    """A document changed since it was read, or exists although it was to be created."""


class ObjectExistsError(PipelineError):
    """An object (or a claim on its name) is already there."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name} exists already")


#: gRPC status names and HTTP codes after which the same call may succeed.
_TRANSIENT_HTTP = frozenset({408, 425, 429, 500, 502, 503, 504})
_TRANSIENT_MODULES = ("google.", "grpc", "urllib3", "requests", "httplib2", "paramiko")


def is_transient(error: BaseException) -> bool:
    """Tell whether the work that raised ``error`` may succeed when it is done again.

    The only place that decides this. Errors of the client libraries are told by the
    status they carry, without importing the libraries: a function that never loads
    Firestore must not pay for it here.
    """
    if isinstance(error, TransientError):
        return True
    if isinstance(error, PipelineError):
        return False
    if isinstance(error, OSError):
        return not isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)
    return _is_transient_reply(error)


def _is_transient_reply(error: BaseException) -> bool:
    if not type(error).__module__.startswith(_TRANSIENT_MODULES):
        return False
    status = getattr(error, "code", None) or getattr(error, "status_code", None)
    if status is None:
        status = getattr(getattr(error, "resp", None), "status", None)
    if status is None:
        status = getattr(getattr(error, "response", None), "status_code", None)
    if callable(status):
        status = None
    # A reply without a status is a broken connection or a deadline that ran out; one that
    # succeeded and was refused here was damaged on its way.
    return status is None or int(status) < 400 or int(status) in _TRANSIENT_HTTP
