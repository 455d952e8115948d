"""``audio-pipeline doctor``: what is installed, reachable and configured, and what to do next."""

from __future__ import annotations

import click

from cli import exits
from cli.inspection.checks import Finding, Level, all_findings, environment
from cli.ui.console import screen
from cli.ui.text import shown


@click.command()
def doctor() -> int:
    """Check what the pipeline needs: every line says what was found, and what to do next."""
    bad = 0
    for finding in all_findings(environment()):
        _print(finding)
        bad += finding.level is Level.BAD
    if bad:
        problems = "1 problem" if bad == 1 else f"{bad} problems"
        screen.line((problems, "bold red"))
        return exits.FAILED
    screen.line(("ready: audio-pipeline extract FILE", "bold green"))
    return exits.OK


def _print(finding: Finding) -> None:
    marks = screen.marks
    mark, style = {
        Level.GOOD: (marks.done, "green"),
        Level.NOTE: (marks.skipped, "yellow"),
        Level.BAD: (marks.failed, "red"),
    }[finding.level]
    first, *rest = finding.found.splitlines() or [""]
    screen.line((f"{mark} ", f"bold {style}"), (f"{finding.name:<17}", "bold"), shown(first))
    for line in rest:
        screen.line(" " * 19, shown(line))
    if finding.todo:
        screen.line(" " * 19, (finding.todo, "yellow"))
