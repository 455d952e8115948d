"""What happened to one recording: its steps, and its processing log from the bucket."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from shared.core import naming, untrusted_json
from shared.core.ports import Storage
from shared.core.records import Recording

log = logging.getLogger(__name__)

#: A processing log is a few kilobytes; anything else is not one of ours.
_MAX_LOG_BYTES = 256_000


def steps(recording: Recording) -> list[tuple[str, datetime]]:
    """Return what happened when, in order of time."""
    known = {
        "Recorded": recording.created_at,
        "Queued": recording.queued_at,
        "First attempt": recording.first_claimed_at,
        "Last attempt": recording.started_at if recording.attempts > 1 else None,
        "Audio uploaded": recording.upload_timestamp,
        "Finished": recording.finished_at,
    }
    return sorted(((name, when) for name, when in known.items() if when), key=lambda step: step[1])


def processing_log(storage: Storage, env: str, recording: Recording) -> dict[str, Any]:
    """Return the processing log, or an empty one: it is only additional information."""
    if recording.finished_at is None:
        return {}
    # The log is filed under the day on which it was written, just before the end.
    days = {recording.finished_at, recording.finished_at - timedelta(minutes=5)}
    for name in {naming.log_object(env, recording.key, when) for when in days}:
        try:
            with storage.open(name) as file:
                found: Any = untrusted_json.parse(file.read(_MAX_LOG_BYTES))
        except FileNotFoundError:
            continue
        except Exception:
            log.warning("a processing log cannot be read: %s", name, exc_info=True)
            continue
        if isinstance(found, dict):
            return found
    return {}


def stages(found: dict[str, Any]) -> list[tuple[str, float]]:
    """Return the stages of the last attempt and their seconds, as the log has them."""
    seconds = found.get("stages_s")
    if not isinstance(seconds, dict):
        return []
    return [(str(name), float(s)) for name, s in seconds.items() if isinstance(s, int | float)]
