"""A fake of Google's control plane: it keeps what the real one keeps, and refuses what it refuses.

The provider of Terraform talks to it through its ``*_custom_endpoint`` settings. Only what the
configuration in ``infra/terraform`` uses is here; what a test calls that is not shows up in
``World.gaps``.
"""

from tests.terraform.control_plane.apis import ENDPOINTS
from tests.terraform.control_plane.server import ControlPlane, serve
from tests.terraform.control_plane.world import World

__all__ = ["ENDPOINTS", "ControlPlane", "World", "serve"]
