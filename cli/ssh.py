"""Logging in to a server as ``ssh`` does: its configuration, keys, known hosts and prompts."""

from __future__ import annotations

import getpass
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli.ui.console import screen
from cli.ui.text import shown
from shared.core.errors import ConfigurationError
from shared.core.sftp_login import PersonalLogin

#: The keys that ssh tries by default (IdentityFile of ssh_config(5)).
_IDENTITIES = ("id_rsa", "id_ecdsa", "id_ed25519")


@dataclass(frozen=True, kw_only=True)
class Host:
    """A server after ``~/.ssh/config`` was applied."""

    host: str
    port: int
    username: str
    identities: tuple[Path, ...]
    use_agent: bool
    known_hosts: tuple[Path, ...]
    accepts_new: bool


def resolve(name: str, port: int | None = None, username: str = "") -> Host:
    """Return the server that ``ssh`` would connect to for ``name``, which may be an alias.

    Raises ``ConfigurationError`` for a configuration that cannot be read, and for a server
    that is reached through another one.
    """
    config = _lookup(name)
    hostname = config.get("hostname", name)
    for option in ("proxyjump", "proxycommand"):
        via = config.get(option, "none")
        if via.lower() != "none":
            raise ConfigurationError([
                f"~/.ssh/config reaches {shown(name)} through another host ({shown(via)}), which"
                f" is not supported. Open a tunnel, ssh -N -L 2222:{shown(hostname)}:"
                f"{config.get('port', 22)} with that host, and use sftp://USER@localhost:2222/…"
            ])  # fmt: skip
    home = Path.home() / ".ssh"
    files = config.get("identityfile") or [str(home / each) for each in _IDENTITIES]
    known = str(config.get("userknownhostsfile", "")).split()
    return Host(
        host=hostname,
        port=port or int(config.get("port", 22)),
        username=username or config.get("user") or getpass.getuser(),
        identities=tuple(Path(each).expanduser() for each in files),
        use_agent=config.get("identityagent", "").lower() != "none"
        and config.get("identitiesonly", "no").lower() != "yes",
        known_hosts=(
            *(Path(each).expanduser() for each in known or [str(home / "known_hosts")]),
            Path("/etc/ssh/ssh_known_hosts"),
        ),
        accepts_new=config.get("stricthostkeychecking", "").lower() == "accept-new",
    )


def login(
    host: Host, *, identity: Path | None, known_hosts: Path | None, accept_new: bool
) -> PersonalLogin:
    """Return how to log in; the arguments are what the command line names."""
    files = (known_hosts,) if known_hosts else host.known_hosts

    def add(line: str) -> None:
        file = files[0]
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
        with file.open("a") as opened:
            opened.write(line + "\n")
        name, kind, _ = line.split()
        screen.line(f"added the {kind} host key of {name} to {file}", error=True)

    return PersonalLogin(
        username=host.username,
        known_hosts="\n".join(read_if_there(file) for file in files),
        identities=(identity,) if identity else host.identities,
        use_agent=host.use_agent,
        ask=_ask if sys.stdin.isatty() else None,
        on_new_host_key=add if accept_new or host.accepts_new else None,
    )


def read_if_there(path: Path) -> str:
    """Return a file's text; empty for one that is not there."""
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigurationError([f"cannot read {path}: {error.strerror}"]) from error


def _lookup(name: str) -> dict[str, Any]:
    import paramiko  # noqa: PLC0415 - most of the command's start

    path = Path.home() / ".ssh" / "config"
    try:
        config = paramiko.SSHConfig.from_text(read_if_there(path))
        found: dict[str, Any] = dict(config.lookup(name))
    except (paramiko.SSHException, ImportError, ValueError) as error:
        raise ConfigurationError([f"cannot use {path}: {error}"]) from error
    return found


def _ask(question: str, secret: bool) -> str:
    answer: str = click.prompt(
        shown(question), hide_input=secret, err=True, default="", show_default=False
    )
    return answer
