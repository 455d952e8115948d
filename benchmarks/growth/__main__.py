"""What one more recording costs, with more and more recordings in the tracker.

    .venv/bin/python -m benchmarks.growth [--sizes 1000,100000,1000000] [--firestore]

Counts reads, writes and bytes of documents, and times each operation, on SQLite; with
``--firestore`` on the emulator that ``FIRESTORE_EMULATOR_HOST`` names, which is filled through its
API and keeps everything in memory: use sizes up to 20,000 there. A count of the database is one
read for 1,000 entries of an index, as Firestore bills it. The tracker of SQLite is filled by
SQL, so that a million recordings take a few minutes. What has to be linear is measured too: the
audit and the nightly scan for each recording, and the manifest, with the peak of memory.

Ends with status 1 when the processor time of what is done for each recording, minute or view grows
faster than the logarithm. The rest of the time is mostly the disk's, which makes writes durable.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.growth.costs import Costs
from benchmarks.growth.filling import fill, fill_by_api
from benchmarks.growth.operations import one_more
from benchmarks.growth.whole import FILES, linear, manifest
from shared.adapters.local.documents import SQLiteDocuments
from shared.core.ports import Documents


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1000,100000,1000000")
    parser.add_argument("--firestore", action="store_true")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    tables: dict[int, Costs] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in sizes:
            start = time.perf_counter()
            documents: Documents
            path = folder / f"tracker{size}.db"
            if options.firestore:
                from shared.adapters.google.documents import FirestoreDocuments  # noqa: PLC0415

                documents = FirestoreDocuments(f"growth-{size}-{time.time_ns()}")
                fill_by_api(documents, size)
            else:
                documents = SQLiteDocuments(path)
                fill(path, size)
            took = time.perf_counter() - start
            print(f"{size:,} recordings in {took:.0f} s", file=sys.stderr)
            if not options.firestore:
                for line in linear(path, documents, folder, size):
                    print(line, flush=True)
            tables[size] = one_more(documents, folder, size)
            path.unlink(missing_ok=True)
        rows = {size: manifest(folder, size) for size in sizes if size <= FILES}
    print("reads, writes, kB, ms, processor ms   " + "".join(f"{size:>34,}" for size in sizes))
    grown = []
    for operation in tables[sizes[0]].rows:
        cells = [tables[size].rows[operation] for size in sizes]
        text = "".join(
            f"{r:>10.1f} {w:>4.1f} {b / 1000:>5.1f} {ms:>6.1f} {cpu:>5.1f}"
            for r, w, b, ms, cpu in cells
        )
        print(f"{operation[:38]:<38}{text}")
        # A logarithm grows by half from a thousand to a million.
        if cells[-1][4] > 3 * cells[0][4] + 2.0:
            grown.append(operation)
    for size, (add, merge, megabytes, peak) in rows.items():
        print(
            f"manifest of {size:,} rows: a row added in {add:.1f} ms, merged in {merge:.0f} ms,"
            f" {megabytes:.1f} MB written, {peak:.1f} MB of memory"
        )
    if grown:
        print("grows with the tracker: " + ", ".join(grown))
    return int(bool(grown))


if __name__ == "__main__":
    sys.exit(main())
