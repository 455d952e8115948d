"""``audio-pipeline status``: what was done, what runs, what waits, and what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import click
from rich.table import Table
from rich.text import Text

from cli import exits
from cli.app import App, load
from cli.options import as_json
from cli.ui import json_output
from cli.ui.console import screen, styled
from cli.ui.text import ago, duration, place, shown, size
from shared.core.records import Recording, Status

#: Below this width a table would be all broken words.
_NARROW = 100

_STYLES = {
    Status.QUEUED: "yellow",
    Status.PROCESSING: "cyan",
    Status.DONE: "green",
    Status.FAILED: "red",
    Status.SKIPPED: "dim",
}


@click.command()
@click.option("--failed", is_flag=True, help="Only what failed: why, and its key for retry.")
@click.option(
    "--status", "only", type=click.Choice([s.value for s in Status], case_sensitive=False),
    help="Only this status.",
)  # fmt: skip
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many."
)
@as_json
@click.pass_obj
def status(verbose: bool, failed: bool, only: str | None, limit: int, json: bool) -> int:
    """Show how many recordings there are of each status, and those that changed last."""
    app = load(verbose=verbose)
    wanted = Status.FAILED if failed else Status(only) if only else None
    recordings = list(_wanted(app, wanted, limit))
    if json:
        json_output.write(recordings)
    elif wanted is Status.FAILED:
        _print_failed(recordings, app.tracker.clock())
    else:
        _print_counts(app)
        _print_table(recordings, app.tracker.clock())
    return exits.OK


def _wanted(app: App, wanted: Status | None, limit: int) -> Iterable[Recording]:
    if wanted is None:
        return app.tracker.recent(limit)
    return app.tracker.with_status(wanted, limit)


def _print_counts(app: App) -> None:
    counts = Counter(recording.status for recording in app.tracker.all())
    parts: list[tuple[str, str] | str] = []
    for one in Status:
        style = f"bold {_STYLES[one]}" if counts[one] else "dim"
        parts += [(f"{counts[one]} {one.value.lower()}", style), "   "]
    screen.line(*parts[:-1])


def _print_table(recordings: list[Recording], now: datetime) -> None:
    if not recordings:
        screen.line(("nothing yet: audio-pipeline extract FILE", "dim"))
        return
    if screen.out.width < _NARROW:
        _print_list(recordings, now)
        return
    table = Table(box=None, pad_edge=False, header_style="dim", expand=screen.out.is_terminal)
    table.add_column("", no_wrap=True)
    table.add_column("recording", ratio=2, overflow="ellipsis", no_wrap=True, min_width=12)
    table.add_column("length", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("changed", no_wrap=True)
    table.add_column("audio, or why there is none", ratio=3, overflow="fold")
    for one in recordings:
        table.add_row(*_row(one, now))
    screen.out.print(table)


def _print_list(recordings: list[Recording], now: datetime) -> None:
    for one in recordings:
        state = (f"{one.status.value.lower()} ", _STYLES[one.status])
        screen.line(state, (shown(one.name), "bold"), (f"  {ago(one.updated_at, now)}", "dim"))
        screen.out.print(Text("  ") + _outcome(one, now), soft_wrap=True)


def _row(one: Recording, now: datetime) -> list[Text]:
    audio = one.audio
    return [
        styled((one.status.value.lower(), _STYLES[one.status])),
        styled(shown(one.name)),
        styled(duration(audio.duration_s) if audio else ""),
        styled(size(audio.bytes) if audio else ""),
        styled((ago(one.updated_at, now), "dim")),
        _outcome(one, now),
    ]


def _outcome(one: Recording, now: datetime) -> Text:
    if one.status is Status.PROCESSING:
        return _running(one, now)
    if one.status is Status.DONE and one.gcs_url:
        return styled(shown(place(one.gcs_url)))
    if one.error:
        return styled(shown(one.error.message), (f" ({shown(one.error.code)})", "dim"))
    return styled(("waits for a worker", "dim") if one.status is Status.QUEUED else "")


def _running(one: Recording, now: datetime) -> Text:
    if one.lease_expires_at is None or one.lease_expires_at <= now:
        return styled(("its worker has stopped without a word", "yellow"))
    return styled((f"{one.progress:.0%} done", "cyan"))


def _print_failed(recordings: list[Recording], now: datetime) -> None:
    if not recordings:
        screen.line(("nothing has failed", "green"))
        return
    for one in recordings:
        screen.line((f"{screen.marks.failed} ", "bold red"), (shown(one.name), "bold"),
                    (f"  {ago(one.finished_at, now)}", "dim"))  # fmt: skip
        if one.error:
            screen.line("  ", shown(one.error.message), (f" ({shown(one.error.code)})", "dim"))
        screen.line("  ", (f"audio-pipeline retry {one.key}", "dim"))
