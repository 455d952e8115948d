import errno
import sys
from importlib import metadata
from pathlib import Path

import pytest

from cli import exits
from cli.ui.error_text import advice, error_text, exit_status, install_command
from shared.core.errors import ConfigurationError, TransientError


@pytest.mark.parametrize(
    ("error", "text", "status"),
    [
        (ConfigurationError(["A is wrong", "B is wrong"]), "A is wrong\nB is wrong", exits.USAGE),
        (TransientError("the disk is full"), "the disk is full", exits.FAILED),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x/\n.mp4"),
            "Permission denied: /x/\\n.mp4",
            exits.FAILED,
        ),
        (KeyError("x"), "KeyError: 'x'", exits.FAILED),
        (KeyboardInterrupt(), "KeyboardInterrupt: KeyboardInterrupt", exits.INTERRUPTED),
    ],
)
def test_an_error_has_a_text_and_a_status(error: BaseException, text: str, status: int) -> None:
    assert error_text(error) == text
    assert exit_status(error) == status


def test_a_cloud_address_without_its_libraries_names_the_command() -> None:
    error = ModuleNotFoundError("No module named 'google.cloud'", name="google.cloud")

    assert "pip install" in error_text(error)
    assert exit_status(error) == exits.USAGE


def test_only_bugs_are_called_bugs() -> None:
    assert "This is a bug" in advice(KeyError("x"))
    assert "doctor" in advice(ConfigurationError(["x"]))
    assert advice(OSError(errno.EIO, "x")) == advice(TransientError("x")) == ""


@pytest.mark.parametrize(
    ("origin", "marker", "command"),
    [
        (None, None, "-m pip install 'audio-pipeline[cloud]'"),
        ('{"url": "file:///a b"}', None, "-m pip install 'audio-pipeline[cloud] @ file:///a b'"),
        ('{"url": "file:///x"}', "pipx_metadata.json",
         "pipx install --force 'audio-pipeline[cloud] @ file:///x'"),
        ('{"url": "https://h/r.git", "vcs_info": {"vcs": "git"}}', "uv-receipt.toml",
         "uv tool install --force 'audio-pipeline[cloud] @ git+https://h/r.git'"),
    ],
)  # fmt: skip
def test_an_extra_is_installed_from_where_the_package_came_from(
    origin: str | None,
    marker: str | None,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metadata.PathDistribution, "read_text", lambda *_: origin)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    if marker:
        (tmp_path / marker).touch()

    assert install_command("cloud").endswith(command)
