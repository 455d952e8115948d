"""What is printed of each recording, and of a run of many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from cli import exits
from cli.ui.console import screen
from cli.ui.error_text import error_text
from cli.ui.text import duration, place, shown, size
from shared.core.counts import counted
from shared.core.records import Recording, Status
from shared.tracking.lease import Outcome, Result

#: How many names of one kind a summary lists.
_NAMES = 5


def print_result(result: Result, name: str, *, quiet: bool = False, note: str = "") -> int:
    """Print how a recording ended; return the exit status for it.

    ``quiet`` prints failures only, on standard error. ``note`` replaces the hint for a
    recording that was done before.
    """
    recording = result.recording
    if result.outcome is Outcome.CANCELLED:
        _print_failure(name, "stopped; run the same command to continue", waiting=True)
        return exits.INTERRUPTED
    if recording is not None and recording.status is Status.DONE:
        if not quiet:
            _print_success(recording, name, again=result.outcome is Outcome.DUPLICATE, note=note)
        return exits.OK
    if recording is not None and recording.status is Status.SKIPPED:
        if not quiet:
            why = shown(recording.error.message) if recording.error else ""
            screen.line((f"{screen.marks.skipped} ", "bold yellow"), (shown(name), "bold"))
            screen.sentence("skipped: ", why)
        return exits.OK
    if recording is not None and recording.status is Status.FAILED and recording.error:
        why = f"{shown(recording.error.message)} ({recording.error.code})"
    elif result.error is not None:
        why = f"{error_text(result.error)}\nNothing is lost; run the same command to try again."
    else:
        why = f"it is {recording.status.lower()}" if recording else "the tracker does not know it"
    _print_failure(name, why)
    return exits.FAILED


def print_failure(name: str, error: BaseException) -> int:
    """Print why an input could not be processed at all; return the exit status."""
    _print_failure(name, error_text(error))
    return exits.FAILED


def _print_success(recording: Recording, name: str, *, again: bool, note: str) -> None:
    marks = screen.marks
    suffix = "  already done" if again else ""
    screen.line((f"{marks.done} ", "bold green"), (shown(name), "bold"), (suffix, "dim"))
    audio = recording.audio
    if audio is None or recording.gcs_url is None:
        return
    screen.line("  ", (shown(place(recording.gcs_url)), "cyan"))
    facts = [
        duration(audio.duration_s),
        size(audio.bytes),
        f"{audio.codec} {audio.bitrate_kbps:.0f} kbit/s",
    ]
    if recording.chunks:
        facts.append(counted(len(recording.chunks), "chunk"))
    if recording.processing_s is not None:
        facts.append(f"took {duration(recording.processing_s)}")
    silent = (f"{marks.dot}silent", "bold yellow") if recording.silent else ""
    screen.line("  ", (marks.dot.join(facts), "dim"), silent)
    if again:
        screen.line("  ", (note or "--force makes it again", "dim"))


def _print_failure(name: str, why: str, *, waiting: bool = False) -> None:
    mark, style = (screen.marks.waiting, "yellow") if waiting else (screen.marks.failed, "red")
    screen.line((f"{mark} ", f"bold {style}"), (shown(name), "bold"), error=True)
    for line in why.splitlines():
        screen.sentence(line, error=True)


@dataclass
class RunSummary:
    """Counts of a run of many recordings: how they ended, and which were left out."""

    total: int = 0
    ended: Counter[Status] = field(default_factory=Counter)
    new: int = 0
    silent: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def add(self, result: Result, name: str) -> None:
        """Count how one recording ended."""
        recording = result.recording
        status = recording.status if recording else Status.FAILED
        self.ended[status if status.is_final else Status.QUEUED] += 1
        self.new += result.outcome is Outcome.DONE
        if result.outcome is Outcome.DONE and recording and recording.silent:
            self.silent.append(name)

    def add_failure(self) -> None:
        """Count an input that has no document."""
        self.ended[Status.FAILED] += 1

    def leave_out(self, name: str, why: str) -> None:
        """Note a file or folder that was not processed, such as an empty file."""
        self.left_out.setdefault(why, []).append(name)

    def print(self, *next_commands: str) -> None:
        """Print the counts, for example ``13 recordings: 10 done, 2 new, 1 skipped, 2 failed``.

        Done includes new. Names that were left out and ``next_commands`` follow.
        """
        parts = [(f"{self.ended[Status.DONE]:,} done", "green")]
        if self.new:
            parts.append((f"{self.new:,} new", "bold green"))
        for count, word, style in (
            (self.ended[Status.SKIPPED], "skipped", "yellow"),
            (self.ended[Status.FAILED], "failed", "bold red"),
            (self.ended[Status.QUEUED], "to try again", "yellow"),
            (self.total - self.ended.total(), "not started", "yellow"),
        ):
            if count > 0:
                parts.append((f"{count:,} {word}", style))
        joined = [part for pair in parts for part in (", ", pair)][1:]
        screen.line((f"{counted(self.total, 'recording')}: ", "bold"), *joined)
        if self.silent:
            screen.line("  ", (f"silent: {listed(self.silent)}", "yellow"))
        for why, names in self.left_out.items():
            screen.line("  ", (f"{why}: {listed(names)}", "yellow"))
        for command in next_commands:
            screen.line("  ", (command, "dim"))


def listed(names: Sequence[str], total: int | None = None) -> str:
    """Return a few names, and how many more there are of ``total``, by default all of ``names``."""
    total = len(names) if total is None else total
    more = f" and {total - _NAMES:,} more" if total > _NAMES else ""
    return ", ".join(shown(name) for name in names[:_NAMES]) + more
