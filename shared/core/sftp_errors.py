"""Errors of an SFTP server as a whole, rather than of one of its files."""

from __future__ import annotations

from enum import StrEnum

from shared.core.errors import ConfigurationError, TransientError


class ServerCode(StrEnum):
    """Why the nightly run found nothing. Stable: alerts use these."""

    UNREACHABLE = "unreachable"  # no connection, or it broke
    HOST_KEY = "host_key"  # not the key that known_hosts pins
    AUTHENTICATION = "authentication"  # the server refuses the login
    MISSING_DIRECTORY = "missing_directory"  # SFTP_REMOTE_PATH does not exist
    FORBIDDEN_DIRECTORY = "forbidden_directory"  # no permission to read it
    EMPTY_DIRECTORY = "empty_directory"  # there is no audio file below it


class ServerError(ConfigurationError):
    """A setting, a key or a permission has to be changed; ``code`` is stable."""

    code: ServerCode

    def __init__(self, code: ServerCode, message: str) -> None:
        self.code = code
        super().__init__([message])


class UnreachableError(TransientError):
    """The server cannot be reached, or the connection broke; a retry may succeed."""

    code = ServerCode.UNREACHABLE
