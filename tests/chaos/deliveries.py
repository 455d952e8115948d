"""The queue and Drive's notifications, with a fate for each delivery."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cli.serve.queue import Endpoint, Message, PushQueue
from shared.core.message import SourceFile
from shared.runtime import unix_http
from tests.chaos.decisions import Decisions, Fate
from tests.chaos.fleet import Instance


@dataclass
class FaultyQueue(PushQueue):
    """A topic whose deliveries are lost, doubled, delayed, and cut short with their worker.

    Args:
        decisions: Decides each fate.
        instances: The workers, by their sockets.
        label: Returns the name of a message's recording that is the same in each replay.
        lease_s: How long a lease lasts.
    """

    decisions: Decisions = field(kw_only=True)
    instances: Mapping[Path, Instance] = field(kw_only=True)
    label: Callable[[SourceFile], str] = field(kw_only=True)
    lease_s: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.accepts = True
        self.delivered: Counter[str] = Counter()
        self.dead: list[str] = []
        self._usual_s = 1.0

    def publish(self, data: bytes, attributes: Mapping[str, str]) -> None:
        if not self.accepts:
            raise ConnectionError("the queue accepts nothing now")
        super().publish(data, attributes)

    def _is_acknowledged(self, endpoint: Endpoint, message: Message) -> bool:
        label = self.label(SourceFile.decode(message.data))
        if message.is_dead:
            self.dead.append(label)
            return super()._is_acknowledged(endpoint, message)
        self.delivered[label] += 1
        about = f"{label} #{self.delivered[label]}"
        fate = self.decisions.fate(label, self.delivered[label])
        self.decisions.note("deliveries", f"{about}: {fate.name}")
        if fate.name in ("refuse", "request lost"):
            self.decisions.note(fate.name, about)
            return False
        if fate.name == "message lost":
            self.decisions.note(fate.name, about)
            return True
        if fate.name == "late":
            self.decisions.note(fate.name, about)
            self._push_back(message, 3.0 * fate.moment)
            return True
        if fate.name == "twice":
            self.decisions.note(fate.name, about)
            copy = Message(message.id, message.data, message.attributes, message.published_at)
            self._push_back(copy, fate.moment)
        with self._struck(self.instances[endpoint.socket], fate, about):
            start = time.monotonic()
            is_acked = super()._is_acknowledged(endpoint, message)
            if is_acked and fate.name == "pass":
                self._usual_s += 0.1 * (time.monotonic() - start - self._usual_s)
        if fate.name == "answer lost":
            self.decisions.note(fate.name, about)
            return False
        return is_acked

    @contextmanager
    def _struck(self, instance: Instance, fate: Fate, about: str) -> Iterator[None]:
        """Kill or freeze the worker at the fate's moment, unless the delivery ends before."""
        if fate.name not in ("kill", "freeze"):
            yield
            return

        def strike() -> None:
            if fate.name == "kill":
                instance.kill(whole=fate.whole_machine)
                what = "machine" if fate.whole_machine else "process"
                self.decisions.note("killed", f"{about}: {what} of {instance.name}")
            else:
                self.decisions.note("frozen", f"{about}: {instance.name}")
                instance.freeze(self.lease_s + 2)

        timer = threading.Timer(fate.moment * self._usual_s, strike)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


@contextmanager
def notifications(decisions: Decisions, notify: Path) -> Iterator[str]:
    """Pass Drive's notifications on to the function's socket; yields the webhook's address."""
    numbers = iter(range(1, 1 << 31))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: value for name, value in self.headers.items() if name[:2] == "X-"}
            self.send_response(self._fated(body, headers))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _fated(self, body: bytes, headers: dict[str, str]) -> int:
            name, late_s = decisions.notice(next(numbers))
            decisions.note(f"notification: {name}")
            if name == "drop":
                return 204
            if name == "refuse":
                return 503
            if name == "late":
                time.sleep(late_s)
            if name == "twice":
                _post(notify, body, headers)
            return _post(notify, body, headers)

    with _Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def _post(socket: Path, body: bytes, headers: Mapping[str, str]) -> int:
    with suppress(OSError, http.client.HTTPException):
        return unix_http.request(socket, "POST", "/", body, timeout_s=60, headers=headers).status
    return 502


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def handle_error(self, request: object, client_address: object) -> None:
        """Leave out the tracebacks of notifications whose sender went away."""
