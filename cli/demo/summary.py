"""The table that ends the demonstration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.table import Table
from rich.text import Text

from cli.demo.stage import Ending
from cli.ui.console import screen
from cli.ui.text import duration, shown, size
from shared.core.records import Status

_STYLES = {Status.DONE: "green", Status.SKIPPED: "yellow", Status.FAILED: "red"}

#: Widths, in columns: from ``_WIDE`` on an object's name has a column of its own, else a
#: line of its own; below ``_NARROW`` only what matters most has a column.
_WIDE, _NARROW = 150, 80


def print_table(rows: Sequence[Ending]) -> None:
    """Print what became of each recording."""
    width = screen.out.width
    names = ["recording", "from", "to", "length", "size", "took", "outcome"]
    if width < _WIDE:
        names.remove("to")
    if width < _NARROW:
        names = ["recording", "length", "size", "outcome"]
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    cells = [_cells(row) for row in rows]
    widths = {name: max(len(name), *(len(one[name]) for one in cells)) for name in names}
    # Where space is short, only the name of the recording is cut.
    others = sum(widths.values()) - widths["recording"] + 2 * len(names)
    widths["recording"] = min(widths["recording"], max(12, width - others))
    for name in names:
        justify: Literal["left", "right"] = "left"
        if name in ("length", "size", "took"):
            justify = "right"
        table.add_column(name, justify=justify, no_wrap=True, width=widths[name])
    for one in cells:
        table.add_row(*(one[name] for name in names))
    if width >= _WIDE:
        screen.out.print(table)
        return
    rendered = screen.out.render_lines(table, pad=False)
    header, *lines = (Text.assemble(*((s.text, s.style or "") for s in line)) for line in rendered)
    screen.out.print(header, no_wrap=True, crop=True)
    for row, line in zip(rows, lines, strict=True):
        screen.out.print(line, no_wrap=True, crop=True)
        if row.recording and row.recording.audio:
            screen.line("  ", ("to ", "dim"), (row.recording.audio.object, "cyan"))


def _cells(row: Ending) -> dict[str, Text | str]:
    recording = row.recording
    cells: dict[str, Text | str] = {
        "recording": Text(shown(row.item.name), "bold"),
        "from": "SFTP" if row.item.source == "sftp" else "Drive",
        **dict.fromkeys(("to", "length", "size", "took"), ""),
    }
    if recording and recording.audio:
        audio = recording.audio
        cells |= {
            "to": Text(audio.object, "cyan"),
            "length": duration(audio.duration_s),
            "size": size(audio.bytes),
            "took": duration(recording.processing_s or 0.0),
        }
    if row.problem or recording is None:
        return cells | {"outcome": Text(f"{screen.marks.failed} {row.problem}", "bold red")}
    outcome = Text(recording.status.value, _STYLES.get(recording.status, ""))
    code = f" {recording.error.code}" if recording.error else ""
    return cells | {"outcome": outcome + Text(code, "dim")}
