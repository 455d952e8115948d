"""Makes what README.md shows: the flow, the terminal's output and the dashboard.

``python docs/pictures/make.py``, from the repository's root. Needs ``dot`` of Graphviz and
Chromium; the rest is the demonstration itself.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "pictures"
PROGRAM = Path(sys.executable).with_name("audio-pipeline")

#: The screenshot's size in CSS pixels, and how many of the screen's make one.
SIZE = (1100, 900)

#: The recordings whose way is shown.
SHOWN = ("Weekly sync", "Interrupted upload", "10-17-25.wav")

#: Columns of the terminal, so that README's lines are not cut on a page.
COLUMNS = 100


def flow() -> None:
    """Draw the flow."""
    source, target = PICTURES / "flow.dot", PICTURES / "flow.svg"
    subprocess.run(["dot", "-Tsvg", str(source), "-o", str(target)], check=True)


def cast(folder: Path) -> None:
    """Run the demonstration without a terminal, and put its output into README."""
    environ = {**os.environ, "COLUMNS": str(COLUMNS)}
    output = subprocess.run(
        [str(PROGRAM), "serve", "--demo"],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    lines = "\n".join(_shortened(line.rstrip() for line in output.strip().splitlines()))
    readme = ROOT / "README.md"
    text = re.sub(
        r"(?s)(?<=<!-- cast -->\n).*?(?=<!-- /cast -->)",
        lambda _: f"```\n{lines}\n```\n",
        readme.read_text(),
    )
    readme.write_text(text)


def _shortened(lines: Iterable[str]) -> Iterator[str]:
    """Yield the way of a few recordings only; README has to be read in a minute."""
    left_out = False
    for line in lines:
        is_step = re.match(r"\d\d:\d\d:\d\d  ", line)
        if is_step and not any(name in line for name in SHOWN):
            left_out = True
            continue
        if left_out:
            yield "…"
            left_out = False
        yield line


def screenshot(folder: Path) -> None:
    """Run the demonstration on a terminal, and photograph the dashboard when it is done."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [str(PROGRAM), "serve", "--demo"],
        cwd=folder,
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
    )
    os.close(child)
    seen = bytearray()

    def read() -> None:
        while True:
            try:
                data = os.read(parent, 65536)
            except OSError:  # the other end is closed
                return
            seen.extend(data)

    threading.Thread(target=read, daemon=True).start()
    try:
        while not (found := re.search(rb"Dashboard.*?(http://[\d.:]+/)", bytes(seen), re.DOTALL)):
            if process.poll() is not None:
                raise SystemExit("the demonstration ended early")
            time.sleep(0.2)
        _photograph(found[1].decode(), PICTURES / "dashboard.png")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _photograph(url: str, target: Path) -> None:
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                shutil.which("chromium") or "chromium",
                *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *("--disable-background-networking", f"--user-data-dir={profile}"),
                *(f"--window-size={SIZE[0]},{SIZE[1]}", "--timeout=10000"),
                *(f"--screenshot={target}", url),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )


def main() -> None:
    """Make all of them."""
    flow()
    with tempfile.TemporaryDirectory() as folder:
        cast(Path(folder))
        screenshot(Path(folder))


if __name__ == "__main__":
    main()
