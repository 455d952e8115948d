"""An error becomes a sentence for people and an exit status for scripts."""

from __future__ import annotations

import click

from cli import exits
from cli.ui.text import shown
from shared.core.errors import ConfigurationError, PipelineError, is_transient

#: Which extra of the package brings the modules of an address.
_CLOUD = "Google Cloud's libraries are not installed: pip install 'audio-pipeline[extract-audio]'"


def sentence(error: BaseException) -> str:
    """Return what went wrong in words, without a stack."""
    if isinstance(error, ConfigurationError):
        return "\n".join(shown(problem) for problem in error.problems)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("google"):
        return _CLOUD
    text = shown(str(error)) or type(error).__name__
    if isinstance(error, PipelineError):
        return text
    if isinstance(error, OSError) and error.strerror:
        where = f": {shown(str(error.filename))}" if error.filename else ""
        return f"{error.strerror}{where}"
    return f"{type(error).__name__}: {text}"


def exit_status(error: BaseException) -> int:
    """Return the exit status that the command ends with because of ``error``."""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return exits.INTERRUPTED
    if isinstance(error, ConfigurationError | ModuleNotFoundError):
        return exits.USAGE
    return exits.FAILED


def advice(error: BaseException) -> str:
    """Return what to do about an error that ended a command, or empty."""
    if isinstance(error, ConfigurationError):
        return "audio-pipeline doctor tells what is set, installed and reachable."
    if isinstance(error, PipelineError | OSError | ModuleNotFoundError) or is_transient(error):
        return ""
    return "This is a fault of the program; audio-pipeline --verbose shows where."
