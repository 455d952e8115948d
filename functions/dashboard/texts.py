"""Plain words for people: a recording's state, its error, lengths and sizes."""

from __future__ import annotations

from datetime import timedelta

from shared.core.records import Recording, Status

#: Each status as staff read it.
STATUS = {
    Status.QUEUED: "Waiting",
    Status.PROCESSING: "In progress",
    Status.DONE: "Done",
    Status.FAILED: "Failed",
    Status.SKIPPED: "Skipped",
}

#: Components as people call them.
COMPONENT = {
    "ffmpeg": "FFmpeg",
    "storage": "Storage",
    "tracker": "Tracker",
    "queue": "Queue",
    "temporary space": "Temporary space",
    "drive": "Google Drive",
    "sftp": "SFTP",
}

SOURCE = {"drive": "Google Drive", "sftp": "SFTP", "local": "This machine"}

#: What a code means, and what to do about it.
CODES = {
    "no_audio": ("No sound", "The recording has a picture but no audio track."),
    "trashed": ("In the trash", "Restore the file in Drive and retry."),
    "gone": ("File gone", "The file was deleted, or is no longer shared, before it was read."),
    "superseded": ("Replaced", "A newer version of the file was processed instead."),
    "not_watched": ("Not watched", "The file is outside the watched folders."),
    "corrupt": ("Damaged file", "The file is damaged. Upload it again if you have the original."),
    "truncated": ("Incomplete file", "The file ends too early. Upload it again."),
    "unsupported_codec": ("Unknown format", "The audio is in a format that cannot be decoded."),
    "not_a_recording": ("Not a recording", "The file is not audio or video."),
    "too_long": ("Too long", "The recording is longer than the limit (MAX_DURATION_HOURS)."),
    "forbidden": ("No access", "Share the file with the pipeline's account, then retry."),
    "verify_failed": ("Check failed", "The audio did not pass verification. Retry once."),
    "timeout": ("Took too long", "Processing stopped making progress. Retry."),
    "gave_up": ("Gave up", "It kept failing for half an hour. It is retried automatically later."),
    "dead_letter": (
        "Gave up",
        "The queue delivered it too often. It is retried automatically later.",
    ),
    "transient": ("Temporary problem", "It is retried automatically."),
}


def reason(code: str) -> str:
    """Return a code in two or three words."""
    return CODES.get(code, (code.replace("_", " ").capitalize(), ""))[0]


def advice(code: str) -> str:
    """Return what a code means for the reader; empty for an unknown one."""
    return CODES.get(code, ("", ""))[1]


def sentence(recording: Recording) -> str:
    """Describe how far a recording is, or how it ended, in one or two sentences."""
    match recording.status:
        case Status.DONE:
            if recording.audio is None:
                return "Done."
            return f"Done. The audio is {duration(recording.audio.duration_s)} long."
        case Status.PROCESSING:
            return f"In progress: {percent(recording.progress)} done."
        case Status.QUEUED:
            if recording.error:
                return "Waiting for the next attempt: the last one met a temporary problem."
            return "Waiting for its turn."
        case _:
            code = recording.error.code if recording.error else "unknown"
            word = "Skipped" if recording.status is Status.SKIPPED else "Failed"
            return f"{word}: {reason(code).lower()}. {advice(code)}".strip()


def percent(fraction: float) -> str:
    """Return a fraction as whole percent."""
    return f"{round(100 * fraction)} %"


def duration(seconds: float | timedelta | None) -> str:
    """Return a length as people say it: ``1 h 02 min``, ``3 min 05 s``, ``4 s``."""
    if seconds is None:
        return "–"
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    whole = round(seconds)
    if whole >= 2 * 86_400:
        return f"{round(whole / 86_400)} days"
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes:02} min"
    if minutes:
        return f"{minutes} min {rest:02} s"
    return f"{seconds:.1f} s" if 0 < seconds < 10 and seconds != whole else f"{whole} s"


def clock(seconds: float | None) -> str:
    """Return a length as players show it: ``1:02:03``, ``3:05``."""
    if seconds is None:
        return "–"
    whole = round(seconds)  # as duration() does: 119.97 s are 2:00 and 2 min 00 s
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: float | None) -> str:
    """Return a number of bytes with its unit, decimal as file managers show it."""
    if count is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
