import subprocess
import sys

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


def test_every_command_explains_itself() -> None:
    for name in COMMANDS:
        result = CliRunner().invoke(group, [name, "--help"])
        assert result.exit_code == 0, name
        assert f"{name} [OPTIONS]" in result.output


def test_an_unknown_command_is_wrong_usage() -> None:
    assert CliRunner().invoke(group, ["frob"]).exit_code == 2
