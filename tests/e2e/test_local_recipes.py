"""The systemd unit and the compose file match the settings and the command."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cli.commands.serve import serve
from shared.config.settings import Settings
from tests.emulators import missing
from tests.paths import ROOT
from tests.services import BIN

LOCAL = ROOT / "infra" / "local"
UNIT = (LOCAL / "audio-pipeline.service").read_text()
COMPOSE = yaml.safe_load((LOCAL / "compose.yaml").read_text())
SERVICE = COMPOSE["services"]["serve"]

#: Variables that others than the settings read.
OTHERS = {"GOOGLE_APPLICATION_CREDENTIALS"}


def unit_values(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


PAGE = (ROOT / "docs" / "self-hosting.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]


def test_the_page_s_first_command_runs() -> None:
    assert COMMANDS[0] == ".venv/bin/audio-pipeline serve --help"
    program = BIN / "audio-pipeline"
    ended = subprocess.run([program, "serve", "--help"], capture_output=True, text=True, check=True)
    assert "--watch" in ended.stdout


def test_the_page_installs_extras_that_exist() -> None:
    (extras,) = re.findall(r"pip install '\.\[(.*?)\]' -c constraints\.txt", "\n".join(COMMANDS))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()


def test_the_page_copies_files_that_exist() -> None:
    sources = re.findall(r"install -m \d+ (\S+)", "\n".join(COMMANDS))
    assert len(sources) == 2
    assert [path for path in sources if not (ROOT / path).is_file()] == []
    folder = next(line.removeprefix("cd ") for line in COMMANDS if line.startswith("cd "))
    (example,) = (line.split()[1] for line in COMMANDS if line.startswith("cp "))
    assert (ROOT / folder / example).is_file()


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        missing("systemd-analyze")
    here = tmp_path / "audio-pipeline.service"
    here.write_text(UNIT.replace("/opt/audio-pipeline/.venv/bin", str(BIN)))
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(here)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr.strip()) == (0, "")


def test_systemd_rates_the_unit_as_hardened() -> None:
    if not shutil.which("systemd-analyze"):
        missing("systemd-analyze")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20"]
    ended = subprocess.run(
        [*command, str(LOCAL / "audio-pipeline.service")], capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stdout.decode()


def test_the_unit_allows_the_calls_of_the_sandbox() -> None:
    """Its group lacks these calls, as ``systemd-analyze syscall-filter`` 252 prints."""
    (allowed,) = unit_values("SystemCallFilter")
    calls = {"seccomp"} | {f"landlock_{n}" for n in ("create_ruleset", "add_rule", "restrict_self")}

    assert calls <= set(allowed.split())


def test_the_unit_stops_later_than_the_processes_do() -> None:
    from cli.serve.processes import STOP_S

    (stop_s,) = unit_values("TimeoutStopSec")
    assert float(stop_s) > STOP_S
    assert float(SERVICE["stop_grace_period"].removesuffix("s")) > STOP_S


@pytest.mark.parametrize("arguments", [unit_values("ExecStart")[0].split()[2:], "dockerfile"])
def test_the_commands_have_the_options_that_are_used(arguments: list[str] | str) -> None:
    if isinstance(arguments, str):
        text = (LOCAL / "Dockerfile").read_text()
        (found,) = re.findall(r"^ENTRYPOINT \[(.*)\]$", text, re.MULTILINE)
        program, command, *arguments = re.findall(r'"(.*?)"', found)
        assert (program, command) == ("audio-pipeline", "serve")
    help_text = CliRunner().invoke(serve, ["--help"]).output
    for option in (word for word in arguments if word.startswith("--")):
        assert option in help_text


def test_the_recipes_set_only_known_variables() -> None:
    known = {*Settings.variables(), *OTHERS}
    example = (LOCAL / "env.example").read_text()
    named = set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
    assert named <= known
    assert set(SERVICE["environment"]) <= known


def test_the_example_of_the_environment_is_accepted() -> None:
    text = (LOCAL / "env.example").read_text()
    values = dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))
    Settings.from_environment({**SERVICE["environment"], **values})


def test_the_container_is_confined() -> None:
    assert SERVICE["read_only"] is True
    assert SERVICE["user"] not in ("", "0", "root")
    assert SERVICE["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in SERVICE["security_opt"]
    assert SERVICE["healthcheck"]["test"][-1].count("/ready") == 1
    assert SERVICE["mem_limit"]
    assert SERVICE["cpus"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICE["ports"])


def test_the_container_writes_to_a_volume_only() -> None:
    settings = Settings.from_environment(
        {name: str(value) for name, value in SERVICE["environment"].items()}
    )
    targets = [
        volume["target"] if isinstance(volume, dict) else volume.split(":")[1]
        for volume in SERVICE["volumes"]
    ]
    for path in (settings.storage_url.path, settings.tracker_url.path):
        assert any(Path(path).is_relative_to(target) for target in targets), path
