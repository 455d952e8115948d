"""One run: the system, the cast, the faults, and the end, when everything has to add up."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cli.serve import topics
from cli.serve.queue import Endpoint, Policy
from functions.sftp_compress.assembly import build_worker
from shared.adapters.local.documents import SQLiteDocuments
from shared.bootstrap import Services
from shared.config.settings import Settings
from shared.tracking.tracker import Tracker
from tests.chaos import cast, clips, fleet, verdict
from tests.chaos.decisions import Decisions
from tests.chaos.deliveries import FaultyQueue, notifications
from tests.chaos.director import Director
from tests.chaos.scene import scene
from tests.chaos.verdict import Verdict
from tests.chaos.weather import Weather

#: Back-off as in the cloud, but shorter: the run has minutes, not hours.
_POLICY = Policy(ack_deadline_s=60.0, first_backoff_s=0.3, longest_backoff_s=5.0)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a run is made.

    ``kill_share`` of the deliveries are to be killed. Two fifths of these end before their
    moment or reach no worker, so a third kills a fifth of all. ``pause_s`` is the usual time
    between two changes of weather.
    """

    seed: int
    count: int
    workers: int = 2
    kill_share: float = 0.33
    lease_s: float = 5.0
    pause_s: float = 3.0
    patience_s: float = 600.0


def perform(options: Options, directory: Path, report: Callable[[str], object]) -> Verdict:
    """Make a run in ``directory``, and judge it."""
    decisions = Decisions(options.seed, options.kill_share)
    parts = cast.draw(options.count, options.seed, directory)
    with ExitStack() as stack:
        every = [clip for part in parts for clip in part.clips]
        clips.make(every, parts[0].rng)
        report(f"{len(parts)} parts, {len(every)} clips")
        # A socket's path has at most 108 bytes (unix(7)).
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        place = stack.enter_context(scene(directory, len(every)))
        environ = place.environ(directory, lease_s=options.lease_s) | {
            "WEBHOOK_URL": stack.enter_context(notifications(decisions, sockets / "notify")),
            "RECORDINGS_QUEUE_URL": f"local://{sockets / 'recordings'}",
            "SFTP_QUEUE_URL": f"local://{sockets / 'sftp-files'}",
        }
        tracker = Tracker(
            SQLiteDocuments(directory / "tracker.db"), lease=timedelta(seconds=options.lease_s)
        )
        processes = stack.enter_context(fleet.prepared(sockets, environ, workers=options.workers))
        queues: dict[str, FaultyQueue] = {}
        director = Director(place.stage, processes, queues, decisions, tracker, report)
        for topic, worker in (("recordings", "extract"), ("sftp-files", "compress")):
            workers = {one.socket: one for one in processes.of(worker)}
            queues[topic] = FaultyQueue(
                [Endpoint(socket) for socket in workers],
                Endpoint(sockets / "extract-0", "/dead-letter"),
                _POLICY,
                decisions=decisions,
                instances=workers,
                label=director.label,
                lease_s=options.lease_s,
            )
            stack.enter_context(topics.listening(sockets / topic, queues[topic]))
            stack.callback(queues[topic].close)
        processes.start(directory / "services.log")
        report("the services answer")
        director.call(processes.of("maintain")[0], {})
        for queue in queues.values():
            queue.start()
        weather = Weather(
            place.stage.world,
            place.gates,
            processes,
            queues,
            decisions,
            directory / "tracker.db",
            place.disk,
        )
        with director.ticking():
            with weather.changing(options.pause_s, options.lease_s):
                director.play(parts)
                report("every part has been played")
            _wait(lambda: not any(map(len, queues.values())), options.lease_s * 4)
            left = director.settle(options.patience_s)
            report(f"settled; left: {left}")
        # As serve's clock does each minute: a message that the queue lost merges nothing.
        build_worker(Services(Settings.from_environment(environ))).merge_manifest()
        found = verdict.judge(place.stage.expected, directory, tracker, director.labels)
        report("compared with what was expected")
        found.problems += [f"not settled: {each}" for each in left]
        found.problems += verdict.audit({**os.environ, **environ}, directory)
        report("audited")
        for queue in queues.values():
            found.problems += [f"dead letter: {label}" for label in queue.dead]
        for outlived in processes.stop():
            found.problems.append(f"did not stop: {outlived}")
        report("stopped")
        found.problems += verdict.leftovers(directory)
        found.counts |= decisions.counts
        (directory / "decisions.log").write_text("\n".join(decisions.log) + "\n")
        return found


def _wait(happened: Callable[[], bool], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not happened() and time.monotonic() < end:
        time.sleep(0.1)
