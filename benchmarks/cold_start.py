"""How long `extract_audio` imports before its first push can start FFmpeg.

    .venv/bin/python -m benchmarks.cold_start [--runs 7]

Each run is a fresh interpreter: the entry point, and the clients of Firestore and Drive,
made as the first push makes them. The limit is 0.6 s; over it the status is 1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

LIMIT_S = 0.6

_FIRST_PUSH = """
import time
start = time.perf_counter()
import functions.extract_audio.main as entry
service = entry._service()
import functions.extract_audio.worker
service.services.documents._client()
service.services.drive_clients()._service()
print(time.perf_counter() - start)
"""

_ENVIRON = {
    "FIRESTORE_EMULATOR_HOST": "127.0.0.1:1",  # asked nothing; but no credentials are needed
    "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1",
    "STORAGE_URL": "gs://some-bucket",
    "TRACKER_URL": "firestore://some-project/(default)",
    "RECORDINGS_QUEUE_URL": "pubsub://some-project/recordings",
}


def first_push_s() -> float:
    """Return the seconds of one fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_PUSH],
        env={**os.environ, **_ENVIRON},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> int:
    """Print the median; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    first_push_s()  # compiles what has no bytecode yet
    seconds = [first_push_s() for _ in range(runs)]
    median = statistics.median(seconds)
    print(f"importing what extract_audio needs: {median:.2f} s (limit {LIMIT_S} s)")
    print(f"runs: {', '.join(f'{one:.2f}' for one in sorted(seconds))}")
    return 0 if median <= LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
