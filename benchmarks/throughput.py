"""Recordings an hour, the pipeline's own cost around FFmpeg, and its endpoints under load.

    .venv/bin/python -m benchmarks.throughput [--recordings 40] [--seconds 60]

1. One warm extraction service, recordings of a second, one after the other. Its own cost is the
   processor time of its process without FFmpeg's, and the time of a push in which no FFmpeg ran.
   Ends with status 1 when a recording costs more than 100 ms or 150 ms of these (medians).
2. As many services as there are processors, recordings of ``--seconds``: how many an hour.
3. The same while a generator calls the webhook, the push endpoint (deliveries of what is done
   already) and the dashboard, 10 times a second each: their latencies, and what is left of 2.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import select
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from shared.core.message import SourceFile
from tests.emulators import answers, free_port, running
from tests.media.clips import run as ffmpeg
from tests.media.clips import speech
from tests.paths import ROOT
from tests.services import Cloud, Service, ask, envelope, local_cloud, start_function

CPU_LIMIT_MS, WALL_LIMIT_MS = 100.0, 150.0

#: Calls a second of each kind, in part 3.
_RATE = 10.0

Interval = tuple[float, float]


# The service that counts its own cost


class _Counted(subprocess.Popen[Any]):
    """A process whose time is noted; the kernel reports its end.

    FFmpeg is started by a thread under FFmpeg's own restrictions, which its threads inherit. So
    the processes are watched by threads of another one.
    """

    intervals: list[Interval] = []  # noqa: RUF012
    _started: queue.SimpleQueue[tuple[int, float]] = queue.SimpleQueue()

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._started.put((self.pid, time.monotonic()))

    @classmethod
    def watch(cls) -> None:
        """Note the time of every process from now on; does not return."""
        while True:
            threading.Thread(target=cls._note, args=cls._started.get(), daemon=True).start()

    @classmethod
    def _note(cls, pid: int, start: float) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            descriptor = os.pidfd_open(pid)
            select.select([descriptor], [], [])
            os.close(descriptor)
        cls.intervals.append((start, time.monotonic()))


def serve(port: int) -> None:
    """Serve the extraction function from one process, with its cost at ``/_cost``."""
    from functions_framework import create_app  # noqa: PLC0415
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415

    threading.Thread(target=_Counted.watch, daemon=True).start()
    subprocess.Popen = _Counted  # type: ignore[misc]
    main = ROOT / "functions" / "extract_audio" / "main.py"
    app = create_app("extract_audio", str(main))  # type: ignore[no-untyped-call]

    def counting(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/_cost":
            return app(environ, start)  # type: ignore[no-any-return]
        start("200 OK", [("Content-Type", "application/json")])
        cost = {"cpu_s": time.process_time(), "ffmpeg": _Counted.intervals}
        return [json.dumps(cost).encode()]

    WSGIRequestHandler.log = lambda *_: None  # type: ignore[method-assign]
    make_server("127.0.0.1", port, counting, threaded=True).serve_forever()


def own_cost(cloud: Cloud, items: Sequence[SourceFile], warm: int) -> tuple[float, list[float]]:
    """Return the processor time a recording, and the own time of each push, in milliseconds."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.throughput", "--serve", str(port)]
    os.environ.update(cloud.env)
    with running(command, port, cloud.directory / "counted.log", ready=answers) as address:
        url = f"http://{address}/"
        for item in items[:warm]:
            _push(url, item)
        before = ask(f"{url}_cost").json["cpu_s"]
        pushes = [_push(url, item) for item in items[warm:]]
        cost = ask(f"{url}_cost").json
    own_ms = [1000 * (end - start - _overlap(cost["ffmpeg"], start, end)) for start, end in pushes]
    return 1000 * (cost["cpu_s"] - before) / len(pushes), own_ms


def _push(url: str, item: SourceFile) -> Interval:
    body, start = envelope(item.encode()), time.monotonic()
    answer = ask(url, body)
    if answer.status != 204:
        raise RuntimeError(f"a push was answered {answer.status}")
    return start, time.monotonic()


def _overlap(intervals: Sequence[Interval], start: float, end: float) -> float:
    """Return the seconds between ``start`` and ``end`` that any interval covers."""
    covered, here = 0.0, start
    for begin, over in sorted(intervals):
        begin, over = max(begin, here), min(over, end)  # noqa: PLW2901
        if over > begin:
            covered, here = covered + over - begin, over
    return covered


