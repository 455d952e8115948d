"""The system on one machine: its queues, processes and clock."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Self

import functions
from cli.serve import topics
from cli.serve.clock import Clock, Schedule, ScheduledJob, cron, every
from cli.serve.front import SOCKETS
from cli.serve.plan import SystemPlan
from cli.serve.processes import OnLine, Processes, ServerProcess, listen_inside
from cli.serve.push_address import push_address
from cli.serve.queue import Endpoint, Message, PushQueue
from functions.sftp_compress.assembly import build_worker
from shared.bootstrap import Services
from shared.config.settings import Settings
from shared.core.message import Source
from shared.core.records import Status
from shared.runtime import unix_http

log = logging.getLogger(__name__)

#: How long the clock waits for an answer, as Cloud Scheduler does, in seconds.
_CALL_S = 1800.0

#: Waits before a nightly run that failed is repeated, as Terraform sets them, in seconds.
_NIGHTLY_RETRIES_S = (60.0, 120.0, 240.0)

#: How long the processes may take to answer after the start, in seconds.
_START_S = 120.0


class System:
    """Everything that runs. Used as a context manager, it stops what it has started.

    Args:
        settings: The parent's settings; the processes read ``environ`` themselves.
        plan: What to run.
        front: The listening socket of the one port; see ``listen_outside``.
        environ: The environment of the processes.
        on_line: Called with a process's name and each line that it prints.
        on_event: Called with a topic, an event of its queue, and the message.
    """

    def __init__(
        self,
        settings: Settings,
        plan: SystemPlan,
        front: socket.socket,
        environ: Mapping[str, str],
        *,
        on_line: OnLine,
        on_event: Callable[[str, str, Message], None] = lambda _topic, _event, _message: None,
    ) -> None:
        self.settings = settings
        self.plan = plan
        self.services = Services(settings)
        self._front = front
        self._environ = environ
        self._on_event = on_event
        self._processes = Processes(on_line)
        self._sockets: dict[str, Path] = {}
        self._queues: dict[str, PushQueue] = {}
        #: Where a push subscription delivers, by topic: those that are not a local queue.
        self.push_addresses: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Start the queues and the processes; raises ``ConfigurationError``."""
        schedule = cron(self.settings.schedule, self.settings.time_zone)
        with ExitStack() as stack:
            # A socket's path has at most 104 bytes on macOS, 108 on Linux (unix(7)).
            place = tempfile.gettempdir() if len(tempfile.gettempdir()) < 60 else "/tmp"  # noqa: S108
            folder = Path(
                stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="audio-pipeline-", dir=place)
                )
            )
            parts = self._parts()
            self._sockets = {name: folder / name for name in parts}
            queue_urls = self._open_queues(folder, stack)
            stack.callback(self._processes.stop)
            self._start_processes(parts, folder, queue_urls, stack)
            self.clock = Clock(self._jobs(schedule))
            for queue in self._queues.values():
                stack.callback(queue.close, 0.0)
                queue.start()
            stack.callback(self.clock.close, 0.0)
            self._stack = stack.pop_all()
        return self

    def _open_queues(self, folder: Path, stack: ExitStack) -> dict[str, str]:
        """Open each topic: a local queue, or an address for a Pub/Sub subscription's pushes.

        Returns the addresses of the local queues, by the variables that name them.
        """
        urls: dict[str, str] = {}
        for topic, worker, variable in (
            ("recordings", "extract", "RECORDINGS_QUEUE_URL"),
            ("sftp-files", "compress", "SFTP_QUEUE_URL"),
        ):
            endpoints = [
                Endpoint(path) for name, path in self._sockets.items() if name.startswith(worker)
            ]
            if getattr(self.settings, variable.lower()).kind == "pubsub":
                self.push_addresses[topic] = stack.enter_context(push_address(endpoints))
                continue
            self._queues[topic] = PushQueue(
                endpoints,
                Endpoint(self._sockets["extract-1"], "/dead-letter"),
                on_event=partial(self._on_event, topic),
            )
            stack.enter_context(topics.listening(folder / topic, self._queues[topic]))
            urls[variable] = f"local://{folder / topic}"
        return urls

    def _start_processes(
        self,
        parts: Mapping[str, Sequence[str]],
        folder: Path,
        queue_urls: Mapping[str, str],
        stack: ExitStack,
    ) -> None:
        environ = {
            "ENCODE_WORKERS": str(max(1, self.settings.encode_workers // self.plan.workers)),
            "THREADS": "64",  # the dashboard's live pages keep one each
            **self._environ,
            **queue_urls,
            SOCKETS: json.dumps({name: str(path) for name, path in self._sockets.items()}),
        }
        # Pushes come over sockets that no one else reaches, without a token of Google's.
        for name in ("PUSH_AUDIENCE", "PUSH_ACCOUNT"):
            environ.pop(name, None)
        for name, arguments in {**parts, "front": ("front",)}.items():
            listener = self._front
            if name in self._sockets:
                listener = stack.enter_context(listen_inside(self._sockets[name]))
            # gunicorn makes a control socket here, or else below the home directory.
            own = folder / f"{name}.run"
            own.mkdir()
            env = {**environ, "XDG_RUNTIME_DIR": str(own)}
            self._processes.add(ServerProcess(name, arguments, env, listener))
        for number, watched in enumerate(self.plan.folders, 1):
            arguments = ["command", "watch", str(watched)]
            self._processes.add(ServerProcess(f"watch-{number}", arguments, environ))
        self._processes.watch()

    def __exit__(self, *_: object) -> None:
        """Stop everything: workers release their leases."""
        self._stack.close()

    def wait_until_ready(self, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Wait until every process answers, then start the clock.

        Raises ``TimeoutError`` after two minutes.
        """
        end = time.monotonic() + _START_S
        waiting = dict(self._sockets)
        while waiting and not is_stopped():
            if time.monotonic() > end:
                raise TimeoutError(f"no answer from {', '.join(waiting)}; see the log above")
            waiting = {name: path for name, path in waiting.items() if not _answers(path)}
        while not is_stopped() and not self.is_alive():
            if time.monotonic() > end:
                raise TimeoutError("no answer from the front; see the log above")
        if not is_stopped():
            self.clock.start()

    def is_alive(self) -> bool:
        """Return whether the port answers."""
        host, port = self._front.getsockname()[:2]
        host = "127.0.0.1" if host == "0.0.0.0" else "::1" if host == "::" else host  # noqa: S104
        with closing(http.client.HTTPConnection(host, port, timeout=5)) as connection:
            try:
                connection.request("GET", "/live")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False

    def _parts(self) -> dict[str, tuple[str, ...]]:
        """Return the arguments of each function's process, by its name here."""
        folder = Path(functions.__path__[0])
        drive, extract = folder / "drive_watch/main.py", folder / "extract_audio/main.py"
        compress = folder / "sftp_compress/main.py"
        numbers = range(1, self.plan.workers + 1)
        extractor = ("function", str(extract), "extract_audio")
        parts: dict[str, tuple[str, ...]] = {"maintain": ("function", str(drive), "maintain")}
        parts |= {f"extract-{number}": extractor for number in numbers}
        if self.plan.sftp:
            compressor = ("function", str(compress), "compress")
            parts["nightly"] = ("function", str(compress), "nightly")
            parts |= {f"compress-{number}": compressor for number in numbers}
        return parts

    def _jobs(self, schedule: Schedule) -> list[ScheduledJob]:
        sweep = timedelta(minutes=self.settings.sweep_minutes)
        minute = min(timedelta(minutes=1), sweep)
        jobs = [
            ScheduledJob(
                "requeue", every(minute), partial(self._call, "maintain", {"only": "requeue"})
            ),
        ]
        if self._queues:
            jobs.append(
                ScheduledJob("republish", every(minute), self.republish, runs_at_start=True)
            )
        if self.plan.drive:
            run = partial(self._call, "maintain", {})
            jobs.append(ScheduledJob("maintain", every(sweep), run, runs_at_start=True))
        if self.plan.sftp:
            run = partial(self._call, "nightly", {})
            jobs.append(ScheduledJob("nightly", schedule, run, _NIGHTLY_RETRIES_S))
            jobs.append(
                ScheduledJob("manifest", every(minute), self.merge_manifest, runs_at_start=True)
            )
        return jobs

    def _call(self, name: str, body: Mapping[str, object]) -> bool:
        try:
            reply = unix_http.request(
                self._sockets[name], "POST", "/", json.dumps(body).encode(), timeout_s=_CALL_S
            )
        except (OSError, http.client.HTTPException) as error:
            log.warning("%s did not answer: %s", name, error)
            return False
        if reply.status != 200:
            text = reply.body.decode(errors="replace").strip()
            log.error("%s answered %d: %s", name, reply.status, text)
        return reply.status == 200

    def merge_manifest(self) -> bool:
        """Merge rows of the manifest that an earlier ``serve`` left when it was killed."""
        build_worker(self.services).merge_manifest()
        return True

    def republish(self) -> bool:
        """Publish QUEUED recordings that the queue does not know: those of an earlier run.

        The order of a publish is message, then document, so a document that is QUEUED and
        unknown here has lost its message when an earlier ``serve`` died, or was set QUEUED
        by a command in another process.
        """
        queues = {Source.DRIVE: "recordings"}
        if self.plan.sftp:
            queues[Source.SFTP] = "sftp-files"
        known = {key for queue in self._queues.values() for key in queue.known()}
        for recording in self.services.tracker.with_status(Status.QUEUED):
            topic = queues.get(Source(recording.source))
            if topic not in self._queues:
                continue
            if recording.key not in known and recording.runner != "job":
                item = recording.to_source_file()
                self._queues[topic].publish(item.encode(), item.attributes())
        return True


def _answers(path: Path) -> bool:
    """Return whether a function answers, with any status; waits up to 5 seconds."""
    try:
        unix_http.request(path, "GET", "/live", timeout_s=5.0)
    except (OSError, http.client.HTTPException):
        return False
    return True
