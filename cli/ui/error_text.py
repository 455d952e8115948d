"""Errors as text for people and as exit statuses for scripts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from cli import exits
from cli.ui.text import shown
from shared.core.errors import ConfigurationError, PipelineError, is_transient


def error_text(error: BaseException) -> str:
    """Return what went wrong, without a traceback."""
    if isinstance(error, ConfigurationError):
        return "\n".join(shown(problem) for problem in error.problems)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("google"):
        return f"Google Cloud's libraries are not installed. Run: {install_command('cloud')}"
    text = shown(str(error)) or type(error).__name__
    if isinstance(error, PipelineError):
        return text
    if isinstance(error, OSError) and error.strerror:
        where = f": {shown(str(error.filename))}" if error.filename else ""
        return f"{error.strerror}{where}"
    return f"{type(error).__name__}: {text}"


def install_command(extra: str) -> str:
    """Return the command that adds an extra to this installation.

    It installs from where this installation came from (``direct_url.json``, PEP 610), with
    the tool that made the environment: pipx, uv (both leave a file in it), or pip.
    """
    import shlex  # noqa: PLC0415  # both for a rare message, and 5 ms of each start
    from importlib import metadata  # noqa: PLC0415

    what = f"audio-pipeline[{extra}]"
    try:
        origin = metadata.distribution("audio-pipeline").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        origin = None
    if origin:
        found = json.loads(origin)
        vcs = found.get("vcs_info", {}).get("vcs")
        what += f" @ {vcs}+{found['url']}" if vcs else f" @ {found['url']}"
    prefix = Path(sys.prefix)
    if (prefix / "pipx_metadata.json").exists():
        return f"pipx install --force {shlex.quote(what)}"
    if (prefix / "uv-receipt.toml").exists():
        return f"uv tool install --force {shlex.quote(what)}"
    return f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(what)}"


def exit_status(error: BaseException) -> int:
    """Return the exit status of a command that ended with ``error``."""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return exits.INTERRUPTED
    if isinstance(error, ConfigurationError | ModuleNotFoundError):
        return exits.USAGE
    return exits.FAILED


def advice(error: BaseException) -> str:
    """Return what to do about an error that ended a command, or empty."""
    if isinstance(error, ConfigurationError):
        return "Run `audio-pipeline doctor` to check your setup."
    if isinstance(error, PipelineError | OSError | ModuleNotFoundError) or is_transient(error):
        return ""
    return "This is a bug. Run again with --verbose for a traceback."
