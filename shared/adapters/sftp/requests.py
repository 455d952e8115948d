"""Requests and replies of one SFTP session, many of them in flight.

Source: draft-ietf-secsh-filexfer-02, sections 3 and 4.
"""

from __future__ import annotations

import itertools
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Any

from shared.adapters.sftp.packets import VERSION, Kind, Reply, expect, extensions, packets
from shared.core.sftp_errors import ProtocolError, UnreachableError

# The reply to the first packet has no request number; no request uses 0.
_VERSION_NUMBER = 0


class SftpRequests:
    """Sends requests over one channel and matches the replies; threads may share it.

    Every call raises ``UnreachableError`` once the connection broke, and ``ProtocolError``
    once the server broke the protocol.

    Args:
        channel: An open channel with the subsystem ``sftp`` (paramiko's ``Channel``).
        timeout_s: How long a reply may take before the session counts as broken.
    """

    def __init__(self, channel: Any, timeout_s: float) -> None:
        self._channel = channel
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        versions: Future[bytes] = Future()
        self._pending: dict[int, Future[bytes]] = {_VERSION_NUMBER: versions}
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._broken: UnreachableError | ProtocolError | None = None
        channel.settimeout(timeout_s)
        threading.Thread(target=self._receive, name="sftp", daemon=True).start()
        self._send(bytes([Kind.INIT]) + struct.pack(">I", VERSION))
        self.extensions = extensions(self._result(versions))

    @property
    def is_broken(self) -> bool:
        """Whether no request can succeed any more."""
        return self._broken is not None

    def close(self, error: UnreachableError | ProtocolError | None = None) -> None:
        """End the session; calls that wait for a reply raise ``error``. Idempotent."""
        with self._lock:
            self._broken = self._broken or error or UnreachableError("the connection was closed")
            pending, self._pending = self._pending, {}
        for future in pending.values():
            future.set_exception(_copy(self._broken))
        # paramiko sends a message, which fails in its own ways once the transport is closed.
        with suppress(Exception):
            self._channel.close()

    def _answer(self, kind: int, body: bytes, *, want: Kind) -> Reply:
        return expect(self._result(self._request(kind, body)), want)

    def _request(
        self, kind: int, body: bytes, answered: Callable[[Future[bytes]], object] | None = None
    ) -> Future[bytes]:
        future: Future[bytes] = Future()
        if answered:
            future.add_done_callback(answered)
        with self._lock:
            number, broken = next(self._numbers) & 0xFFFFFFFF, self._broken
            if broken is None:
                self._pending[number] = future
        if broken is None:
            self._send(bytes([kind]) + struct.pack(">I", number) + body)
        else:
            future.set_exception(_copy(broken))
        return future

    def _send(self, packet: bytes) -> None:
        try:
            with self._sending:
                self._channel.sendall(struct.pack(">I", len(packet)) + packet)
        except OSError as error:
            self.close(UnreachableError(f"the connection broke: {error}"))

    def _result(self, future: Future[bytes]) -> bytes:
        try:
            return future.result(self._timeout_s)
        except FutureTimeoutError:
            raise self._timed_out() from None

    def _timed_out(self) -> UnreachableError:
        error = UnreachableError(f"the server did not answer within {self._timeout_s:g} s")
        self.close(error)
        return error

    def _receive(self) -> None:
        try:
            for packet in packets(self._channel):
                (number,) = struct.unpack_from(">I", packet, 1)
                with self._lock:
                    if _VERSION_NUMBER in self._pending:
                        number = _VERSION_NUMBER
                    future = self._pending.pop(number, None)
                if future:
                    future.set_result(packet)
            self.close(UnreachableError("the server closed the connection"))
        except ProtocolError as error:
            self.close(error)
        except Exception as error:
            self.close(UnreachableError(f"the connection broke: {error}"))


def _copy(error: UnreachableError | ProtocolError) -> UnreachableError | ProtocolError:
    """Return a copy of the error: threads that raise one instance would share its traceback."""
    return type(error)(str(error))
