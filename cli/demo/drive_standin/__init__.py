"""A stand-in of the Drive v3 API over real HTTP, for the demo and the tests.

``World`` is the state of the drives and runs scenarios, ``serve`` answers the API for it.
"""

from cli.demo.drive_standin.server import DriveServer, serve
from cli.demo.drive_standin.world import World

__all__ = ["DriveServer", "World", "serve"]
