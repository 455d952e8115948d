"""Every command in the README and the guides exists with the options that it is shown with."""

from __future__ import annotations

import re
import subprocess

import click
import pytest

from cli.main import group
from tests.paths import ROOT

PAGES = ["README.md", "CONTRIBUTING.md", "docs/self-hosting.md", "docs/operations.md"]


def _documented(pattern: str) -> list[tuple[str, str]]:
    found = set()
    for page in PAGES:
        text = (ROOT / page).read_text()
        code = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`\n]+)`", text)
        for line in "\n".join(code).splitlines():
            if match := re.match(pattern, line.strip()):
                found.add((page, match[1].partition("#")[0].strip()))
    return sorted(found)


COMMANDS = _documented(r"(?:[A-Z_]+=\S+ )*(?:\S*/)?audio-pipeline ([a-z].*)")
TARGETS = _documented(r"make ([a-z][\w-]*.*)")


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) >= 5
    assert len(TARGETS) >= 5


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_a_documented_command_has_these_options(page: str, line: str) -> None:
    name, *rest = line.split()
    command = group.get_command(click.Context(group), name)
    assert command is not None, f"{page}: {name}"
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    for option in re.findall(r"(?<!\S)--[\w-]+", " ".join(rest)):
        assert option in known, f"{page}: {line}"


@pytest.mark.parametrize(("page", "line"), TARGETS)
def test_a_documented_make_target_exists(page: str, line: str) -> None:
    target = re.split(r"[\s,;…]", line)[0]
    ended = subprocess.run(
        ["make", "--dry-run", "--question", target], cwd=ROOT, capture_output=True, check=False
    )
    assert b"No rule to make target" not in ended.stderr, f"{page}: {line}"
