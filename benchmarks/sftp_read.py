"""How fast a file of an SFTP server is read, against OpenSSH's own `sftp`, in one run.

    .venv/bin/python -m benchmarks.sftp_read [--runs 5] [--megabytes 1000]

Both read the same file of the same server over the loopback interface, one after the
other, and throw it away. The ratio is the median over the pairs; 0.7 is what is promised.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from shared.adapters.sftp.sources import SftpSources
from shared.media.source.read_ahead import ReadAhead
from tests.sftp import Sshd, program, sshd_running

_BLOCK = 4 << 20


def ours(sources: SftpSources) -> None:
    """Read the file as the media engine does: ahead, from several threads, in order."""
    with closing(sources.open(next(iter(sources.list())))) as source:
        ahead = ReadAhead(source)
        for offset in range(0, source.size, _BLOCK):
            ahead.read(offset, _BLOCK)
        ahead.close()


def theirs(server: Sshd, path: Path) -> None:
    """Read it as a person would."""
    known = server.base / "known_hosts"
    known.write_text(server.known_hosts)
    command = [program("sftp"), "-q", "-b", "-", "-P", str(server.port)]
    command += ["-i", str(server.base / "client"), "-o", f"UserKnownHostsFile={known}"]
    subprocess.run(
        [*command, f"{server.user}@127.0.0.1"],
        input=f"get {path} /dev/null\n".encode(),
        stdout=subprocess.DEVNULL,
        check=True,
    )


def rate(read: Callable[[], None], size: int) -> float:
    """Return megabytes a second."""
    start = time.perf_counter()
    read()
    return size / (time.perf_counter() - start) / 1e6


def main() -> None:
    """Print the ratio and the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=1000)
    options = parser.parse_args()
    with sshd_running() as server, server.sources() as sources:
        path = server.root / "x.wav"
        block = os.urandom(1_000_000)
        with path.open("wb") as file:
            for _ in range(options.megabytes):
                file.write(block)
        size = path.stat().st_size
        pairs = [
            (rate(lambda: ours(sources), size), rate(lambda: theirs(server, path), size))
            for _ in range(options.runs)
        ]
    ratio = statistics.median(our / their for our, their in pairs)
    rates = ", ".join(f"{our:.0f}/{their:.0f}" for our, their in pairs)
    print(f"read {ratio:.2f} x of sftp  ({rates} MB/s)")


if __name__ == "__main__":
    main()
