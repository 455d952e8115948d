"""What goes wrong with an SFTP server as a whole, rather than with one of its files."""

from __future__ import annotations

from enum import StrEnum

from shared.core.errors import ConfigurationError, TransientError


class ServerCode(StrEnum):
    """Why the nightly run found nothing. Stable: alerts are made of these."""

    UNREACHABLE = "unreachable"  # no connection, or it broke
    HOST_KEY = "host_key"  # not the key that known_hosts pins
    AUTHENTICATION = "authentication"  # the server does not let us in
    MISSING_DIRECTORY = "missing_directory"  # SFTP_REMOTE_PATH is not there
    FORBIDDEN_DIRECTORY = "forbidden_directory"  # it may not be read
    EMPTY_DIRECTORY = "empty_directory"  # no audio file lies under it


class ServerError(ConfigurationError):
    """Someone has to change a setting, a key or a right; ``code`` is stable."""

    code: ServerCode

    def __init__(self, code: ServerCode, message: str) -> None:
        self.code = code
        super().__init__([message])


class UnreachableError(TransientError):
    """The server cannot be reached, or the connection broke; it may be back later."""

    code = ServerCode.UNREACHABLE
