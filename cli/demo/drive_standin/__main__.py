"""Run the stand-in as a process of its own: ``python -m cli.demo.drive_standin``."""

from __future__ import annotations

import argparse
import mimetypes
import signal
import sys
from pathlib import Path
from types import FrameType

from cli.demo.drive_standin.server import DriveServer
from cli.demo.drive_standin.world import DEFAULT_ACCOUNT, World


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; the first line printed is the API's address."""
    parser = argparse.ArgumentParser(prog="drive_standin", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--root", type=Path, help="a directory to begin with, as My Drive")
    parser.add_argument("--account", default=DEFAULT_ACCOUNT, help="whose My Drive that is")
    parser.add_argument("--no-auth", action="store_true", help="ask for no token")
    options = parser.parse_args()
    world = World(require_auth=not options.no_auth, default_account=options.account)
    if options.root:
        fill(world, options.root)
    server = DriveServer(world, options.port)
    signal.signal(signal.SIGTERM, _stop)
    print(server.endpoint, flush=True)
    try:
        server.serve_forever(0.1)
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        world.close()
    return 0


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def fill(world: World, root: Path, parent: str = "") -> None:
    """Put a directory's files into the default account's My Drive."""
    for path in sorted(root.iterdir()):
        if path.is_dir():
            fill(world, path, world.create_folder(path.name, parent=parent))
        elif path.is_file():
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            world.create_file(path.name, content=path, mime_type=kind, parent=parent)


if __name__ == "__main__":
    sys.exit(main())
