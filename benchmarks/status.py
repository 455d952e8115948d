"""How long `audio-pipeline status` takes as a whole process, with many recordings on SQLite.

    .venv/bin/python -m benchmarks.status [--recordings 100000] [--runs 5]

Prints the medians of the wall and processor time. The limit is 0.5 s; over it the status is 1.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.dashboard import fill
from benchmarks.measure import run

LIMIT_S = 0.5

COMMAND = Path(sys.executable).with_name("audio-pipeline")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tracker = Path(folder) / "tracker.db"
        fill(tracker, options.recordings)
        environ = {"TRACKER_URL": f"sqlite:///{tracker}"}
        for arguments in (["status"], ["status", "--failed"], ["status", "--json"]):
            run([COMMAND, *arguments], environ)  # compiles what has no bytecode yet
            costs = [run([COMMAND, *arguments], environ) for _ in range(options.runs)]
            wall_s = statistics.median(one.wall_s for one in costs)
            cpu_s = statistics.median(one.cpu_s for one in costs)
            print(f"{' '.join(arguments)}: {wall_s:.2f} s, {cpu_s:.2f} s of processor")
            if arguments == ["status"]:
                status = int(wall_s >= LIMIT_S)
    return status


if __name__ == "__main__":
    sys.exit(main())
