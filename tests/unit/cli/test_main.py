import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, group

LOADED = """
import sys
from cli.main import main
try:
    main(["--help"])
except SystemExit as end:
    heavy = {"rich", "shared.tracking.tracker", "shared.config.settings", "google.auth"}
    heavy &= sys.modules.keys()
    sys.exit(f"loaded {heavy}" if heavy else end.code)
"""


def test_help_loads_none_of_the_commands() -> None:
    run = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)

    assert run.returncode == 0, run.stderr
    assert "extract" in run.stdout


LOADED_BY_EXTRACT = """
import sys
from cli.main import main
try:
    main(["extract", "missing.mp4"])
except SystemExit:
    pass
heavy = {"http.server", "ssl", "prometheus_client", "imageio_ffmpeg", "rich"}
sys.exit(f"loaded {heavy & sys.modules.keys()}" if heavy & sys.modules.keys() else 0)
"""


def test_extracting_a_local_file_into_a_pipe_loads_only_what_it_uses(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    run = subprocess.run(
        [sys.executable, "-c", LOADED_BY_EXTRACT],
        env=environ, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip

    assert "missing.mp4" in run.stderr
    assert run.returncode == 0, run.stderr


def test_every_command_explains_itself() -> None:
    for name in COMMANDS:
        result = CliRunner().invoke(group, [name, "--help"])
        assert result.exit_code == 0, name
        assert f"{name} [OPTIONS]" in result.output


def test_an_unknown_command_is_wrong_usage() -> None:
    assert CliRunner().invoke(group, ["frob"]).exit_code == 2


def test_a_mistyped_command_is_suggested() -> None:
    result = CliRunner().invoke(group, ["extrat"])
    assert result.exit_code == 2
    assert "Did you mean extract?" in result.output


def test_every_command_has_examples_of_itself() -> None:
    for name in COMMANDS:
        help_text = CliRunner().invoke(group, [name, "--help"]).output
        examples = help_text.partition("Examples:")[2]
        assert f"audio-pipeline {name}" in examples, name
        assert all(one in help_text for one in ("--quiet", "--verbose", "--config")), name


def test_the_manual_names_every_command_and_option() -> None:
    page = CliRunner().invoke(group, ["--man"]).output
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        assert f"\n.SS {name}\n" in page
        for parameter in command.params:
            for option in parameter.opts if isinstance(parameter, click.Option) else ():
                assert option.replace("-", "\\-") in page, f"{name} {option}"


@pytest.mark.skipif(
    not shutil.which("groff"), reason="groff checks the manual's syntax: apt install groff"
)
def test_the_manual_is_valid_roff() -> None:
    page = CliRunner().invoke(group, ["--man"]).output
    done = subprocess.run(
        ["groff", "-ww", "-z", "-man", "-K", "utf8", "-T", "utf8"],
        input=page,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [("audio-pipeline ex", "extract"), ("audio-pipeline extract --pre", "--preset"),
     ("audio-pipeline extract --preset w", "whisper")],
)  # fmt: skip
def test_completion(words: str, expected: str) -> None:
    environ = {
        "_AUDIO_PIPELINE_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    command = Path(sys.executable).with_name("audio-pipeline")
    done = subprocess.run([command], env=os.environ | environ, capture_output=True, text=True)
    assert expected in done.stdout
