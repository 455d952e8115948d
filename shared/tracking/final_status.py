"""The one log line for each recording that ends; Cloud Monitoring counts these lines."""

from __future__ import annotations

import logging

from shared.core.records import Recording, Status

log = logging.getLogger(__name__)

#: The message of the line, whatever the status: log-based metrics match this text.
ENDED = "recording ended"


def log_final_status(recording: Recording, *, processing_s: float = 0.0) -> None:
    """Log that ``recording`` ended. Call once, right after writing the final status.

    ``processing_s`` is the time from the last claim to the end, in seconds; 0 when no
    worker ended it.
    """
    error = recording.error
    extra = recording.log_context() | {
        "code": error.code if error else "",
        "processing_s": processing_s,
    }
    if error:
        extra["error"] = error.message
    level = logging.ERROR if recording.status is Status.FAILED else logging.INFO
    log.log(level, ENDED, extra=extra)
