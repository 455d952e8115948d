"""The progress bar of the current recording, drawn by rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from cli.ui.console import screen
from cli.ui.progress import Bar
from cli.ui.text import shown

#: Below this width only the name and the fraction fit.
_NARROW = 72


@dataclass(frozen=True)
class LiveBar(Bar):
    """A bar on the terminal; ``total`` is what ``task`` counts to."""

    progress: Progress
    task: TaskID
    total: int

    def update(self, fraction: float) -> None:
        phase = "verifying" if fraction >= 1 else "extracting"
        self.progress.update(self.task, completed=fraction * self.total, phase=phase)

    def waiting(self, why: str) -> None:
        self.progress.update(self.task, completed=0, phase=why)


@contextmanager
def live_bar(name: str, size_bytes: int, position: str) -> Iterator[LiveBar]:
    """Draw the bar while the block runs, then remove it."""
    counter: list[ProgressColumn] = []
    others = 75
    if position:
        counter = [TextColumn("{task.fields[position]}", markup=False, style="dim")]
        others += len(position) + 1
    columns: list[ProgressColumn] = [
        SpinnerColumn(),
        *counter,
        _Name(others),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TextColumn("{task.fields[phase]}", markup=False, style="cyan"),
        TransferSpeedColumn(),
        _TimeLeft(compact=True, elapsed_when_finished=True),
    ]
    if screen.err.width < _NARROW:
        columns = [*counter, _Name(others - 45), BarColumn(bar_width=10), TaskProgressColumn()]
    progress = Progress(
        *columns,
        console=screen.err,
        transient=True,
        disable=not screen.err.is_terminal,
        redirect_stdout=screen.out.is_terminal,
    )
    with progress:
        size = max(1, size_bytes)
        task = progress.add_task(shown(name), total=size, phase="reading", position=position)
        yield LiveBar(progress, task, size)


class _Name(ProgressColumn):
    """The name, cut to the width that the other columns leave."""

    def __init__(self, others: int) -> None:
        super().__init__()
        self._others = others

    def render(self, task: Task) -> Text:
        name = Text(task.description, "bold")
        name.truncate(max(8, screen.err.width - self._others), overflow="ellipsis")
        return name


class _TimeLeft(TimeRemainingColumn):
    """The time left, labelled as such."""

    def render(self, task: Task) -> Text:
        if task.finished or task.time_remaining is None:
            return Text()
        return super().render(task) + Text(" left", "progress.remaining")
