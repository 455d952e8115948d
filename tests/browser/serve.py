"""Serves the test site until it is ended: ``python -m tests.browser.serve FOLDER``."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from tests.browser.site import Site, make_clip, running


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    clip, picture = make_clip(folder)
    site = Site(folder, clip, picture, 40.0)
    site.fill()
    with running(site) as (address, control):
        sys.stdout.write(f"{address} {control}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
