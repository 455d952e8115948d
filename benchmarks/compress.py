"""Compressing a long WAV from an SFTP server, against plain FFmpeg on a local copy of it.

    .venv/bin/python -m benchmarks.compress [--runs 3] [--hours 3]

Ours logs in, streams the file, encodes on all processors, verifies, stores and lists it;
theirs reads a local file and writes one. Pairs of runs, one after the other; the ratio is
the median over the pairs, and 1.15 is what is promised.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Cost, run
from benchmarks.recordings import plain_command
from tests.sftp import Sshd, sshd_running

_SOUND = (
    "aevalsrc='0.3*sin(2*PI*(120+30*sin(2*PI*0.7*t))*t)*gt(sin(2*PI*0.31*t),-0.2)"
    "|0.3*sin(2*PI*(180+20*sin(2*PI*0.5*t))*t)*gt(sin(2*PI*0.23*t),0.1)':s=48000:d=60"
)


def make(path: Path, hours: float) -> None:
    """Write a 48 kHz stereo WAV: a minute of two voices, again and again."""
    minute = path.with_name("minute.wav")
    run(plain_command("-f", "lavfi", "-i", _SOUND, "-c:a", "pcm_s16le", minute))
    loops = round(hours * 60) - 1
    run(plain_command("-stream_loop", str(loops), "-i", minute, "-c", "copy", path))
    minute.unlink()


def ours(server: Sshd, directory: Path, *, memory: bool = False) -> Cost:
    """Run the command line as a person would."""
    shutil.rmtree(directory / "audio", ignore_errors=True)
    known = server.base / "known_hosts"
    known.write_text(server.known_hosts)
    address = f"sftp://{server.user}@127.0.0.1:{server.port}{server.root}"
    program = Path(sys.executable).with_name("audio-pipeline")
    command: list[str | Path] = [program, "compress", address]
    command += ["--identity", server.base / "client", "--known-hosts", known]
    environ = {
        "STORAGE_URL": str(directory / "audio"),
        "TRACKER_URL": f"sqlite:///{directory / 'audio' / 'tracker.db'}",
    }
    return run(command, environ, memory=memory)


def theirs(path: Path, directory: Path) -> Cost:
    """Run what a user would type instead."""
    options = ("-ar", "16000", "-ac", "1", "-b:a", "32k", "-c:a", "libmp3lame")
    return run(plain_command("-i", path, *options, directory / "out.wav"))


def main() -> None:
    """Print the ratio, and the memory of our whole process tree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--hours", type=float, default=3)
    options = parser.parse_args()
    with sshd_running() as server, tempfile.TemporaryDirectory() as name:
        path = server.root / "long.wav"
        make(path, options.hours)
        os.utime(path, (1_700_000_000, 1_700_000_000))
        directory = Path(name)
        pairs = [(ours(server, directory), theirs(path, directory)) for _ in range(options.runs)]
        memory = ours(server, directory, memory=True).memory_mb
    ratio = statistics.median(our.wall_s / their.wall_s for our, their in pairs)
    seconds = ", ".join(f"{our.wall_s:.1f}/{their.wall_s:.1f}" for our, their in pairs)
    print(f"compress {ratio:.2f} x the wall time of plain FFmpeg  ({seconds} s)")
    print(f"memory: {memory:.0f} MB at the peak, all processes")


if __name__ == "__main__":
    main()
