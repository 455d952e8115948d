"""Which user is at the other end of a loopback connection."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

_TABLE = Path("/proc/net/tcp")


def peer_uid(connection: socket.socket) -> int | None:
    """Return the user id of the process that opened a connection to 127.0.0.1.

    Linux lists it in ``/proc/net/tcp`` (proc_pid_net(5)): the peer's own line has its
    address as the local one and ours as the remote one. ``None`` where there is no such
    table, or the peer has closed the connection already.
    """
    try:
        wanted = [_as_listed(connection.getpeername()), _as_listed(connection.getsockname())]
        lines = _TABLE.read_text().splitlines()[1:]
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if fields[1:3] == wanted:
            return int(fields[7])
    return None


def _as_listed(address: tuple[str, int]) -> str:
    host, port = address
    (number,) = struct.unpack("=I", socket.inet_aton(host))
    return f"{number:08X}:{port:04X}"
