"""The terminal's view of the system: the steps of each recording, as they happen.

On a terminal, recordings that are on their way have a row each, redrawn in place, and
those that ended stay above. Elsewhere every step is a line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.serve.queue import Message
from cli.ui.console import screen, styled
from cli.ui.error_text import error_text
from cli.ui.text import duration, shown, size
from shared.core.errors import MessageError
from shared.core.message import SourceFile
from shared.core.records import Recording, Status
from shared.tracking.tracker import Tracker

#: How often the tracker is asked, in seconds. Each look at Firestore costs reads.
LOCAL_LOOK_S, CLOUD_LOOK_S = 0.25, 2.0

#: How many recordings one look finds.
_LOOK_AT = 100

#: Where a recording appeared, by its source.
SOURCES = {"drive": "Drive", "sftp": "SFTP", "local": "folder"}
_STEPS = ("notified", "queued")

#: Below this width, in columns, a status is one word or a short bar.
_NARROW = 72

#: What the bar is made of: done, and still to do.
_BAR = ("━", "─") if screen.marks.done == "✓" else ("#", "-")


@dataclass
class Row:
    """One recording on its way. ``step`` is the last one it has reached."""

    name: str
    source: str
    step: str = ""
    progress: float = 0.0
    recording: Recording | None = None
    seen_at: float = field(default_factory=time.monotonic)


class Story:
    """Follows recordings by the queue's events and the tracker, from now on.

    Threads may share it. ``is_live`` redraws rows in place, else each step is a line.
    """

    def __init__(
        self, tracker: Tracker, *, look_every_s: float, is_live: bool, is_quiet: bool = False
    ) -> None:
        self._tracker = tracker
        self._look_every_s = look_every_s
        self._is_live = is_live and not is_quiet
        self._is_quiet = is_quiet
        self._rows: dict[str, Row] = {}
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._since = datetime.now(UTC) - timedelta(seconds=1)
        self._reported: dict[str, datetime | None] = {}
        self.note = ""

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Follow and show until the block ends."""
        thread = threading.Thread(target=self._follow, name="story", daemon=True)
        with (
            Live(
                get_renderable=self._render,
                console=screen.out,
                refresh_per_second=8,
                transient=True,
                redirect_stderr=self._is_live,
            )
            if self._is_live
            else nullcontext()
        ):
            thread.start()
            try:
                yield
            finally:
                self._stop.set()
                thread.join(5.0)

    def say(self, *parts: tuple[str, str] | str) -> None:
        """Print one line above the rows."""
        if not self._is_quiet:
            screen.out.print(styled(*parts), soft_wrap=True)

    def appeared(self, source_id: str, name: str, source: str = "drive") -> None:
        """A recording is in its source, and nothing here knows of it yet."""
        with self._lock:
            self._rows[source_id] = Row(name, source)
            self._line(self._rows[source_id], "new", f"appeared in {SOURCES[source]}")

    def notified(self) -> None:
        """The webhook is being called, about everything that has appeared."""
        with self._lock:
            for row in self._rows.values():
                if not row.step and row.source == "drive":
                    self._reach(row, "notified", "Drive called the webhook")

    def on_event(self, _topic: str, event: str, message: Message) -> None:
        """Take an event of a queue."""
        if event != "published":
            return
        try:
            item = SourceFile.decode(message.data)
        except MessageError:
            return
        with self._lock:
            row = self._rows.setdefault(item.source_id, Row(item.name, item.source))
            if row.recording is None or row.recording.status.is_final:
                row.recording = None
                self._reach(row, "queued", "")

    def _follow(self) -> None:
        while not self._stop.wait(self._look_every_s):
            try:
                found = list(self._tracker.recent(_LOOK_AT))
            except Exception as error:  # the tracker may be out of reach for a while
                self.note = f"tracker: {error_text(error)}"
                continue
            self.note = ""
            with self._lock:
                for recording in reversed(found):
                    if (recording.updated_at or self._since) > self._since:
                        self._take(recording)

    def _take(self, recording: Recording) -> None:
        if recording.status.is_final:
            if self._reported.get(recording.key) != recording.finished_at:
                self._reported[recording.key] = recording.finished_at
                row = self._rows.pop(recording.source_id, None)
                self._ended(row or Row(recording.name, recording.source), recording)
            return
        row = self._rows.setdefault(recording.source_id, Row(recording.name, recording.source))
        row.recording = recording
        if recording.status is Status.QUEUED:
            self._reach(row, "queued", "")
            return
        row.progress = recording.progress
        self._reach(row, "verifying" if recording.progress >= 1 else "encoding", "")

    def _reach(self, row: Row, step: str, detail: str) -> None:
        if row.step == step:
            return
        row.step = step
        self._line(row, step, detail)

    def _line(self, row: Row, step: str, detail: str) -> None:
        if self._is_live:
            return
        now = datetime.now().strftime("%H:%M:%S")
        more = f": {detail}" if detail else ""
        self.say(f"{now}  {step:<10} {shown(row.name)}{more}")

    def _ended(self, row: Row, recording: Recording) -> None:
        audio, why = recording.audio, recording.error
        if recording.status is Status.DONE and audio:
            length, bytes_ = duration(audio.duration_s), size(audio.bytes)
            took = f"in {duration(recording.processing_s or 0.0)}"
            if self._is_live:
                facts = screen.marks.dot.join((length, bytes_, took))
                fits = len(audio.object) + len(facts) + 4 < screen.out.width
                self.say((f"{screen.marks.done} ", "bold green"), (shown(row.name), "bold"))
                self.say("  ", (audio.object, "cyan"), "  " if fits else "\n  ", (facts, "dim"))
            else:
                self._line(row, "verified", f"{length} of audio")
                self._line(row, "published", f"{audio.object}, {bytes_}, {took}")
            return
        mark, style, word = screen.marks.failed, "bold red", "failed"
        if recording.status is Status.SKIPPED:
            mark, style, word = screen.marks.skipped, "bold yellow", "skipped"
        reason = f"{shown(why.message)} ({why.code})" if why else ""
        if self._is_live:
            self.say((f"{mark} ", style), (shown(row.name), "bold"))
            screen.sentence((f"{word}: ", style), reason)
        else:
            self._line(row, word, reason)

    def _render(self) -> RenderableType:
        # Not under the lock: a step prints while it has it, printing waits for the display,
        # and the display waits for this. A dict's copy is one step for other threads.
        rows = list(self._rows.copy().values())
        width = screen.out.width
        statuses = [_status(row, width) for row in rows]
        widest = max((status.cell_len for status in statuses), default=0)
        most = max(3, screen.out.height - 6)
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, max_width=max(12, width - widest - 2))
        table.add_column(no_wrap=True)
        for row, status in list(zip(rows, statuses, strict=True))[:most]:
            table.add_row(Text(shown(row.name), "bold", overflow="ellipsis"), status)
        if len(rows) > most:
            table.add_row(Text(f"and {len(rows) - most} more", "dim"), "")
        note = [Text(self.note, "cyan")] if self.note else []
        return Group(table, *note) if rows else Group(*note)


def _status(row: Row, width: int) -> Text:
    """Return how far a recording is: a bar while it is encoded, else the steps it has taken."""
    text = Text()
    if row.step in ("encoding", "verifying"):
        length = 20 if width >= _NARROW else 8
        done = round(length * row.progress)
        text.append(_BAR[0] * done, "cyan").append(_BAR[1] * (length - done), "dim")
        return text.append(f" {row.progress:>4.0%} {row.step}", "cyan")
    taken = [*_STEPS[: _STEPS.index(row.step) + 1]] if row.step else ["in Drive"]
    if row.source != "drive":
        taken = taken[1:]
    for step in taken if width >= _NARROW else taken[-1:]:
        text.append(" › " if text else "", "dim").append(step, "green")
    return text
