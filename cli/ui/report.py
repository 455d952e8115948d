"""What people are told of each recording: where its audio is, or why there is none."""

from __future__ import annotations

from cli import exits
from cli.ui.console import screen
from cli.ui.error_text import sentence
from cli.ui.text import duration, place, shown, size
from shared.core.records import Audio, Recording, Status
from shared.tracking.lease import Outcome, Result


def told(result: Result, name: str, *, quiet: bool = False) -> int:
    """Tell how a recording ended; returns the exit status that it asks for.

    ``quiet`` keeps standard output clear: only what failed is told, on standard error.
    """
    recording = result.recording
    if result.outcome is Outcome.CANCELLED:
        _failure(name, "stopped; it waits to be extracted again", waiting=True)
        return exits.INTERRUPTED
    if recording is not None and recording.status is Status.DONE:
        if not quiet:
            _success(recording, name, again=result.outcome is Outcome.DUPLICATE)
        return exits.OK
    if recording is not None and recording.status is Status.SKIPPED:
        if not quiet:
            _skipped(recording, name)
        return exits.OK
    _failure(name, *_reason(result))
    return exits.FAILED


def failed(name: str, error: BaseException) -> int:
    """Tell why a file could not even be looked at; returns the exit status."""
    _failure(name, sentence(error))
    return exits.FAILED


def _reason(result: Result) -> tuple[str, ...]:
    recording = result.recording
    if recording is not None and recording.status is Status.FAILED and recording.error:
        return (shown(recording.error.message), f"({recording.error.code})")
    if result.error is not None:
        return (sentence(result.error), "It can be tried again: nothing was lost.")
    return (f"it is {recording.status if recording else 'not in the tracker'}",)


def _success(recording: Recording, name: str, *, again: bool) -> None:
    marks = screen.marks
    suffix = "  already done" if again else ""
    screen.line((f"{marks.done} ", "bold green"), (shown(name), "bold"), (suffix, "dim"))
    if recording.audio is None or recording.gcs_url is None:
        return
    screen.line("  ", (shown(place(recording.gcs_url)), "cyan"))
    facts = [*_facts(recording.audio)]
    if recording.chunks:
        facts.append(f"{len(recording.chunks)} chunks")
    if recording.processing_s is not None:
        facts.append(f"took {duration(recording.processing_s)}")
    screen.line("  ", (marks.dot.join(facts), "dim"))
    if again:
        screen.line("  ", ("extract it again with --force", "dim"))


def _facts(audio: Audio) -> list[str]:
    return [
        duration(audio.duration_s),
        size(audio.bytes),
        f"{audio.codec} {audio.bitrate_kbps:.0f} kbit/s",
    ]


def _skipped(recording: Recording, name: str) -> None:
    why = shown(recording.error.message) if recording.error else ""
    screen.line((f"{screen.marks.skipped} ", "bold yellow"), (shown(name), "bold"))
    screen.line("  skipped: ", why)


def _failure(name: str, *why: str, waiting: bool = False) -> None:
    mark, style = (screen.marks.waiting, "yellow") if waiting else (screen.marks.failed, "red")
    screen.line((f"{mark} ", f"bold {style}"), (shown(name), "bold"), error=True)
    lines = " ".join(part for part in why if part).splitlines()
    for line in lines:
        screen.line("  ", line, error=True)
