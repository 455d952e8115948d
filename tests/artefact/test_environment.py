"""The artefacts are started with the defaults of settings.tf."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import pytest

from shared.config.settings import Settings
from tests.artefact import deployed
from tests.artefact.archives import INFRA

TEXT = (INFRA / "settings.tf").read_text()

#: Given beside the maps of settings.tf (functions.tf, dashboard.tf).
BESIDE = {"IAP_AUDIENCE", "SFTP_CREDENTIALS", "WEBHOOK_URL"}


def defaults() -> dict[str, str]:
    """Return each variable's default, as an environment variable."""
    blocks = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', TEXT, re.MULTILINE | re.DOTALL)
    found = {
        name: json.loads(match[1])
        for name, block in blocks
        if (match := re.search(r"^  default\s*= (.*)$", block, re.MULTILINE))
    }
    return {name: ",".join(v) if isinstance(v, list) else str(v) for name, v in found.items()}


def value(expression: str) -> str | None:
    """Return an expression's value with the defaults; ``None`` where an apply makes it."""
    known = defaults()
    if expression == 'var.encode_workers == 0 ? "" : tostring(var.encode_workers)':
        return ""
    for pattern in (r"var\.(\w+)", r"tostring\(var\.(\w+)\)", r'join\(",", var\.(\w+)\)'):
        if (match := re.fullmatch(pattern, expression)) and match[1] in known:
            return known[match[1]]
    literal = re.fullmatch(r'"([^"$]*)"(?: #.*)?', expression)
    return literal[1] if literal else None


def given(*maps: str) -> dict[str, str | None]:
    """Return the default environment of programs with these maps of settings.tf."""
    environment: dict[str, str | None] = {}
    for name in maps:
        block = re.search(rf"^  {name}\s*= \{{\n(.*?)^  \}}", TEXT, re.MULTILINE | re.DOTALL)
        assert block, name
        pairs = re.findall(r"^    ([A-Z_]+)\s*= (.*)$", block[1], re.MULTILINE)
        environment |= {key: value(expression) for key, expression in pairs}
    return {key: text for key, text in environment.items() if text != ""}


@pytest.mark.parametrize(
    ("maps", "own"),
    [
        (("env_drive",), deployed.DASHBOARD),
        (("env_drive", "env_webhook"), deployed.NOTIFY),
        (("env_drive", "env_results", "env_sweep"), deployed.MAINTAIN),
        (("env_drive", "env_media", "env_results"), deployed.EXTRACT),
        (("env_results", "env_sftp"), deployed.SFTP),
    ],
    ids=["dashboard", "notify", "maintain", "extract_audio", "sftp"],
)
def test_each_program_starts_with_its_environment(
    maps: tuple[str, ...], own: Mapping[str, str]
) -> None:
    booted = {**deployed.first_deployment(), **own}
    settings = {k: v for k, v in booted.items() if k in Settings.variables()}
    expected = given("env_common", *maps)

    assert settings.keys() - BESIDE == expected.keys()
    for name, text in expected.items():
        assert text is None or settings[name] == text, name
