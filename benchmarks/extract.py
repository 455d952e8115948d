"""Time and memory of `audio-pipeline extract` against plain FFmpeg, the same binary.

    .venv/bin/python -m benchmarks.extract [--runs 3] [--directory DIR] [--long]

Pairs of runs, one after the other, so that a change of the machine's speed meets both;
the ratios are medians over the pairs. ``--long`` adds the memory of 8 hours.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Cost, run
from benchmarks.recordings import plain_command, recording

_PLAIN = {"mp3": ("-vn", "-b:a", "128k", "out.mp3"), "copy": ("-vn", "-c", "copy", "out.m4a")}


def extract(path: Path, preset: str, directory: Path, *, memory: bool = False) -> Cost:
    """Run the command line on a recording, with everything it does: verify, picture, log."""
    shutil.rmtree(directory / "audio", ignore_errors=True)
    command: list[str | Path] = [Path(sys.executable).with_name("audio-pipeline"), "extract", path]
    environ = {
        "AUDIO_PRESET": preset,
        "STORAGE_URL": str(directory / "audio"),
        "TRACKER_URL": f"sqlite:///{directory / 'audio' / 'tracker.db'}",
    }
    return run(command, environ, memory=memory)


def plain(path: Path, preset: str, directory: Path) -> Cost:
    """Run what a user would type instead."""
    *options, name = _PLAIN[preset]
    return run(plain_command("-i", path, *options, directory / name))


def compare(path: Path, preset: str, directory: Path, runs: int) -> None:
    """Print the ratios of one preset."""
    pairs = [
        (extract(path, preset, directory), plain(path, preset, directory)) for _ in range(runs)
    ]
    wall = statistics.median(ours.wall_s / theirs.wall_s for ours, theirs in pairs)
    cpu = statistics.median(ours.cpu_s / theirs.cpu_s for ours, theirs in pairs)
    seconds = ", ".join(f"{ours.wall_s:.1f}/{theirs.wall_s:.1f}" for ours, theirs in pairs)
    print(f"{preset:5} wall {wall:.2f} x, cpu {cpu:.2f} x of plain FFmpeg  ({seconds} s)")


def main() -> None:
    """Print every figure that the README claims of extracting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--long", action="store_true", help="also 8 hours: minutes more")
    parser.add_argument(
        "--directory", type=Path, default=Path(tempfile.gettempdir()) / "audio-pipeline-benchmarks"
    )
    options = parser.parse_args()
    hour = recording(options.directory, 1, "mp4")
    with tempfile.TemporaryDirectory() as name:
        for preset in ("mp3", "copy"):
            compare(hour, preset, Path(name), options.runs)
        lengths = [(1, "mp4"), (1, "mkv")]
        lengths += [(8, "mkv"), (8, "mp4")] if options.long else []
        for hours, extension in lengths:
            path = recording(options.directory, hours, extension)
            cost = extract(path, "mp3", Path(name), memory=True)
            print(f"memory, {hours} h {extension}: {cost.memory_mb:.0f} MB at the peak")


if __name__ == "__main__":
    main()
