"""A TCP proxy that damages data, or loses the answer to a request that was executed."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_WAIT_S = 30.0


class Proxy:
    """Forwards connections to a port; ``lose`` holds one answer back and then cuts the line."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._trigger = b""
        self._countdown = 0
        self._held: dict[int, tuple[socket.socket, socket.socket]] = {}
        self._swallows = self._for_ever = self._dead = False
        self._swap = (b"", b"")
        self._cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """``host:port`` to connect to."""
        return f"127.0.0.1:{self.port}"

    def hold(self, trigger: bytes = b"", nth: int = 1) -> None:
        """Hold back every answer from the client's ``nth`` write with ``trigger`` on."""
        self._cut.clear()
        self._swallows = self._for_ever = self._dead = False
        self._trigger, self._countdown = trigger, nth

    def swallow(self, trigger: bytes = b"", nth: int = 1, *, for_ever: bool = False) -> None:
        """Let nothing through from the client's ``nth`` write with ``trigger`` on.

        ``for_ever`` does so on every connection from then on.
        """
        self.hold(trigger, nth)
        self._swallows, self._for_ever = True, for_ever

    @property
    def holding(self) -> bool:
        """Whether a connection is held now."""
        return bool(self._held)

    def pass_on(self) -> None:
        """Stop holding, and cut the connections that are held."""
        self._countdown, self._dead = 0, False
        self.cut()
        for pair in list(self._held.values()):
            for one in pair:
                _close(one)

    def cut(self) -> None:
        """Close the connection whose answers are held; later ones pass unharmed."""
        self._cut.set()

    def damage(self, good: bytes, bad: bytes) -> None:
        """Put ``bad`` in place of ``good`` in what clients send from now on."""
        self._swap = (good, bad)

    def close(self) -> None:
        """Close everything."""
        self._cut.set()
        for one in [self._listener, *self._sockets]:
            _close(one)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                self._sockets += [client, server]
                for pump in (self._up, self._down):
                    threading.Thread(target=pump, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        for data in _received(client):
            if self._countdown and self._trigger in data:
                self._countdown -= 1
                self._dead = self._for_ever and not self._countdown
                if not self._countdown:
                    self._held[id(client)] = (client, server)
            if self._dead:
                self._held[id(client)] = (client, server)
            if self._swallows and id(client) in self._held:
                continue
            _send(server, data.replace(*self._swap) if self._swap[0] else data)
        _close(server)

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        for data in _received(server):
            if id(client) in self._held:
                self._cut.wait(_WAIT_S)
                break
            _send(client, data)
        self._held.pop(id(client), None)
        _close(client)
        _close(server)


def _received(one: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while data := one.recv(1 << 16):
            yield data


def _send(one: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        one.sendall(data)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """Run a proxy to a port of the loopback interface until the block ends."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()


@contextmanager
def answer_lost(proxy: Proxy, happened: Callable[[], bool], **trigger: object) -> Iterator[None]:
    """Lose the answer to the block's request once ``happened()`` is true."""
    proxy.hold(**trigger)  # type: ignore[arg-type]
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set() and not happened():
            stop.wait(0.02)
        proxy.cut()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
