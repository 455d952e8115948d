"""How long a forged notification takes to refuse, over loopback with Google's emulators.

    .venv/bin/python -m benchmarks.forged_requests [--requests 2000] [--parallel 4]

Three kinds: no channel at all, an id in another format, and a real channel with a wrong
token. None of them reads the database, except once a minute for channels from before tokens
were signed. Ends with status 1 when the 99th percentile of one of them is 20 ms or more.
"""

from __future__ import annotations

import argparse
import http.client
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from cli.demo.drive_standin import notify
from cli.demo.emulators import firestore_command
from tests import emulators
from tests.drive.processes import instance
from tests.drive.rig import Rig, credentials
from tests.drive.standin import running

LIMIT_MS = 20.0


def percentiles(url: str, headers: Mapping[str, str], count: int, parallel: int) -> list[float]:
    """Send forged requests; return their 50th, 95th and 99th percentile in milliseconds."""
    with ThreadPoolExecutor(parallel) as pool:
        shares = [count // parallel] * parallel
        times = [ms for part in pool.map(lambda n: _send(url, headers, n), shares) for ms in part]
    times.sort()
    return [times[int(len(times) * share / 100)] for share in (50, 95, 99)]


def _send(url: str, headers: Mapping[str, str], count: int) -> list[float]:
    host = urlsplit(url).netloc
    connection = http.client.HTTPConnection(host, timeout=30)
    times = []
    for _ in range(count):
        start = time.perf_counter()
        connection.request("POST", "/", headers=dict(headers))
        answer = connection.getresponse()
        answer.read()
        times.append((time.perf_counter() - start) * 1000)
        if answer.status != 403:
            raise RuntimeError(f"a forged request was answered {answer.status}")
    connection.close()
    return times


def run(url: str, channel: Mapping[str, str], count: int, parallel: int) -> bool:
    """Print the figures of each kind; returns whether all are within the limit."""
    unknown = dict(channel) | {"X-Goog-Channel-ID": secrets.token_hex(16)}
    wrong = dict(channel) | {"X-Goog-Channel-Token": secrets.token_urlsafe(32)}
    kinds: dict[str, Mapping[str, str]] = {
        "no channel": {},
        "unknown channel": unknown,
        "wrong token": wrong,
    }
    good = True
    for kind, headers in kinds.items():
        percentiles(url, headers, 50 * parallel, parallel)  # connections are opened first
        p50, p95, p99 = percentiles(url, headers, count, parallel)
        print(f"{kind:16} p50 {p50:5.1f} ms  p95 {p95:5.1f} ms  p99 {p99:5.1f} ms")
        good &= p99 < LIMIT_MS
    return good


def main() -> None:
    """Start the emulator, an instance and a channel, and print every figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--parallel", type=int, default=1)
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rig = stack.enter_context(deployment(directory))
        started = stack.enter_context(instance(rig, "notify", directory, {"WEBHOOK_URL": ANY}))
        rig.configure(WEBHOOK_URL=started.url)
        rig.maintain()
        (channel,) = rig.world.channels.values()
        headers = notify.headers(channel, "change", 2)
        good = run(started.url, headers, options.requests, options.parallel)
    sys.exit(0 if good else 1)


#: An address that makes an instance take notifications; its own is known only once it runs.
ANY = "http://127.0.0.1:1/"


@contextmanager
def deployment(directory: Path) -> Iterator[Rig]:
    """Run Firestore's emulator and the stand-in of Drive, and name them in the environment."""
    with firestore(directory) as address, running() as standin:
        os.environ["FIRESTORE_EMULATOR_HOST"] = address
        os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = credentials(standin, directory)
        variables = {
            "TRACKER_URL": "firestore://benchmark/(default)",
            "DRIVE_API_ENDPOINT": standin.server.endpoint,
        }
        yield Rig(standin, variables, lambda _count: [])


@contextmanager
def firestore(directory: Path) -> Iterator[str]:
    """Run Google's Firestore emulator; yields its ``host:port``."""
    port = emulators.free_port()
    with emulators.running(firestore_command(port), port, directory / "firestore.log") as address:
        yield address


if __name__ == "__main__":
    main()
