"""One run: the system, the cast, the faults, and the end, when everything has to add up."""

from __future__ import annotations

import heapq
import http.client
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cli.demo.drive_standin.control import RemoteWorld
from cli.serve import topics
from cli.serve.queue import Endpoint, Policy
from functions.sftp_compress.assembly import build_worker
from shared.adapters.local.documents import SQLiteDocuments
from shared.adapters.local.queue import SocketQueue
from shared.bootstrap import Services
from shared.config.settings import Settings
from shared.core.errors import Code
from shared.core.message import Source, SourceFile
from shared.core.ports import Queue
from shared.core.records import Status
from shared.core.times import utc_now
from shared.runtime import unix_http
from shared.tracking.requeue import Requeue
from shared.tracking.tracker import Tracker
from tests.chaos import cast, clips, fleet, verdict
from tests.chaos.cast import OWNER, READER, Stage
from tests.chaos.decisions import Decisions
from tests.chaos.deliveries import FaultyQueue, notifications
from tests.chaos.fleet import Fleet, Instance
from tests.chaos.gate import Gate, gate_to
from tests.chaos.verdict import Verdict
from tests.chaos.weather import Weather
from tests.services import drive_standin
from tests.sftp import Sshd, sshd_running

#: Recordings that may be on their way at the same time, for each worker.
_AHEAD = 4

#: Back-off as in the cloud, but shorter: the run has minutes, not hours.
_POLICY = Policy(ack_deadline_s=60.0, first_backoff_s=0.3, longest_backoff_s=5.0)

#: How often the clock calls, in seconds: each minute, each 15 minutes and each night.
_REQUEUE_S, _MAINTAIN_S, _NIGHTLY_S = 2.0, 7.0, 6.0

