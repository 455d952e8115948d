"""``audio-pipeline doctor``: checks the setup, and prints what to do next."""

from __future__ import annotations

import json as json_format

import click

from cli import exits
from cli.app import environment
from cli.inspection.checks import Finding, Severity, all_findings
from cli.options import Command, Invocation
from cli.ui.console import screen
from cli.ui.error_text import error_text
from cli.ui.text import shown
from shared.core.counts import counted
from shared.core.errors import ConfigurationError


@click.command(
    cls=Command, examples="audio-pipeline doctor\naudio-pipeline doctor --json | jq '.[].name'"
)
@click.option("--json", is_flag=True, help="Print the findings as an array of objects.")
@click.pass_obj
def doctor(invocation: Invocation, json: bool) -> int:
    """Check what is installed, reachable and configured, and print what to do next.

    Nothing is created or changed. With --json each finding has `name`, `severity` (good,
    note or bad), `found` and `todo`.
    """
    findings: list[Finding] = []
    try:
        checks = all_findings(environment(invocation))
    except ConfigurationError as error:
        checks = iter([Finding("config file", Severity.BAD, error_text(error), "Fix this file.")])
    for finding in checks:
        findings.append(finding)
        if not json and not (invocation.quiet and finding.severity is not Severity.BAD):
            _print(finding)
    bad = sum(one.severity is Severity.BAD for one in findings)
    if json:
        objects = [
            {
                "name": one.name,
                "severity": one.severity.value,
                "found": one.found,
                "todo": one.todo,
            }
            for one in findings
        ]
        click.echo(json_format.dumps(objects, ensure_ascii=False, indent=2))
    elif bad:
        screen.line((counted(bad, "problem"), "bold red"))
    elif not invocation.quiet:
        screen.line(("ready: audio-pipeline extract FILE", "bold green"))
    return exits.FAILED if bad else exits.OK


def _print(finding: Finding) -> None:
    marks = screen.marks
    mark, style = {
        Severity.GOOD: (marks.done, "green"),
        Severity.NOTE: (marks.skipped, "yellow"),
        Severity.BAD: (marks.failed, "red"),
    }[finding.severity]
    first, *rest = finding.found.splitlines() or [""]
    screen.line((f"{mark} ", f"bold {style}"), (f"{finding.name:<17}", "bold"), shown(first))
    for line in rest:
        screen.line(" " * 19, shown(line))
    if finding.todo:
        screen.line(" " * 19, (finding.todo, "yellow"))
