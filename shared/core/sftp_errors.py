"""Errors of an SFTP server as a whole, rather than of one of its files."""

from __future__ import annotations

from enum import StrEnum

from shared.core.errors import ConfigurationError, TransientError


class ServerCode(StrEnum):
    """Why a run could not use the server. Stable: alerts use these."""

    UNREACHABLE = "unreachable"  # no connection, or it broke
    INCOMPATIBLE = "incompatible"  # no algorithm or login method in common
    HOST_KEY = "host_key"  # not the key that known_hosts pins
    AUTHENTICATION = "authentication"  # the server rejected the login
    PROTOCOL = "protocol"  # it does not follow the SFTP protocol
    MISSING_DIRECTORY = "missing_directory"  # SFTP_REMOTE_PATH does not exist
    FORBIDDEN_DIRECTORY = "forbidden_directory"  # it cannot be read
    EMPTY_DIRECTORY = "empty_directory"  # it contains no audio file
    LISTING_LIMIT = "listing_limit"  # its listing does not end
    INCONSISTENT = "inconsistent"  # every file differs from its listing


class ServerError(ConfigurationError):
    """A setting, a key, a permission or the server has to change; ``code`` is stable."""

    code: ServerCode

    def __init__(self, code: ServerCode, message: str) -> None:
        self.code = code
        super().__init__([message])


class ProtocolError(ServerError):
    """The server sent something that the SFTP protocol does not allow."""

    def __init__(self, message: str) -> None:
        super().__init__(ServerCode.PROTOCOL, message)


class UnreachableError(TransientError):
    """The server cannot be reached, or the connection broke; a later attempt may succeed."""

    code = ServerCode.UNREACHABLE