#: How far the requeue's clock goes on when nothing moves any more, step by step: past every
#: patience of the requeue, then past every pause before it restarts what was given up.
_LATER_S = (660, 1_300, 2_500, 5_000, 10_000, 20_000, 30_000, 100_000, 200_000, 300_000)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run is like. ``pause_s`` is the usual time between two changes of weather."""

    seed: int
    count: int
    workers: int = 2
    kill_share: float = 0.2
    lease_s: float = 5.0
    pause_s: float = 3.0
    patience_s: float = 600.0


@dataclass
class Run:
    """The parts of a run."""

    options: Options
    directory: Path
    stage: Stage
    fleet: Fleet
    queues: Mapping[str, FaultyQueue]
    decisions: Decisions
    tracker: Tracker
    labels: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._looks_at, self._room = 0.0, 0

    # The clock

    def call(self, instance: Instance, body: Mapping[str, object], timeout_s: float = 60) -> bool:
        """Call a function as Cloud Scheduler does; returns whether it succeeded."""
        with suppress(OSError, http.client.HTTPException):
            data = json.dumps(body).encode()
            reply = unix_http.request(instance.socket, "POST", "/", data, timeout_s=timeout_s)
            return reply.status == 200
        return False

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Call what is called by the clock until the block ends."""
        maintain, nightly = self.fleet.of("maintain")[0], self.fleet.of("nightly")[0]
        jobs: list[tuple[float, Instance, dict[str, object]]] = [
            (_REQUEUE_S, maintain, {"only": "requeue"}),
            (_MAINTAIN_S, maintain, {}),
            (_NIGHTLY_S, nightly, {}),
        ]
        stop = threading.Event()

        def repeat(every_s: float, instance: Instance, body: dict[str, object]) -> None:
            while not stop.wait(every_s):
                self.call(instance, body)

        threads = [threading.Thread(target=repeat, args=job, daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    # The play

    def play(self, parts: list[cast.Part]) -> None:
        """Let every part begin when there is room, and go on when it is due."""
        order = itertools.count()
        due: list[tuple[float, int, cast.Part, Iterator[float]]] = []
        waiting = list(reversed(parts))
        while waiting or due:
            now = time.monotonic()
            if due and due[0][0] <= now:
                _, _, part, steps = heapq.heappop(due)
            elif waiting and self._has_room():
                part = waiting.pop()
                steps = part.play(self.stage)
            else:
                time.sleep(0.05)
                continue
            pause_s = self._step(part, steps)
            if pause_s is not None:
                heapq.heappush(due, (now + pause_s, next(order), part, steps))

    def _step(self, part: cast.Part, steps: Iterator[float]) -> float | None:
        before = len(self.stage.expected)
        self.decisions.note("steps", f"{part.number} {part.act}")
        pause_s = next(steps, None)
        for each in self.stage.expected[before:]:
            known = sum(label.startswith(f"{part.number} ") for label in self.labels.values())
            label = f"{part.number} {part.act}/{known}"
            self.labels[each.source_id, each.revision] = label
        return pause_s

    def _has_room(self) -> bool:
        """Return whether the next part may begin; looks twice a second."""
        now = time.monotonic()
        if now >= self._looks_at:
            self._looks_at = now + 0.5
            self._room = _AHEAD * self.options.workers - len(self._unsettled())
        self._room -= 1
        return self._room >= 0

    def label(self, item: SourceFile) -> str:
        """Return a message's recording by its part, which is the same in each replay."""
        end = time.monotonic() + 10
        while (found := self.labels.get((item.source_id, item.revision))) is None:
            if time.monotonic() > end:
                return f"unknown {item.source_id}"
            time.sleep(0.01)  # the director is about to note it
        return found

    # The end

    def settle(self) -> list[str]:
        """Wait until every recording has ended as expected; returns what has not.

        When nothing moves any more, time passes: only the requeue's clock goes on.
        """
        end = time.monotonic() + self.options.patience_s
        later = iter(_LATER_S)
        maintain, nightly = self.fleet.of("maintain")[0], self.fleet.of("nightly")[0]
        while (left := self._unsettled()) and time.monotonic() < end:
            self.call(maintain, {"full": True})
            self.call(nightly, {})
            if self._is_idle():
                offset_s = next(later, None)
                if offset_s is None:
                    return left
                self.decisions.note("time passed", f"{offset_s} s, for {', '.join(left)[:200]}")
                self._requeue_later(timedelta(seconds=offset_s))
            time.sleep(0.3)
        return left

    def _requeue_later(self, later: timedelta) -> None:
        """Run the requeue as it will run ``later``, in this process."""
        tracker = Tracker(
            self.tracker.documents, lease=self.tracker.lease, clock=lambda: utc_now() + later
        )
        sockets = self.fleet.instances["notify"].socket.parent
        queues: dict[str, Queue] = {
            Source.DRIVE.value: SocketQueue(sockets / "recordings"),
            Source.SFTP.value: SocketQueue(sockets / "sftp-files"),
        }
        Requeue(tracker, queues).run()

    def _is_idle(self) -> bool:
        """Return whether no message waits, and nothing is worked on, for a lease's time."""
        end = time.monotonic() + self.options.lease_s + 3
        while time.monotonic() < end:
            counts = self.tracker.counts()
            if any(map(len, self.queues.values())) or counts[Status.PROCESSING]:
                return False
            if not self._unsettled():
                return False
            time.sleep(0.2)
        return True

    def _unsettled(self) -> list[str]:
        found = {(one.source_id, one.revision): one for one in self.tracker.all()}
        left = []
        for one in found.values():
            code = one.error.code if one.error else ""
            if not one.status.is_final or code in (Code.GAVE_UP, Code.DEAD_LETTER):
                left.append(f"{self.labels.get((one.source_id, one.revision))} {one.status} {code}")
        for each in self.stage.expected:
            place = each.source_id, each.revision
            if not each.required:
                continue
            if (there := found.get(place)) is None:
                left.append(f"{self.labels[place]} unknown")
            elif there.status.is_final and verdict.ending(there) not in each.endings:
                left.append(f"{self.labels[place]} {verdict.ending(there)}")
        return left


def perform(options: Options, directory: Path, report: Callable[[str], object]) -> Verdict:
    """Make a run in ``directory``, and judge it."""
    decisions = Decisions(options.seed, options.kill_share)
    parts = cast.draw(options.count, options.seed, directory)
    with ExitStack() as stack:
        every = [clip for part in parts for clip in part.clips]
        clips.make(every, parts[0].rng)
        report(f"{len(parts)} parts, {len(every)} clips")
        disk = stack.enter_context(_small_disk(directory / "audio", len(every)))
        (directory / "temporary").mkdir()
        # A socket's path has at most 108 bytes (unix(7)).
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        port, world = stack.enter_context(drive_standin(directory))
        sshd = stack.enter_context(sshd_running())
        gates = {
            "Drive": stack.enter_context(gate_to(port)),
            "SFTP": stack.enter_context(gate_to(sshd.port)),
        }
        scene = _scene(world, sshd)
        webhook = stack.enter_context(notifications(decisions, sockets / "notify"))
        environ = _environ(options, directory, scene, sshd, gates, webhook)
        environ |= {
            "RECORDINGS_QUEUE_URL": f"local://{sockets / 'recordings'}",
            "SFTP_QUEUE_URL": f"local://{sockets / 'sftp-files'}",
        }
        tracker = Tracker(
            SQLiteDocuments(directory / "tracker.db"), lease=timedelta(seconds=options.lease_s)
        )
        processes = stack.enter_context(fleet.prepared(sockets, environ, workers=options.workers))
        queues: dict[str, FaultyQueue] = {}
        run = Run(options, directory, scene, processes, queues, decisions, tracker)
        for topic, worker in (("recordings", "extract"), ("sftp-files", "compress")):
            workers = {one.socket: one for one in processes.of(worker)}
            queues[topic] = FaultyQueue(
                [Endpoint(socket) for socket in workers],
                Endpoint(sockets / "extract-0", "/dead-letter"),
                _POLICY,
                decisions=decisions,
                instances=workers,
                label=run.label,
                lease_s=options.lease_s,
            )
            stack.enter_context(topics.listening(sockets / topic, queues[topic]))
            stack.callback(queues[topic].close)
        processes.start(directory / "services.log")
        report("the services answer")
        run.call(processes.of("maintain")[0], {})
        for queue in queues.values():
            queue.start()
        weather = Weather(
            scene.world, gates, processes, queues, decisions, directory / "tracker.db", disk
        )
        with run.ticking():
            with weather.changing(options.pause_s, options.lease_s):
                run.play(parts)
                report("every part has been played")
            _wait(lambda: not any(map(len, queues.values())), options.lease_s * 4)
            left = run.settle()
            report(f"settled; left: {left}")
        # As serve's clock does each minute: a message that the queue lost merges nothing.
        build_worker(Services(Settings.from_environment(environ))).merge_manifest()
        found = verdict.judge(scene.expected, directory, tracker, run.labels)
        found.problems += [f"not settled: {each}" for each in left]
        found.problems += verdict.audit({**os.environ, **environ}, directory)
        for queue in queues.values():
            found.problems += [f"dead letter: {label}" for label in queue.dead]
        for outlived in processes.stop():
            found.problems.append(f"did not stop: {outlived}")
        found.problems += verdict.leftovers(directory)
        found.counts |= decisions.counts
        (directory / "decisions.log").write_text("\n".join(decisions.log) + "\n")
        return found


def _wait(happened: Callable[[], bool], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not happened() and time.monotonic() < end:
        time.sleep(0.1)


def _scene(world: RemoteWorld, sshd: Sshd) -> Stage:
    folders = [world.create_folder(name, owner=OWNER) for name in ("Google Meet", "Elsewhere")]
    for folder in folders:
        world.share(folder, READER)
    # The directory is never empty, which would be an alert.
    (sshd.root / "day 0").mkdir()
    shutil.chown(sshd.root, os.getuid())
    return Stage(world, sshd.root, *folders)


def _environ(
    options: Options,
    directory: Path,
    scene: Stage,
    sshd: Sshd,
    gates: Mapping[str, Gate],
    webhook: str,
) -> dict[str, str]:
    address = f"http://127.0.0.1:{gates['Drive'].port}"
    key = directory / "key.json"
    content = scene.world.key_file(account=READER)
    key.write_text(json.dumps(content | {"token_uri": f"{address}/token"}))
    host_key = (sshd.base / "host.pub").read_text()
    login = {
        "username": sshd.user,
        "private_key": (sshd.base / "client").read_text(),
        "known_hosts": f"[127.0.0.1]:{gates['SFTP'].port} {host_key}",
    }
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "TMPDIR": str(directory / "temporary"),
        "LOG_FORMAT": "json",
        "ENCODE_WORKERS": "1",
        "LEASE_SECONDS": f"{options.lease_s:g}",
        "STORAGE_URL": str(directory / "audio"),
        "TRACKER_URL": f"sqlite:///{directory / 'tracker.db'}",
        "DRIVE_API_ENDPOINT": f"{address}/drive/v3/",
        "DRIVE_FOLDER_IDS": scene.watched,
        "GOOGLE_APPLICATION_CREDENTIALS": str(key),
        "WEBHOOK_URL": webhook,
        "SFTP_HOST": "127.0.0.1",
        "SFTP_PORT": str(gates["SFTP"].port),
        "SFTP_REMOTE_PATH": str(sshd.root),
        "SFTP_CREDENTIALS": json.dumps(login),
        "SFTP_SETTLE_MINUTES": "0",
    }


@contextmanager
def _small_disk(path: Path, clips_: int) -> Iterator[Path | None]:
    """Mount a file system that can be filled; yields ``None`` where only root could."""
    path.mkdir()
    size = 64 + clips_ // 4  # MiB: four times what the objects take
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}m,mode=700", "chaos", str(path)]
    if os.getuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
