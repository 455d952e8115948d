"""A bar for the recording at work: fraction, speed and the time left; nothing off a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from cli.ui.console import screen
from cli.ui.text import shown
from shared.core.message import SourceFile

#: Below this width the name and the fraction are all that fits.
_NARROW = 72


class Bar:
    """What is told of one recording while it is worked on."""

    def __init__(self, progress: Progress, task_id: int, size_bytes: int) -> None:
        self._progress = progress
        self._task = progress.tasks[task_id].id
        self._size = max(1, size_bytes)

    def update(self, fraction: float) -> None:
        """Show the fraction done; all of it encoded, it is still verified and stored."""
        phase = "verifying" if fraction >= 1 else "extracting"
        self._progress.update(self._task, completed=fraction * self._size, phase=phase)

    def waiting(self, why: str) -> None:
        """Show why nothing moves."""
        self._progress.update(self._task, completed=0, phase=why)


@contextmanager
def bar(item: SourceFile) -> Iterator[Bar]:
    """Draw the bar of one recording until the block ends, then leave nothing of it."""
    progress = Progress(
        *_columns(screen.err.width < _NARROW),
        console=screen.err,
        transient=True,
        disable=not screen.err.is_terminal,
        redirect_stdout=screen.out.is_terminal,
    )
    with progress:
        size = max(1, item.size_bytes)
        task = progress.add_task(shown(item.name), total=size, phase="reading")
        yield Bar(progress, progress.task_ids.index(task), size)


def _columns(narrow: bool) -> list[ProgressColumn]:
    if narrow:
        return [_Name(30), BarColumn(bar_width=10), TaskProgressColumn()]
    phase = TextColumn("{task.fields[phase]}", markup=False, style="cyan")
    speed = [TransferSpeedColumn(), _TimeLeft(compact=True, elapsed_when_finished=True)]
    return [
        SpinnerColumn(),
        _Name(75),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        phase,
        *speed,
    ]


class _Name(ProgressColumn):
    """The name, cut to what the other columns leave of the width as it is now."""

    def __init__(self, others: int) -> None:
        super().__init__()
        self._others = others

    def render(self, task: Task) -> Text:
        name = Text(task.description, "bold")
        name.truncate(max(8, screen.err.width - self._others), overflow="ellipsis")
        return name


class _TimeLeft(TimeRemainingColumn):
    """The time left, said to be that."""

    def render(self, task: Task) -> Text:
        return super().render(task) + Text("" if task.finished else " left", "progress.remaining")