# Throughput and load


def throughput(services: Sequence[Service], items: Sequence[SourceFile]) -> float:
    """Push everything, one recording at a time to each service; returns recordings an hour."""
    waiting = iter(items)
    lock = threading.Lock()

    def work(service: Service) -> None:
        while True:
            with lock:
                item = next(waiting, None)
            if item is None:
                return
            _push(f"{service.url}/", item)

    start = time.monotonic()
    with ThreadPoolExecutor(len(services)) as pool:
        list(pool.map(work, services))
    return 3600 * len(items) / (time.monotonic() - start)


def latencies(calls: dict[str, Callable[[], int]], stop: threading.Event) -> dict[str, list[float]]:
    """Make every call ten times a second until ``stop``; returns their milliseconds."""
    taken: dict[str, list[float]] = {name: [] for name in calls}

    def repeat(name: str) -> None:
        while not stop.wait(1 / _RATE):
            start = time.monotonic()
            status = calls[name]()
            taken[name].append(1000 * (time.monotonic() - start))
            if status >= 500 or not status:
                raise RuntimeError(f"{name} answered {status}")

    with ThreadPoolExecutor(len(calls)) as pool:
        list(pool.map(repeat, calls))
    return taken


def _load(stack: ExitStack, cloud: Cloud, done: SourceFile) -> dict[str, Callable[[], int]]:
    """Start what is called beside the extraction, and return the calls."""

    def start(function: str, target: str) -> str:
        service = start_function(
            function,
            target,
            directory=cloud.directory,
            env={**cloud.env, "WEBHOOK_URL": "http://127.0.0.1:1/"},
            is_up=lambda service: service.get("/").status > 0,
        )
        stack.callback(service.close)
        return service.url

    webhook, dashboard = start("drive_watch", "notify"), start("dashboard", "dashboard")
    push, body = start("extract_audio", "extract_audio"), envelope(done.encode())
    forged = {"X-Goog-Channel-ID": "0" * 32, "X-Goog-Channel-Token": "a" * 43}
    forged["X-Goog-Resource-ID"] = "resource"
    return {
        "webhook, forged": lambda: ask(webhook, b"", headers=forged).status,
        "push, a duplicate": lambda: ask(push, body).status,
        "dashboard, recordings": lambda: ask(f"{dashboard}/recordings").status,
        "dashboard, API": lambda: ask(f"{dashboard}/api/recent").status,
    }


def main() -> None:
    """Run all three parts and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recordings", type=int, default=40)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    warm, count = 5, options.recordings
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cloud = stack.enter_context(local_cloud(directory))
        cloud.env["ENCODE_WORKERS"] = "1"
        tiny, long = directory / "tiny.m4a", directory / "long.m4a"
        ffmpeg(*speech(1, 16000, 1), "-c:a", "aac", tiny)
        ffmpeg(*speech(options.seconds, 44100, 2), "-c:a", "aac", long)
        short = [cloud.record(tiny, f"Short {number}") for number in range(warm + count)]
        cpu_ms, own_ms = own_cost(cloud, short, warm)
        wall_ms = statistics.median(own_ms)
        print(f"own cost of a recording: {cpu_ms:.0f} ms of processor, {wall_ms:.0f} ms of time")
        services = [stack.enter_context(cloud.service()) for _ in range(os.cpu_count() or 1)]
        items = [cloud.record(long, f"Long {number}") for number in range(2 * count + 2)]
        throughput(services, items[2 * count :])  # warm
        alone = throughput(services, items[:count])
        print(f"{alone:.0f} recordings of {options.seconds} s an hour on {len(services)} CPUs")
        calls, stop = _load(stack, cloud, short[0]), threading.Event()
        with ThreadPoolExecutor(1) as pool:
            taken = pool.submit(latencies, calls, stop)
            loaded = throughput(services, items[count : 2 * count])
            stop.set()
        print(f"{loaded:.0f} an hour ({loaded / alone:.0%}) with {_RATE:g} calls a second of each:")
        for name, ms in taken.result().items():
            ms.sort()
            p50, p95 = (ms[int(len(ms) * share)] for share in (0.5, 0.95))
            print(f"  {name:24} p50 {p50:6.1f} ms  p95 {p95:6.1f} ms  of {len(ms)}")
    sys.exit(0 if cpu_ms <= CPU_LIMIT_MS and wall_ms <= WALL_LIMIT_MS else 1)


if __name__ == "__main__":
    main()
