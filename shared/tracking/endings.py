"""The one line that tells how a recording ended; Cloud Monitoring counts these lines."""

from __future__ import annotations

import logging

from shared.core.records import Recording, Status

log = logging.getLogger(__name__)

#: What the line says, whatever the end was: log-based metrics look for this text.
ENDED = "recording ended"


def tell(recording: Recording, *, processing_s: float = 0.0) -> None:
    """Log that ``recording`` has ended as it stands; called once, by who has written that.

    ``processing_s`` is how many seconds its last attempt took from claim to end; 0 for an
    end that no worker has brought about.
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
