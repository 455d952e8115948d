"""How a person at a terminal logs in to an SFTP server: as ``ssh`` would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: Asks a person a question and returns the answer; the flag is true for a secret.
Ask = Callable[[str, bool], str]


@dataclass(frozen=True, kw_only=True)
class PersonalLogin:
    """What ``ssh`` would use for one server.

    Args:
        username: Who logs in.
        known_hosts: The lines that pin host keys.
        identities: Private keys, in the order in which they are tried. A missing file is
            skipped.
        use_agent: Whether the keys of ssh-agent are tried first.
        ask: Asks for passphrases, passwords and whatever the server wants to know;
            ``None`` without a terminal.
        on_new_host_key: Called with the line of ``known_hosts`` for a server that has none
            there; without it such a server is rejected.
    """

    username: str
    known_hosts: str
    identities: tuple[Path, ...] = ()
    use_agent: bool = True
    ask: Ask | None = None
    on_new_host_key: Callable[[str], None] | None = None
