"""A TCP forwarder in front of a dependency, which closes, falls silent and cuts connections."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Forwards connections to ``target``, a port of this machine, while it is open."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._speaks = threading.Event()
        self._speaks.set()
        self._refuses = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def open(self) -> None:
        """Forward everything again."""
        self._refuses = False
        self._speaks.set()

    def refuse(self) -> None:
        """Reset every connection, new ones too."""
        self._refuses = True
        self.cut()

    def silence(self) -> None:
        """Accept connections and forward nothing."""
        self._speaks.clear()

    def cut(self) -> None:
        """Reset the connections of now."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            for one in pair:
                # A linger time of 0 makes close() a reset (socket(7)); shutdown() wakes the pump.
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.open()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if self._refuses:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            self._speaks.wait()
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                pair = client, server
                with self._lock:
                    self._pairs.add(pair)
                try:
                    self._pump(client, server)
                finally:
                    with self._lock:
                        self._pairs.discard(pair)

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        while other:
            for one in select.select(list(other), [], [])[0]:
                data = one.recv(1 << 16)
                self._speaks.wait()
                if not data:
                    return
                other[one].sendall(data)


@contextmanager
def gate_to(port: int) -> Iterator[Gate]:
    """Run a gate until the block ends."""
    gate = Gate(port)
    try:
        yield gate
    finally:
        gate.close()
