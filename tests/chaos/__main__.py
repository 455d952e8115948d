"""A long run by hand: ``make chaos SEED=7 N=500``; the same seed meets the same faults."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.run import Options, perform


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--count", type=int, default=200, help="how many recordings")
    parser.add_argument("--workers", type=int, default=4, help="of each kind")
    chosen = parser.parse_args()
    options = Options(
        seed=chosen.seed,
        count=chosen.count,
        workers=chosen.workers,
        patience_s=600 + 2 * chosen.count,
    )
    # The requeue runs in this process too, and warns of each recording that it publishes.
    logging.basicConfig(level=logging.ERROR)
    directory = Path(tempfile.mkdtemp(prefix="chaos-run-"))
    start = time.monotonic()

    def report(text: str) -> None:
        print(f"{time.monotonic() - start:7.1f} s  {text}", flush=True)

    report(f"seed {options.seed}, {options.count} recordings, in {directory}")
    found = perform(options, directory, report)
    print(found.text())
    again = f"make chaos SEED={options.seed} N={options.count}"
    report(f"{'good' if found.is_good else 'FAILED'}; the same faults again: {again}")
    print(f"decisions: {directory / 'decisions.log'}, log: {directory / 'services.log'}")
    return 0 if found.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
